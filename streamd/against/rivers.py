"""Forecasters of river's: SNARIMAX and HoltWinters for each channel.

Knows river, which is imported when one of these is made. The season is the day where the step divides it. river's
defaults (a rate of .01, and the .1 and .6 of its example for trend and season) run away on sensor data; the rates here
are the largest of the few tried that did not. A missing value is filled in with the model's own forecast of it, else
its lags would be off by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from streamd.against.baselines import SETTLED_ROWS, AgainstError, slots_of_day
from streamd.records import F64


class _PerChannel:
    """One of river's forecasters for each channel, made when the season is known."""

    def __init__(self, channels: int, period: int | None, make: Callable[[int | None], _Model]) -> None:
        self._make = make
        self._period = period
        self._models = [] if period is None else [make(period) for _ in range(channels)]
        self._early: list[tuple[float, F64]] = []

    def learn(self, time: float, values: F64) -> None:
        if self._models:
            for model, value in zip(self._models, values.tolist(), strict=True):
                model.learn(value)
            return
        self._early.append((time, values))
        if len(self._early) == SETTLED_ROWS:
            season = slots_of_day([time for time, _ in self._early])
            self._models = [self._make(season) for _ in values]
            for _, early in self._early:
                self.learn(time, early)

    def forecast(self, horizon: int) -> F64:
        if not self._models:
            return np.full((horizon, len(self._early[-1][1])), np.nan)
        return np.array([model.forecast(horizon) for model in self._models]).T


class _Model:
    """One channel's; says nothing before `first` values, and nothing more once its arithmetic has failed."""

    def __init__(self, model: Any, first: int) -> None:
        self._model = model
        self._first = first
        self._learned = 0
        self._failed = False

    def learn(self, value: float) -> None:
        if math.isnan(value):
            value = self.forecast(1)[0]
        if not math.isfinite(value) or self._failed:
            return
        try:
            self._model.learn_one(value)
        except (OverflowError, ZeroDivisionError):
            self._failed = True
        self._learned += 1

    def forecast(self, horizon: int) -> list[float]:
        if self._failed or self._learned < self._first:
            return [math.nan] * horizon
        try:
            return [float(value) for value in self._model.forecast(horizon)]
        except (OverflowError, ZeroDivisionError):
            return [math.nan] * horizon


class Snarimax(_PerChannel):
    """An autoregression on the last twelve values and on that of one season ago, by stochastic gradient."""

    def __init__(self, channels: int, period: int | None = None) -> None:
        series, linear, scaling, rates = (
            river_module("snarimax", module) for module in ("time_series", "linear_model", "preprocessing", "optim")
        )

        def make(season: int | None) -> _Model:
            regressor = scaling.StandardScaler() | linear.LinearRegression(optimizer=rates.SGD(0.001))
            seasonal = {} if season is None else {"m": season, "sp": 1}
            return _Model(series.SNARIMAX(p=12, d=0, q=0, **seasonal, regressor=regressor), first=1)

        super().__init__(channels, period, make)


class HoltWinters(_PerChannel):
    """Exponential smoothing of level and trend and, where there is one, of the season."""

    def __init__(self, channels: int, period: int | None = None) -> None:
        series = river_module("holtwinters", "time_series")

        def make(season: int | None) -> _Model:
            seasonal = {} if season is None else {"gamma": 0.3, "seasonality": season}
            return _Model(series.HoltWinters(alpha=0.3, beta=0.01, **seasonal), first=max(2, season or 0))

        super().__init__(channels, period, make)


def river_module(name: str, module: str) -> ModuleType:
    """A module of river's.

    Raises:
        AgainstError: river is not installed.
    """
    from importlib import import_module

    try:
        import_module("river")
    except ModuleNotFoundError as error:
        if error.name != "river":
            raise
        raise AgainstError(f"{name} needs river: pip install 'streamd[bench]'") from error
    return import_module(f"river.{module}")
