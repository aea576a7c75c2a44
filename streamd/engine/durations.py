"""How long something usually lasts, and from when on it lasts strangely long: the tail of the lengths seen so far.

Lengths may be runs of frames or gaps of seconds. Knows lengths, not what they are of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamd.records import F64, Bool

RARE = 1e-8  # share of the lengths beyond the line, if they end by chance alone
FEWEST = 12.0  # units: nothing shorter is strange, however regular the lengths were ...
FEWEST_YOUNG = 300.0  # ... and so many more by the number of lengths seen
# Times the longest so far: 5 at first (the flat top of a rounded wave is 4.9 times as long as what leads up to it), 2
# when thousands have been seen.
LEAST_FACTOR, MORE_FACTOR, SETTLED = 2.0, 3.0, 3000.0
FEW_FACTOR = 10.0  # more, by the number of lengths seen
MEMORY = 2000.0  # lengths: forgetting of mean and spread
LASTS = 300.0  # times its own length is a longest one remembered (to 1/e) ...
LASTS_UNITS = 100_000.0  # ... and so many units more
TINY = 1e-300  # so that nothing is divided by 0
MOST = 1e6  # lengths counted


@dataclass(frozen=True, slots=True)
class Durations:
    """What is known of lengths; arrays of one shape, in one unit.

    >>> seen = Durations(*np.array([[1000.0], [0.0], [0.0], [0.0], [0.0]]))  # a thousand frames, each a change
    >>> seen.line(1.0).round(1).tolist()
    [12.3]
    """

    count: F64  # lengths seen
    mean: F64
    square: F64  # mean of (length - mean)^2
    longest: F64  # usual one, slowly forgotten
    odd: F64  # longest strange one, slowly forgotten: another like it is usual

    def line(self, unit: F64 | float) -> F64:
        """From which length on it is strange; inf where none was seen.

        Where lengths end by chance (with any frame alike), they have a geometric tail whose mean is known to the degree
        that lengths were seen: of n lengths, 1 - (1 + t / (n * mean))^-n are shorter than t. Regular lengths have less
        spread than that, so mean and spread are told apart; what has a heavier tail is held by its longest.

        Args:
            unit: of the lengths: a frame, or the usual gap.
        """
        n = np.maximum(self.count, 1.0)
        spreads = n * (RARE ** (-1.0 / n) - 1.0) - 1.0
        factor = LEAST_FACTOR + MORE_FACTOR / (1.0 + n / SETTLED) + FEW_FACTOR / n
        line = np.maximum(self.mean + spreads * np.sqrt(self.square), factor * self.longest)
        line = np.maximum(line, (FEWEST + FEWEST_YOUNG / n) * unit)
        return np.where(self.count > 0.0, line, np.inf)

    def learn(
        self, length: F64, ended: Bool, strange: Bool, weight: F64 | float, passed: F64 | float, unit: F64 | float
    ) -> Durations:
        """What is known after one more moment.

        Args:
            length: of what has ended; not looked at elsewhere.
            ended: where something has.
            strange: where that was strange: it is not learned from, until another has lasted as long.
            weight: 0..1, how far it is trusted.
            passed: since the moment before.
            unit: of the lengths.
        """
        longest, odd = self._fade(self.longest, passed, unit), self._fade(self.odd, passed, unit)
        usual, strange = ended & ~strange, ended & strange
        longest = np.where(usual, np.maximum(longest, length), longest)
        longest = np.where(strange, np.maximum(longest, np.minimum(length, odd)), longest)
        odd = np.where(strange, np.maximum(odd, length), odd)
        w = np.where(usual, np.where(self.count < FEWEST, 1.0, weight), 0.0)
        rate = w / np.minimum(self.count + 1.0, MEMORY)
        off = np.where(usual, length, self.mean) - self.mean
        return Durations(
            count=np.minimum(self.count + w, MOST),
            mean=self.mean + rate * off,
            square=(1.0 - rate) * (self.square + rate * off * off),
            longest=longest,
            odd=odd,
        )

    def begin_anew(self, where: Bool) -> Durations:
        """The same, but in some places nothing was seen that is usual; what was longest is only not unheard of."""
        kept = np.where(where, 0.0, 1.0)
        odd = np.where(where, np.maximum(self.longest, self.odd), self.odd)
        return Durations(kept * self.count, kept * self.mean, kept * self.square, kept * self.longest, odd)

    def _fade(self, length: F64, passed: F64 | float, unit: F64 | float) -> F64:
        """A length that was remembered for a while more."""
        lasts = LASTS * length + LASTS_UNITS * unit
        return length * lasts / np.maximum(lasts + passed, TINY)
