"""The kernel of incidents says what numpy would of who is calm, and whether there is anything to look at."""

from __future__ import annotations

import numpy as np

from streamd.engine.incidents import ACCEPTED, CALM, CALMED, NONE, Incidents

SLOTS = np.array([4, 0, 2])


def follow(ours, slots, times, score):
    return ours.loops.follow(slots, times, score, CALM, NONE, ACCEPTED, 10 * slots)


def frames(seed, count=300):
    random = np.random.default_rng(seed)
    for n in range(count):
        score = random.choice([0.1, CALM, 0.9, np.nan, 1.0, 3.0], size=len(SLOTS), p=[0.6, 0.1, 0.1, 0.1, 0.05, 0.05])
        yield 60.0 * n + np.arange(3.0), score, random.choice([NONE, CALMED, ACCEPTED], size=len(SLOTS))


def test_who_is_calm_is_what_the_plain_formula_says():
    ours, looked = Incidents({"C": 2}, slots=6), 0
    for times, score, how in frames(0):
        ours.how[SLOTS] = how
        ours.open[SLOTS] = how == CALMED
        since = np.where(np.isnan(ours.restless_since[SLOTS]), times, ours.restless_since[SLOTS])
        seen = ours.seen.copy()
        busy = follow(ours, SLOTS, times, score)
        np.testing.assert_array_equal(ours.seen[SLOTS], seen[SLOTS] if busy else times)
        assert busy or (ours.newest[SLOTS] == 10 * SLOTS).all()
        np.testing.assert_array_equal(ours.restless_since[SLOTS], np.where(score >= CALM, since, np.nan))
        np.testing.assert_array_equal(ours.how[SLOTS], np.where((how == ACCEPTED) & (score < CALM), NONE, how))
        assert busy == bool((ours.open[SLOTS] | (score >= 1.0)).any())
        looked += busy
    assert 0 < looked < 300
    assert np.isnan(ours.restless_since[[1, 3, 5]]).all()


def test_a_stream_gets_the_same_bits_alone_and_among_others():
    together, alone = Incidents({"C": 2}, slots=6), Incidents({"C": 2}, slots=6)
    for times, score, _ in frames(1):
        follow(together, SLOTS, times, score)
        for row in (2, 0, 1):
            follow(alone, SLOTS[row : row + 1], times[row : row + 1], score[row : row + 1])
    for name, array in together.state_dict().items():
        assert array.tobytes() == alone.state_dict()[name].tobytes()
