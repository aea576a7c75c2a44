"""Score: four terms, one line; what crosses it on ordinary noise is rare, and what is strange does not teach."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.config import Alarm, Channel
from streamd.engine import calibration
from streamd.engine.rules import OUTSIDE, Rules
from streamd.engine.score import TERMS, UNSURE, WARM_FRAMES, Judge, Look, vectors

NOVELTY, DEVIATION, SURPRISE, SILENCE = range(4)
MINUTE = 60.0


class Stream:
    """One stream that is judged frame by frame; its errors are those of repeating the last value."""

    def __init__(self, channels=2, horizon=3, alarm=None, declared=None):
        sizes = {"C": channels, "H": horizon, "J": 1 + len(vectors(horizon))}
        self.judge = Judge(sizes, Alarm() if alarm is None else alarm)
        for part in self.judge.parts().values():
            part.grow(1)
        self.rules = Rules({} if declared is None else declared, "abcdef"[:channels])
        self.horizon, self.n, self.past = horizon, 0, []

    def step(self, values, silence=None):
        """The judgement of a frame, which is learned from."""
        values = np.asarray(values, float)
        errors = np.full((1, self.horizon, len(values)), np.nan)
        for h in range(min(self.horizon, len(self.past))):
            errors[0, h] = values - self.past[-1 - h]
        one = np.array([0])
        look = Look(
            slots=one,
            n=np.array([self.n]),
            turn=one,
            times=np.array([self.n * MINUTE]),
            interval=np.array([MINUTE]),
            values=values[None],
            expected=self.past[-1][None] if self.past else np.full((1, len(values)), np.nan),
            errors=errors,
            silence=np.zeros((1, len(values))) if silence is None else np.asarray([silence], float),
        )
        judged = self.judge.look(look, self.rules)
        self.judge.learn(one, judged.terms, judged.score >= 1.0, judged.period, self.judge.warming(one))
        self.past = [*self.past[-self.horizon :], values]
        self.n += 1
        return judged

    def run(self, rows):
        """Terms [N, T] and scores [N]."""
        judged = [self.step(row) for row in rows]
        return np.array([one.terms[0] for one in judged]), np.array([one.score[0] for one in judged])


def coupled(rows, seed=0):
    """Two channels that go together."""
    random = np.random.default_rng(seed)
    cause = np.sin(np.arange(rows) / 9.0)[:, None] + 0.3 * random.normal(size=(rows, 1))
    return np.hstack([cause, 3.0 * cause]) + 0.05 * random.normal(size=(rows, 2))


def test_four_terms_have_their_place():
    assert TERMS == ("novelty", "deviation", "surprise", "silence")
    assert len(TERMS) == calibration.TERMS


@pytest.mark.parametrize(("horizon", "chosen"), [(1, (1,)), (2, (1, 2)), (12, (1, 4, 12)), (48, (1, 16, 48))])
def test_the_first_a_middle_and_the_last_horizon_are_judged(horizon, chosen):
    assert vectors(horizon) == chosen


def test_until_it_is_warm_no_score_is_over_the_line():
    rows = np.random.default_rng(0).normal(size=(WARM_FRAMES, 2))
    rows[WARM_FRAMES - 5] = 50.0
    terms, score = Stream().run(rows)
    assert score.max() == terms.max() == UNSURE


def test_warming_tells_its_progress():
    stream = Stream()
    stream.run(coupled(WARM_FRAMES // 2))
    assert stream.judge.warming(np.array([0])).item() == pytest.approx(0.5)
    stream.run(coupled(WARM_FRAMES))
    assert stream.judge.warming(np.array([0])).item() == 1.0


def test_ordinary_noise_raises_few_alarms_and_a_spike_one():
    rows = coupled(5000)
    rows[4000, 1] += 20.0
    _, score = Stream().run(rows)
    calm = np.delete(score[WARM_FRAMES:], np.arange(3990, 4400) - WARM_FRAMES)
    assert (calm >= 1.0).sum() <= 3  # half a week of minutes
    assert score[4000] > 1.0


def test_a_lasting_shift_is_held_by_the_deviation_and_soon_no_novelty_any_more():
    rows = coupled(1500)
    rows[1000:] += [4.0, -6.0]
    terms, score = Stream().run(rows)
    assert terms[1000:1010, NOVELTY].max() > 1.0
    assert (terms[1030:, DEVIATION] > 1.0).mean() > 0.95
    assert (terms[1100:, NOVELTY] < 1.0).mean() > 0.9
    assert score[1490] > 1.0


def test_a_lost_coupling_is_seen_although_every_value_is_usual():
    rows = coupled(1500)
    rows[1200:, 1] = rows[1180:1480, 1]  # what it was a while ago
    terms, _ = Stream().run(rows)
    assert terms[1200:1300, [DEVIATION, SURPRISE]].max() > 1.0


def test_a_lasting_deviation_is_accepted_after_the_time_in_the_config_and_not_before():
    rows = coupled(1700)
    rows[1000:] += [4.0, -6.0]
    stream = Stream(alarm=Alarm(accept_s=300 * MINUTE))
    judged = [stream.step(row) for row in rows]
    accepted = np.flatnonzero([one.accepted[0] for one in judged])
    assert len(accepted) == 1
    assert 1300 <= accepted[0] < 1320
    after = np.array([one.terms[0, DEVIATION] for one in judged[accepted[0] + 20 :]])
    assert (after < 1.0).mean() > 0.95


def test_the_score_is_the_largest_term_so_that_terms_that_agree_do_not_add_up():
    stream = Stream()
    stream.run(coupled(400))
    judged = stream.step([30.0, -30.0], silence=[0.0, 1.5])
    assert judged.score[0] == judged.terms[0].max()
    assert judged.terms[0, SILENCE] == pytest.approx(1.5, rel=0.05)
    assert judged.channel_score[0].max() == judged.score[0]


@pytest.mark.parametrize("channel", [0, 1])
def test_the_channel_that_was_touched_has_the_largest_part(channel):
    stream = Stream()
    rows = coupled(1000)
    stream.run(rows[:-1])
    touched = rows[-1].copy()
    touched[channel] += (3.0, 9.0)[channel]
    assert stream.step(touched).channel_score[0].argmax() == channel


def test_what_does_not_matter_adds_nothing_and_teaches_as_little():
    rows = coupled(1000)
    free, ruled = Stream(), Stream(declared={"b": Channel(direction="down")})
    for stream in (free, ruled):
        stream.run(rows)
    seen, judged = (stream.step(rows[-1] + [0.0, 40.0]) for stream in (free, ruled))
    assert seen.score[0] > 1.0
    assert judged.score[0] < 1.0
    assert judged.channel_score[0, 1] == 0.0
    assert judged.trust[0] == seen.trust[0] < 1.0
    assert ruled.step(rows[-1] - [0.0, 40.0]).score[0] > 1.0


def test_a_value_outside_its_declared_range_is_over_the_line_from_the_first_frame_on():
    stream = Stream(declared={"b": Channel(high=5.0)})
    assert stream.step([0.0, 5.0]).score[0] < 1.0
    judged = stream.step([0.0, 5.1])
    assert judged.score[0] == judged.terms[0, NOVELTY] == judged.channel_score[0, 1] == OUTSIDE
    assert judged.channel_score[0, 0] < 1.0


def test_silence_knows_by_itself_when_it_may_be_trusted_also_in_the_warm_up():
    assert Stream().step([0.0, 0.0], silence=[1.2, 0.0]).score[0] == pytest.approx(1.2)


def test_a_new_stream_begins_as_strict_as_its_group_has_become():
    judge = Stream().judge
    for part in judge.parts().values():
        part.grow(2)
    judge.common.follow(np.full((10, 4), 0.3))
    judge.begin(np.array([1]))
    assert judge.strictness.log[1].tolist() == pytest.approx([0.3] * 4)


def test_frames_without_a_value_are_not_strange():
    stream = Stream()
    stream.run(coupled(600))
    assert stream.step([np.nan, np.nan]).score[0] == 0.0


def test_frames_without_a_value_do_not_count_as_warm_up():
    stream = Stream()
    stream.run([[np.nan, np.nan]] * WARM_FRAMES)
    assert stream.judge.warming(np.array([0])).item() == 0.0
