"""The kernel of together counts who speaks as a few lines of numpy do."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.together import ACTIVE_STEPS, MEMORY_FRAMES, Together


class Plain:
    def __init__(self):
        self.clock = self.step = None
        self.active = 0.0

    def hear(self, times, interval, known):
        before = self.clock
        self.clock = times.max() if before is None else max(before, times.max())
        steps = interval[np.isfinite(interval) & (interval > 0.0)]
        if not len(steps):
            return
        usual, rate = np.log(steps).mean(), len(steps) / (len(steps) + MEMORY_FRAMES)
        last = usual if self.step is None else np.log(self.step)
        self.step = np.exp(last + rate * (usual - last))
        window = ACTIVE_STEPS * self.step
        passed = 0.0 if before is None else min(self.clock - before, steps.max())
        self.active = min(self.active * np.exp(-passed / window) + np.minimum(steps / window, 1.0).sum(), known)


@pytest.mark.parametrize("seed", range(3))
def test_clock_step_and_active_streams_are_those_of_the_plain_formula(seed):
    random = np.random.default_rng(seed)
    ours, plain = Together(), Plain()
    for n in range(500):
        count = int(random.integers(1, 40)) if n else 1
        times = 20.0 * n + random.normal(size=count) * 30.0
        interval = np.exp(random.normal(size=count)) * 60.0
        interval[random.random(count) < 0.3] = random.choice([np.nan, np.inf, 0.0, -1.0, 1e6])
        if n == 0:
            interval[:] = np.nan  # nothing is known with the first frame
        ours.hear(times, interval, 45)
        plain.hear(times, interval, 45)
        assert (ours.clock, ours.step) == (plain.clock, pytest.approx(plain.step, rel=1e-9) if n else None)
        assert ours.active == pytest.approx(plain.active, rel=1e-9)
    assert 1.0 < ours.active <= 45.0


def test_no_frames_say_nothing():
    ours = Together()
    ours.hear(np.empty(0), np.empty(0), 3)
    assert ours.clock is None
