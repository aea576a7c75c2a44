"""Runs the baselines that were asked for beside the engine: same rows, same delay, same measures.

Knows their names; not how the engine forecasts. A forecast of theirs waits for its value like ours, and one that is no
finite number is counted, not hidden.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from streamd.against.baselines import AgainstError, Detector, Forecaster, Persistence, Seasonal, ZScore
from streamd.against.detectors import AbsoluteDeviation, Gaussian, HalfSpaceTrees, LocalOutlierFactor, OneClassSVM
from streamd.against.rivers import HoltWinters, Snarimax
from streamd.records import F64
from streamd.tally import Tally, Waiting

# Made for so many channels; those of the second row also take a period in rows.
PLAIN: Final[dict[str, Callable[[int], Forecaster]]] = {"persistence": Persistence}
SEASONAL: Final[dict[str, Callable[[int, int | None], Forecaster]]] = {
    "seasonal": Seasonal,
    "snarimax": Snarimax,
    "holtwinters": HoltWinters,
}
RIVER_DETECTORS: Final[dict[str, Callable[[int], Detector]]] = {
    "halfspacetrees": HalfSpaceTrees,
    "oneclasssvm": OneClassSVM,
    "localoutlierfactor": LocalOutlierFactor,
    "gaussian": Gaussian,
    "absolutedeviation": AbsoluteDeviation,
}
DETECTORS: Final[dict[str, Callable[[int], Detector]]] = {"zscore": ZScore, **RIVER_DETECTORS}
SEVERAL: Final = {"river": ("snarimax", "holtwinters"), "river-anomaly": tuple(RIVER_DETECTORS)}
NAMES: Final = (*PLAIN, *SEASONAL, *DETECTORS, *SEVERAL)
TOO_LARGE: Final = 1e140  # of a forecast: sums of its squares would not be finite


class Contest:
    """The baselines of one pass."""

    def __init__(self, names: Sequence[str], horizon: int, channels: tuple[str, ...]) -> None:
        """Raises AgainstError: a name is unknown, or what it needs is not installed."""
        self.channels = channels
        self.contenders: dict[str, _Contender] = {}
        self.watchers: dict[str, _Watcher] = {}
        for name in names:
            for one in SEVERAL.get(name, (name,)):
                self._add(one, horizon)

    def step(self, time: float, values: F64, *, settled: bool) -> dict[str, float]:
        """Judge what was forecast for this row [C], then show it to them.

        Returns:
            what each detector scored the row, before learning it.
        """
        for contender in self.contenders.values():
            contender.step(time, values, settled=settled)
        return {name: watcher.step(values) for name, watcher in self.watchers.items()}

    def measures(self) -> dict[str, Any]:
        """Of each by name, plain numbers, ready for JSON."""
        return {name: contender.measures(self.channels) for name, contender in self.contenders.items()} | {
            name: {"readings_per_s": watcher.rate.measured} for name, watcher in self.watchers.items()
        }

    def _add(self, text: str, horizon: int) -> None:
        name, _, argument = text.partition(":")
        C = len(self.channels)
        if argument and (name not in SEASONAL or not argument.isdecimal() or int(argument) < 1):
            raise AgainstError(f"{text}: expected a number of rows after one of {', '.join(SEASONAL)}")
        if name in PLAIN:
            self.contenders[text] = _Contender(PLAIN[name](C), horizon, C)
        elif name in SEASONAL:
            self.contenders[text] = _Contender(SEASONAL[name](C, int(argument) if argument else None), horizon, C)
        elif name in DETECTORS:
            self.watchers[text] = _Watcher(DETECTORS[name](C))
        else:
            raise AgainstError(f"no baseline {name!r}; there are {', '.join(NAMES)}")


class _Rate:
    """Readings in the time that they took."""

    def __init__(self) -> None:
        self.rows = 0
        self.seconds = 0.0

    def add(self, begun: float) -> None:
        self.seconds += clock.perf_counter() - begun
        self.rows += 1

    @property
    def measured(self) -> float | None:
        return self.rows / self.seconds if self.seconds else None


class _Contender:
    """A forecaster, its forecasts that wait for their values, and what they were worth."""

    def __init__(self, forecaster: Forecaster, horizon: int, channels: int) -> None:
        self.rate = _Rate()
        self._forecaster = forecaster
        self._horizon = horizon
        self._waiting = Waiting(horizon, channels)
        self._everything, self._settled = Tally(horizon, channels), Tally(horizon, channels)
        self._seen, self._spoke = np.zeros(channels, bool), np.zeros(channels, bool)  # had a value, made a forecast
        self._silent, self._not_finite = np.zeros(channels, int), np.zeros(channels, int)

    def step(self, time: float, values: F64, *, settled: bool) -> None:
        error, persistence, inside = self._waiting.judge(values)
        self._everything.add(error, persistence, inside)
        if settled:
            self._settled.add(error, persistence, inside)
        begun = clock.perf_counter()
        self._forecaster.learn(time, values)
        made = self._forecaster.forecast(self._horizon)
        self.rate.add(begun)
        self._waiting.keep(values, self._sound(made, values))

    def _sound(self, made: F64, values: F64) -> F64:
        """The forecasts [H, C] with NaN for what is no usable number, which is counted."""
        self._seen |= np.isfinite(values)
        with np.errstate(invalid="ignore"):
            sound = np.abs(made) < TOO_LARGE
        self._spoke |= sound.any(axis=0)
        unsound = np.where(self._seen, (~sound).sum(axis=0), 0)
        self._silent += np.where(self._spoke, 0, unsound)
        self._not_finite += np.where(self._spoke, unsound, 0)
        return np.where(sound, made, np.nan)

    def measures(self, channels: tuple[str, ...]) -> dict[str, Any]:
        return {
            "readings_per_s": self.rate.measured,
            # forecasts that it did not make once the channel had a value: before its first one, and after it
            "silent": dict(zip(channels, self._silent.tolist(), strict=True)),
            "not_finite": dict(zip(channels, self._not_finite.tolist(), strict=True)),
            **_errors(self._everything, channels),
            "settled": _errors(self._settled, channels),
        }


class _Watcher:
    """A detector and the time that it takes."""

    def __init__(self, detector: Detector) -> None:
        self.rate = _Rate()
        self._detector = detector

    def step(self, values: F64) -> float:
        begun = clock.perf_counter()
        score = self._detector.score(values)
        self._detector.learn(values)
        self.rate.add(begun)
        return score


def _errors(tally: Tally, channels: tuple[str, ...]) -> dict[str, Any]:
    measures = tally.measures(channels)
    return {name: measures[name] for name in ("mae", "mse", "mase")}
