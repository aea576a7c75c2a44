"""What gives way while more comes in than can be dealt with: training first, then forecasts that are outdated anyway.

Incidents never do, nor readings: what is not taken yet waits with the broker. Pure: the time is an argument. Knows how
long readings waited; does not know how training is held back, or what is published.
"""

from __future__ import annotations

from typing import Final

BEHIND_S: Final = 0.1  # a batch whose newest reading waited for longer is late, if many wait behind it
MANY: Final = 500  # frames that wait behind it: fewer are a burst, which is over soon and costs nobody anything
TRAINING_AFTER_S: Final = 2.0  # of nothing but late batches, before training stops
FORECASTS_AFTER_S: Final = 5.0  # the same, before outdated forecasts are left out: stopping to train may be enough
CALM_S: Final = 10.0  # of no late batch, before all is as it was

NOTHING, TRAINING, FORECASTS = 0, 1, 2  # what gives way; each with those before it


class Pressure:
    """Of one group.

    >>> pressure = Pressure()
    >>> [pressure.waited(0.5, 2000, now) for now in (0.0, 1.9, 2.0, 5.0)]
    [0, 0, 1, 2]
    >>> [pressure.waited(0.01, 3, now) for now in (6.0, 15.9, 16.0)]
    [2, 2, 0]
    """

    def __init__(self) -> None:
        self.level = NOTHING
        self._late_since: float | None = None
        self._calm_since: float | None = None

    def waited(self, seconds: float, waiting: int, now: float) -> int:
        """A batch is applied whose newest reading waited for so long; gives what gives way from now on.

        Args:
            waiting: frames behind it.
        """
        if seconds > BEHIND_S and waiting >= MANY:
            self._calm_since = None
            if self._late_since is None:
                self._late_since = now
            late_s = now - self._late_since
            grown = (late_s >= TRAINING_AFTER_S) + (late_s >= FORECASTS_AFTER_S)
            self.level = max(self.level, grown)
        else:
            self._late_since = None
            self.idle(now)
        return self.level

    def idle(self, now: float) -> int:
        """There is nothing to do; gives what gives way from now on."""
        if self.level:
            if self._calm_since is None:
                self._calm_since = now
            if now - self._calm_since >= CALM_S:
                self.level, self._calm_since = NOTHING, None
        return self.level
