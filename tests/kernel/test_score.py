"""The kernels of the score do what a few lines of numpy say, whatever the numbers, and each stream by itself."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.config import Alarm, Channel
from streamd.engine.calibration import Common
from streamd.engine.rules import OUTSIDE, Rules
from streamd.engine.score import (
    DISTRUST,
    GATE,
    GATE_SHARE,
    SILENCE,
    TERMS,
    UNSURE,
    WARM_FRAMES,
    Judge,
    Judgement,
    Look,
    vectors,
)
from streamd.kernel import score as kernel

B, C, T, H = 3, 4, len(TERMS), 5
HORIZONS = np.array(vectors(H)) - 1
J = 1 + len(HORIZONS)
SLOTS = np.array([4, 0, 2])
COMPARE = pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # with NaN, as meant


def some(random, shape, *, missing=0.1):
    """Numbers around and beyond 1, some of them not known."""
    numbers = random.exponential(0.7, shape)
    numbers[random.random(shape) < missing] = np.nan
    return numbers


def score(**arrays):
    """The kernel's part with these of its arrays."""
    part = kernel.Score()
    for name, array in arrays.items():
        setattr(part, name, array)
    return part


def test_the_warm_up_is_that_of_the_channel_that_has_most_frames():
    seen = np.random.default_rng(0).uniform(0.0, 1.2 * WARM_FRAMES, (6, C))
    progress = np.empty(B)
    score(seen=seen).warming(SLOTS, WARM_FRAMES, progress)
    np.testing.assert_allclose(progress, np.minimum(seen[SLOTS].max(axis=1) / WARM_FRAMES, 1.0), rtol=1e-15)
    score(seen=np.zeros((6, 0))).warming(SLOTS, WARM_FRAMES, progress)
    assert progress.tolist() == [0.0] * B


def test_what_is_judged_jointly_are_levels_of_channels_that_are_here_and_errors_of_some_horizons():
    random = np.random.default_rng(0)
    values, level, errors = some(random, (B, C), missing=0.4), some(random, (6, C)), some(random, (B, 2 * H, C))[:, ::2]
    values[0, 0] = np.inf
    seen = np.empty((B, J, C))
    kernel.vectors(SLOTS, values, level, errors, HORIZONS, seen)
    np.testing.assert_array_equal(seen[:, 0], np.where(np.isfinite(values), level[SLOTS], np.nan))
    np.testing.assert_array_equal(seen[:, 1:], errors[:, HORIZONS])


def test_values_are_compared_with_what_is_usual_and_what_was_forecast_and_levels_with_their_mean():
    random = np.random.default_rng(0)
    values, before, expected = (some(random, (B, C), missing=0.4) for _ in range(3))
    seen, mean = some(random, (B, J, C)), some(random, (6, J, C), missing=0.0)
    sides, others = np.empty((B, 1 + J, C)), np.empty((B, 1 + J, C))
    kernel.compared(SLOTS, values, before, expected, seen, mean, sides, others)
    np.testing.assert_array_equal(sides, np.stack([values, seen[:, 0], *[values] * (J - 1)], axis=1))
    usual = np.where(np.isnan(before), values, before)
    np.testing.assert_array_equal(others, np.stack([usual, mean[SLOTS, 0], *[expected] * (J - 1)], axis=1))


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_those_of_the_plain_formula(seed):
    random = np.random.default_rng(seed)
    novelty, size, blame, silence = (some(random, shape) for shape in ((B, C), (B, J), (B, J, C), (B, C)))
    blame[0, 1], silence[1] = 0.0, 1.5
    line, factor = random.uniform(1.0, 3.0, (B, J)), random.uniform(0.8, 2.0, (B, T))
    seen = random.uniform(0.0, 2.0 * WARM_FRAMES, (6, C))
    ours = np.empty((B, T, C))
    score(seen=seen).parts(SLOTS, novelty, size, blame, silence, line, factor, WARM_FRAMES, UNSURE, ours)
    share = blame / np.maximum(blame.max(axis=2, initial=0.0, keepdims=True), 1e-300)
    each = (size / line)[:, :, None] * share
    plain = np.stack([novelty, each[:, 0], each[:, 1:].max(axis=1), silence], axis=1) / factor[:, :, None]
    young = (seen[SLOTS] < WARM_FRAMES)[:, None] & (np.arange(T) != SILENCE)[:, None]
    np.testing.assert_allclose(ours, np.where(young, np.minimum(plain, UNSURE), plain), rtol=1e-12)


