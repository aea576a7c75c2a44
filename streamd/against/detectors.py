"""Detectors of river's, `river.anomaly`: those over all channels at once, and those of one, of which the worst counts.

Knows river, which is imported when one of these is made. Each runs with river's own settings but where they say nothing
of sensor data; values are scaled by what was seen so far, for none of them scales by itself. A missing value is taken
to be the last one, for they can't do without.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streamd.against.rivers import river_module
from streamd.records import F64

NEIGHBOURS, WINDOW = 10, 250  # of the local outlier factor: as many rows as half-space trees look back
COMPONENTS = 100  # of the kernel's approximation
GRACE = 100  # rows before what is scored by a spread


class _OverAll:
    """A model of river's that takes a row of all channels."""

    def __init__(self, channels: int, scaler: Any, model: Any) -> None:
        self._scaler, self._model = scaler, model
        self._last = np.zeros(channels)  # stands in for a missing value
        self._begun = False

    def score(self, values: F64) -> float:
        if not self._begun:
            return 0.0
        return _sound(self._model.score_one(self._scaler.transform_one(self._filled(values))))

    def learn(self, values: F64) -> None:
        row = self._filled(values)
        self._scaler.learn_one(row)
        self._model.learn_one(self._scaler.transform_one(row))
        self._last = np.array([row[at] for at in range(len(values))])
        self._begun = True

    def _filled(self, values: F64) -> dict[int, float]:
        return dict(enumerate(np.where(np.isfinite(values), values, self._last).tolist()))


class HalfSpaceTrees(_OverAll):
    """An isolation forest for streams, on values scaled by the range so far; scores from 0 to 1."""

    def __init__(self, channels: int) -> None:
        scaler = river_module("halfspacetrees", "preprocessing").MinMaxScaler()
        trees = river_module("halfspacetrees", "anomaly").HalfSpaceTrees(n_trees=25, seed=0)
        super().__init__(channels, scaler, trees)


class OneClassSVM(_OverAll):
    """A support vector machine that learns by stochastic gradient, in a random approximation of a Gaussian kernel.

    What river gives is the height over the plane that rows were pulled up to: the lower, the stranger.
    """

    def __init__(self, channels: int) -> None:
        name = "oneclasssvm"
        sampler = river_module(name, "feature_extraction").RBFSampler(
            gamma=1.0 / channels, n_components=COMPONENTS, seed=0
        )
        scaler = river_module(name, "preprocessing").StandardScaler() | sampler
        super().__init__(channels, scaler, river_module(name, "anomaly").OneClassSVM())

    def score(self, values: F64) -> float:
        return -super().score(values)


class LocalOutlierFactor(_OverAll):
    """How much emptier it is around a row than around its nearest neighbours among the last rows."""

    def __init__(self, channels: int) -> None:
        name = "localoutlierfactor"
        search = river_module(name, "neighbors").LazySearch(window_size=WINDOW)
        model = river_module(name, "anomaly").LocalOutlierFactor(n_neighbors=NEIGHBOURS, engine=search)
        super().__init__(channels, river_module(name, "preprocessing").StandardScaler(), model)


class _PerChannel:
    """A model of river's for each channel, that learns its values; the highest score counts."""

    def __init__(self, models: list[Any]) -> None:
        self._models = models
        self._learned = [0] * len(models)

    def score(self, values: F64) -> float:
        each = zip(self._models, values.tolist(), self._learned, strict=True)
        return max((_sound(model.score_one(None, value)) for model, value, n in each if value == value and n >= GRACE),
                   default=0.0)  # fmt: skip

    def learn(self, values: F64) -> None:
        for c, value in enumerate(values.tolist()):
            if value == value:
                self._models[c].learn_one(None, value)
                self._learned[c] += 1


class Gaussian(_PerChannel):
    """How far a value lies towards the end of a normal distribution, from 0 to 1."""

    def __init__(self, channels: int) -> None:
        anomaly = river_module("gaussian", "anomaly")
        super().__init__([anomaly.GaussianScorer(grace_period=GRACE) for _ in range(channels)])


class AbsoluteDeviation(_PerChannel):
    """The distance from the median so far, in standard deviations so far."""

    def __init__(self, channels: int) -> None:
        name = "absolutedeviation"
        anomaly, stats = river_module(name, "anomaly"), river_module(name, "stats")
        super().__init__([anomaly.StandardAbsoluteDeviation(sub_stat=stats.Quantile(0.5)) for _ in range(channels)])


def _sound(score: Any) -> float:
    """What is no number says nothing."""
    number = float(score)
    return number if np.isfinite(number) else 0.0
