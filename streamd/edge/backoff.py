"""How long to wait before the next attempt to connect.

Knows attempts and limits; knows neither a clock nor what is attempted.
"""

from __future__ import annotations

from random import Random

MOST_DOUBLINGS = 32  # 2**32 times any minimum is beyond any maximum, and the power stays a number


class Backoff:
    """Waiting times that double on average, with jitter, so that many clients do not come back at one time.

    Args:
        low_s: the shortest.
        high_s: the longest.
        random: where the jitter comes from.
    """

    def __init__(self, low_s: float, high_s: float, random: Random) -> None:
        self._low_s = low_s
        self._high_s = high_s
        self._random = random
        self._attempts = 0

    def next_s(self) -> float:
        """After a failure: between the shortest time and a bound that doubles with each failure."""
        self._attempts = min(self._attempts + 1, MOST_DOUBLINGS)
        return self._random.uniform(self._low_s, min(self._high_s, self._low_s * 2.0**self._attempts))

    def longest_s(self) -> float:
        """After a failure that time does not heal: the upper half of the range, at once."""
        return self._random.uniform(max(self._low_s, self._high_s / 2), self._high_s)

    def ended(self, lasted_s: float) -> None:
        """A connection was there for so long; one that held begins anew, one that is thrown out at once does not."""
        if lasted_s >= self._high_s:
            self._attempts = 0