def judged(parts, felt, values, silence, outside, warming, seen, size, line, frames):
    """What the kernel says: terms, channel_score, score, trust, strange, usual, taught."""
    found = (*(np.empty(shape) for shape in ((B, T), (B, C), B, B)), np.empty((B, J), bool))
    found = (*found, np.empty((B, J)), np.empty((B, J, C)))
    bounds = (OUTSIDE, GATE, GATE_SHARE, DISTRUST)
    known = (SLOTS, values, silence, outside, warming, seen, size, line, parts)
    score(seen=frames).judge(*known, *bounds, felt, *found)
    return found


@COMPARE
@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(20))
def test_judgements_are_those_of_the_plain_formula(seed, missing):
    random = np.random.default_rng(seed)
    parts, values = some(random, (B, T, C), missing=missing), some(random, (B, C))
    felt = parts * (random.random(parts.shape) < 0.6)
    silence, outside = some(random, (B, C), missing=0.0), random.random((B, C)) < 0.3
    warming, seen = np.array([False, True, False]), some(random, (B, J, C))
    size, line, frames = random.exponential(2.0, (B, J)), random.uniform(1.0, 5.0, (B, J)), random.uniform(size=(6, C))
    first, before = felt[:, 0].copy(), frames.copy()
    ours = judged(parts, felt, values, silence, outside, warming, seen, size, line, frames)

    np.testing.assert_array_equal(felt[:, 0], np.where(outside, np.fmax(first, OUTSIDE), first))
    channel_score = felt.max(axis=1)
    most = channel_score.max(axis=1, initial=0.0)
    doubtful = (most >= 1.0) | ((parts.max(axis=(1, 2), initial=0.0) >= 1.0) & ~warming)
    hushed = silence >= 1.0
    strange = (size >= np.maximum(GATE, GATE_SHARE * line)) & ~warming[:, None]
    plain = (felt.max(axis=2, initial=0.0), channel_score, most, np.where(doubtful, DISTRUST, 1.0), strange)
    plain = (*plain, np.where(hushed.any(axis=1)[:, None], 0.0, size), np.where(hushed[:, None], np.nan, seen))
    for one, other in zip(ours, plain, strict=True):
        np.testing.assert_array_equal(one, other)
    before[SLOTS] += np.isfinite(values)
    np.testing.assert_array_equal(frames, before)


def test_parts_that_are_felt_as_they_are_may_be_the_same_array():
    random = np.random.default_rng(1)
    parts, values, silence = random.uniform(0.0, 0.9, (B, T, C)), np.zeros((B, C)), np.zeros((B, C))
    rest = (values, silence, None, np.zeros(B, bool), np.zeros((B, J, C)), np.zeros((B, J)), np.ones((B, J)))
    ours = judged(parts, parts, *rest, np.zeros((6, C)))
    np.testing.assert_array_equal(ours[0], parts.max(axis=2))
    assert ours[3].tolist() == [1.0] * B


def settled(state, times, seen, strange, mean, accept_s):
    """The plain formula."""
    since = np.where(strange, np.fmin(state["since"], times), np.nan)
    frames = np.where(strange, state["frames"] + 1.0, 0.0)
    first = (frames == 1.0)[:, None, None]
    there, spread = np.where(first, mean, state["there"]), np.where(first, 0.0, state["spread"])
    known = strange[:, None, None] & np.isfinite(seen)
    rate = np.where(known, 1.0 / np.maximum(frames, 1.0)[:, None, None], 0.0)
    off = np.where(known, seen - there, 0.0)
    state |= {"since": since, "frames": frames, "there": there + rate * off}
    state["spread"] = spread + rate * ((1.0 - rate) * off * off - spread)
    return times - since > accept_s


