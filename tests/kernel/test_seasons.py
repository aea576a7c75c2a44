"""The kernels of the seasons do what a few lines of numpy say, whatever the numbers, and each stream by itself."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine import periods, seasons
from streamd.engine.features import DAY_S, WEEK_S
from streamd.engine.profile import FULL
from streamd.engine.seasons import FOUND, KNOTS, Seasons

C, HORIZON = 3, 5
SLOTS = np.array([4, 0, 2])
INTERVALS = np.array([3600.0, 60.0, DAY_S / 3])  # the last one is too slow for a day
TURNS = np.array([0, 30, 500])
OFFSETS = np.cumsum(KNOTS) - KNOTS
CLOCKS_S = np.array([DAY_S, WEEK_S])
CHANNELS = np.arange(C)


def fresh(seed):
    """Some channels have a period from the beginning, so that profiles of all kinds are learned."""
    ours = Seasons({**FULL, "C": C}, slots=6)
    ours._look = lambda *_: None  # a period that was found would be another one
    ours.period[SLOTS] = np.where(np.random.default_rng(seed).random((3, C)) < 0.5, 12.5, np.nan)
    return ours


def frames(seed, count=60):
    """What `learn` takes, of frames each with its own number, some late, with gaps and values far off."""
    random = np.random.default_rng(seed)
    times = 1e9 * random.normal(size=3)
    for k in range(count):
        steps = np.where(random.random(3) < 0.1, random.uniform(1.0, 60.0, 3), 1.0)
        times = times + steps * INTERVALS
        values = random.standard_t(1.5, size=(3, C)) + 3.0 * np.sin(k / 2.0)
        values[random.random(values.shape) < 0.1] = np.nan
        yield (
            SLOTS,
            k + np.array([0, 7, 2 * periods.SPAN - 20]),
            TURNS,
            steps,
            times,
            INTERVALS,
            values,
            random.random(3),
        )


def plain_belief(state, interval):
    with np.errstate(divide="ignore", invalid="ignore"):
        true = state["match"] / state["power"]
    believed = np.fmin(np.fmax((1.0 + seasons.DOUBT) * true - seasons.DOUBT, 0.0), 1.0)
    believed[:, FOUND] *= np.isfinite(state["period"])
    believed[:, :FOUND] *= (interval[:, None] * seasons.FEWEST_FRAMES <= CLOCKS_S)[:, :, None]
    return believed


def plain_places(turn, knots, offset):
    place = turn * knots
    low = place.astype(int) % knots
    return low + offset, (low + 1) % knots + offset, place - np.floor(place)


def plainly_learnt(state, n, _, steps, times, interval, values, trust):
    """Streams one after the other, and channels: the season [B, C] as of before."""
    phase = (state["phase"] + np.maximum(np.rint(steps), 1.0)[:, None] / state["period"]) % 1.0
    state["phase"] = np.where(np.isfinite(state["period"]), phase, 0.0)
    season = np.zeros(values.shape)
    beliefs = plain_belief(state, interval)
    for b, c in np.ndindex(values.shape):
        here, seen, left = np.isfinite(values[b, c]), state["frames"][b, c], 0.0
        if here:
            level = state["level"][b, c] if seen else values[b, c]
            left = values[b, c] - level
            state["level"][b, c] = level + left / min(seen + 1.0, seasons.LEVEL_FRAMES)
            state["frames"][b, c] += 1.0
        weight = 1.0 if seen < 30 else trust[b]
        for p in range(3):
            cycle = np.nan_to_num(np.append(CLOCKS_S / interval[b], state["period"][b, c])[p], nan=np.inf)
            turn = state["phase"][b, c] if p == FOUND else times[b] % CLOCKS_S[p] / CLOCKS_S[p]
            low, high, share = plain_places(np.array(turn), KNOTS[p], OFFSETS[p])
            shares, knots, hits = np.array([1.0 - share, share]), state["knots"][b, :, c], state["hits"][b, :, c]
            each = shares @ knots[[low, high]]
            season[b, c] += beliefs[b, p, c] * each
            if not here:
                continue
            visit = max(cycle / KNOTS[p], 1.0)
            told = p == FOUND or shares @ hits[[low, high]] >= 2.0 * visit - 1.0
            before = state["recent"][b, :, p, c] if seen else np.array([left, each])
            off = np.array([left, each]) - before
            state["recent"][b, :, p, c] = before + min(seasons.PART / cycle, 1.0) * off
            rate = weight / min(seen + 1.0, seasons.MATCH_FRAMES)
            state["match"][b, p, c] += rate * (told * off[0] * off[1] - state["match"][b, p, c])
            state["power"][b, p, c] += rate * (off[1] ** 2 - state["power"][b, p, c])
            hits[[low, high]] += shares
            speed = np.maximum(seasons.RATE / visit, 1.0 / np.maximum(hits[[low, high]], 1.0))
            knots[[low, high]] += speed * shares * weight * (left - each)
            left -= beliefs[b, p, c] * each if p < FOUND else 0.0
        row = n[b] % periods.SPAN
        state["rest"][b, row, c] = left if here else state["rest"][b, row - 1, c]
    return season


def plainly_ahead(state, times, interval):
    season, beliefs = np.zeros((3, HORIZON, C)), plain_belief(state, interval)
    for b, h, c in np.ndindex(season.shape):
        turns = (times[b] + interval[b] * (h + 1)) % CLOCKS_S / CLOCKS_S
        turns = np.append(turns, (state["phase"][b, c] + (h + 1) / np.nan_to_num(state["period"][b, c], nan=9.0)) % 1.0)
        for p in range(3):
            low, high, share = plain_places(turns[p], KNOTS[p], OFFSETS[p])
            line = state["knots"][b, :, c]
            season[b, h, c] += beliefs[b, p, c] * ((1.0 - share) * line[low] + share * line[high])
    return season


@pytest.mark.parametrize("seed", range(4))
def test_what_is_learnt_and_foretold_is_that_of_the_plain_formula(seed):
    ours, foretold = fresh(seed), 0.0
    plain = {name: array[SLOTS].astype(np.float64) for name, array in ours.state_dict().items()}
    for _, *rest in frames(seed):
        np.testing.assert_allclose(ours.learn(SLOTS, *rest), plainly_learnt(plain, *rest), rtol=1e-5, atol=1e-5)
        ahead = ours.ahead(SLOTS, rest[3], INTERVALS, HORIZON)
        np.testing.assert_allclose(ahead, plainly_ahead(plain, rest[3], INTERVALS), rtol=1e-5, atol=1e-5)
        foretold = max(foretold, np.abs(ahead).max())
    for name, array in ours.state_dict().items():
        np.testing.assert_allclose(array[SLOTS], plain[name], rtol=1e-5, atol=1e-5, err_msg=name)
    assert foretold > 0.1


def test_a_stream_gets_the_same_bits_alone_and_among_others():
    together, alone = fresh(5), fresh(5)
    for slots, *rest in frames(5):
        season = together.learn(slots, *rest)
        ahead = together.ahead(slots, rest[3], INTERVALS, HORIZON)
        for row in (2, 0, 1):
            one = slice(row, row + 1)
            assert alone.learn(slots[one], *(part[one] for part in rest)).tobytes() == season[one].tobytes()
            own = alone.ahead(slots[one], rest[3][one], INTERVALS[one], HORIZON)
            assert own.tobytes() == ahead[one].tobytes()
    for name, array in together.state_dict().items():
        assert array.tobytes() == alone.state_dict()[name].tobytes()


def test_slots_that_are_not_in_the_batch_stay_as_they_are():
    ours = Seasons({**FULL, "C": C}, slots=6)
    for frame in frames(3):
        ours.learn(*frame)
    assert not any(np.nan_to_num(array[[1, 3, 5]]).any() for array in ours.state_dict().values())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_teaches_nothing(value):
    ours = fresh(0)
    for slots, n, turns, steps, times, interval, values, trust in frames(0):
        ours.learn(slots, n, turns, steps, times, interval, values, trust)
    before = {name: array.copy() for name, array in ours.state_dict().items()}
    ours.learn(slots, n + 1, turns, steps, times + interval, interval, np.full_like(values, value), trust)
    for name in before.keys() - {"phase", "rest"}:
        np.testing.assert_array_equal(before[name], ours.state_dict()[name])
    np.testing.assert_array_equal(ours.rest[slots, (n + 1) % periods.SPAN], before["rest"][slots, n % periods.SPAN])


@pytest.mark.parametrize("interval", [0.0, 1e-300, np.nan, np.inf, 1e300])
@pytest.mark.parametrize("time", [-1e300, -1.0, 0.0, DAY_S, np.nextafter(WEEK_S, 0.0), 1e300])
def test_no_time_and_no_step_leads_out_of_the_profiles(time, interval):
    ours = fresh(1)
    for slots, n, turns, *_, values, trust in frames(1):
        ours.learn(slots, n, turns, np.full(3, 1e300), np.full(3, time), np.full(3, interval), values, trust)
        assert np.isfinite(ours.ahead(slots, np.full(3, time), np.full(3, interval), HORIZON)).all()
    assert np.isfinite(ours.knots).all()


@pytest.mark.parametrize("turn", [0, 1, 63, 200])
def test_streams_take_turns_to_look_for_a_period(monkeypatch, turn):
    ours, looked, last = fresh(2), [], 3 * seasons.YOUNG_FRAMES
    monkeypatch.setattr(ours, "_look", lambda slots, n, turns, interval: looked.append(int(n[0]) + 1))
    for n in range(last):
        times, values = np.full(1, 60.0 * n), np.zeros((1, C))
        ours.learn(SLOTS[:1], np.array([n]), np.array([turn]), np.ones(1), times, INTERVALS[:1], values, np.ones(1))
    young, later = seasons.LOOK
    ages = range(periods.FEWEST, last + 1)
    assert looked == [age for age in ages if (age + turn) % (young if age < seasons.YOUNG_FRAMES else later) == 0]
