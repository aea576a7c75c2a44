"""How far the training schedule must be stretched to keep within its share of a core.

Knows CPU seconds and a clock that it is given; does not know what is trained, nor how a schedule is stretched.
"""

from __future__ import annotations

import math
from collections import deque

from streamd.records import HELD

WINDOW_S = 10.0  # what the share is measured over, at least
WINDOW_JOBS = 8  # that the share leaves room for in a window; with fewer the measurement is too coarse
QUIET_S = 30.0  # under half the share for so long before the schedule is tightened again
TICK_S = 0.5  # between two samples of the sliding window
MAX_STEPS = 20  # of sqrt(2) each: a factor of 1024
STEP = math.sqrt(2.0)
ROUNDING = 1e-6  # a share that is just used up is not exceeded because its jobs' times don't add up exactly


class Budget:
    """Keeps training within `share` of one core (0 < share <= 1).

    Over the share, the factor grows at once by as many steps of sqrt(2) as it takes. Under half of it for a while, it
    shrinks by one step, which brings a steady load to at most 0.71 of the share: so it does not swing. Each decision is
    measured anew, on what was spent since the one before.

    Args:
        share: of one core.
        stretch: the factor in force at the start, such as from a checkpoint; the next power of sqrt(2) is taken.
    """

    def __init__(self, share: float, stretch: float = 1.0) -> None:
        self._share = share
        self._steps = min(max(math.ceil(2 * math.log2(stretch) - 1e-9), 0), MAX_STEPS)
        self._spent = 0.0  # CPU s, all in all
        self._largest = 0.0  # CPU s, of the largest job lately
        self._samples: deque[tuple[float, float]] = deque()  # (time, spent until then), the window's
        self._quiet_since: float | None = None
        self._pressed: set[str] = set()  # groups that can't keep up

    def press(self, group: str, pressed: bool) -> None:
        """While a group can't keep up nobody trains."""
        if pressed:
            self._pressed.add(group)
        else:
            self._pressed.discard(group)

    def set_share(self, share: float) -> None:
        """Keep within another share from now on."""
        self._share = share

    @property
    def current(self) -> float:
        """The factor in force: 1 at least, or HELD."""
        if self._pressed:
            return HELD
        return float(2.0 ** (self._steps / 2))

    def spent(self, cpu_s: float) -> None:
        """A job took so much CPU. One thread may call this while another one asks for the factor."""
        self._spent += cpu_s
        self._largest = max(0.9 * self._largest, cpu_s)

    def factor(self, now: float) -> float | None:
        """The new factor if it changes, else None; `now` in s on a clock that only grows. Cheap: ask often."""
        usage = self._usage(now)
        if usage is None:
            return None
        if usage > self._share * (1 + ROUNDING):
            self._quiet_since = None
            more = math.ceil(2 * math.log2(usage / self._share))
            return self._set(min(self._steps + max(more, 1), MAX_STEPS), now)
        if usage >= self._share / 2:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = now
        elif now - self._quiet_since >= QUIET_S:
            self._quiet_since = None
            return self._set(max(self._steps - 1, 0), now)
        return None

    def _set(self, steps: int, now: float) -> float | None:
        """Takes a new factor and measures anew, since what was spent until now was spent under the old one."""
        if steps == self._steps:
            return None
        self._steps = steps
        self._samples.clear()
        self._samples.append((now, self._spent))
        return self.current

    def _usage(self, now: float) -> float | None:
        """Cores used over the window that ends now; None while it is not full."""
        spent, samples = self._spent, self._samples
        if not samples or now - samples[-1][0] >= TICK_S:
            samples.append((now, spent))
        # A job counts as a whole when it is done, so large ones need a longer window.
        window = max(WINDOW_S, WINDOW_JOBS * self._largest / self._share)
        while len(samples) > 1 and now - samples[1][0] >= window:
            samples.popleft()
        begun, spent_then = samples[0]
        if now - begun < window:
            return None
        return (spent - spent_then) / (now - begun)