@COMPARE
def test_where_a_stream_is_while_it_deviates_is_what_the_plain_formula_says():
    random = np.random.default_rng(0)
    ours = {"since": np.full(6, np.nan), "frames": np.zeros(6), "there": np.zeros((6, J, C))}
    ours["spread"] = ours["there"].copy()
    plain = {name: array[SLOTS] for name, array in ours.items()}
    mean, strange, accepted = random.normal(size=(6, J, C)), np.zeros((B, J), bool), np.empty(B, bool)
    total = 0
    for frame in range(500):
        strange = np.where(random.random((B, J)) < 0.05, ~strange, strange)
        times, seen = np.full(B, 10.0 * frame), some(random, (B, J, C))
        count = score(**ours).settle(SLOTS, times, seen, strange, mean, 200.0, accepted)
        expected = settled(plain, times, seen, strange[:, 0], mean[SLOTS], 200.0)
        assert accepted.tolist() == expected.tolist()
        assert count == expected.sum()
        for name, array in ours.items():
            np.testing.assert_allclose(array[SLOTS], plain[name], rtol=1e-9, atol=1e-12)
        total += count
    assert total > 10
    assert np.isnan(ours["since"][[1, 3, 5]]).all()
    assert not any(ours[name][[1, 3, 5]].any() for name in ("frames", "there", "spread"))


def test_an_onset_is_told_where_the_term_is_over_the_line():
    terms = np.array([[0.0, 1.0], [2.0, 0.9], [0.0, np.nan]])
    onset = np.empty(B)
    score(since=np.arange(6.0) + 100.0).onset(SLOTS, terms, 1, onset)
    assert onset.tolist()[0] == 104.0
    assert np.isnan(onset[1:]).all()


RULED = {"b": Channel(direction="up", least=0.2), "c": Channel(high=4.0)}


@pytest.mark.parametrize("declared", [{}, RULED])
def test_a_stream_gets_the_same_bits_alone_and_among_others(declared):
    random, rules = np.random.default_rng(0), Rules(declared, "abcd")
    together, alone = (Judge({"C": C, "H": H, "J": J}, Alarm()) for _ in range(2))
    for judge in (together, alone):
        for part in judge.parts().values():
            part.grow(6)
    over = 0
    for n in range(700):
        values = random.normal(size=(B, C)) + (n > 500) * random.choice([0.0, 20.0], (B, 1))
        values[random.random(values.shape) < 0.05] = np.nan
        look = Look(
            slots=SLOTS,
            n=np.full(B, n),
            turn=SLOTS,
            times=np.full(B, 60.0 * n),
            interval=np.full(B, 60.0),
            values=values,
            expected=some(random, (B, C)),
            errors=some(random, (B, H, C)),
            silence=random.choice([0.0, 1.2], (B, C), p=[0.99, 0.01]),
        )
        all_of_them = together.look(look, rules)
        over += (all_of_them.score >= 1.0).sum()
        for row in (2, 0, 1):
            one = slice(row, row + 1)
            alone.common = Common({"J": J}, slots=1)  # what streams have in common depends on how they come together
            single = alone.look(Look(**{name: getattr(look, name)[one] for name in Look.__struct_fields__}), rules)
            assert single.over == (single.score >= 1.0).sum()
            for name in set(Judgement.__struct_fields__) - {"over"}:
                assert getattr(single, name).tobytes() == getattr(all_of_them, name)[one].tobytes()
        together.common = Common({"J": J}, slots=1)
    assert over > 10
    for name, part in together.parts().items():
        for column, array in part.state_dict().items():
            assert array.tobytes() == alone.parts()[name].state_dict()[column].tobytes()
            assert array[[1, 3, 5]].tobytes() == np.full_like(array[:3], part.columns[column].fill).tobytes()
