"""Seasons: what recurs is learned, by the clock or by its own period; what does not is not believed."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine import periods
from streamd.engine.features import DAY_S, WEEK_S
from streamd.engine.profile import FULL
from streamd.engine.seasons import DOUBT, FOUND, Seasons

HORIZON = 6
START = 1_700_000_000.0
MINUTE = 60.0


class Run:
    """Streams of a batch, fed as the experts do it; keeps what was expected of each frame before it was seen."""

    def __init__(self, streams=1, channels=1):
        self.seasons = Seasons({**FULL, "C": channels}, slots=streams)
        self.slots = np.arange(streams)
        self.n = np.zeros(streams, np.int64)
        self.times = np.full(streams, np.nan)
        self.expected = []

    def feed(self, times, values, interval, trust=1.0):
        """Times [B] s and values [B, C] of one frame each; the usual step in s."""
        times, interval = np.broadcast_to(times, len(self.slots)), np.full(len(self.slots), interval)
        steps = np.where(np.isfinite(self.times), (times - self.times) / interval, 1.0)
        values = np.asarray(values, float).reshape(len(self.slots), -1)
        weight = np.full(len(self.slots), trust)
        turn = np.zeros_like(self.n)
        self.expected.append(self.seasons.learn(self.slots, self.n, turn, steps, times, interval, values, weight))
        self.n += 1
        self.times = times

    def believed(self, profile):
        """How far a profile counts, [B, C], by what it foretold."""
        match, power = self.seasons.match[:, profile], self.seasons.power[:, profile]
        true = np.divide(match, power, out=np.zeros_like(match), where=power > 0)
        return np.clip((1.0 + DOUBT) * true - DOUBT, 0.0, 1.0)

    def ahead(self, interval):
        return self.seasons.ahead(self.slots, self.times, np.full(len(self.slots), interval), HORIZON)


def course(times, cycle):
    """A course over a cycle that is no sine."""
    turn = times % cycle / cycle
    return np.where(turn < 0.3, 2.0, 0.0) + np.sin(2 * np.pi * turn)


def left(run, seasons, since):
    """Share of the season's variance, from a frame on, that the expectation leaves unexplained, [B, C]."""
    expected, season = np.array(run.expected)[since:], np.asarray(seasons, float)[since:]
    season = season.reshape(expected.shape)
    return ((season - season.mean(axis=0) - (expected - expected.mean(axis=0))) ** 2).mean(axis=0) / season.var(axis=0)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_the_course_of_a_day_is_learned_by_the_clock_although_times_jitter(unit):
    random = np.random.default_rng(0)
    run, interval = Run(), 1800.0
    times = START + interval * (np.arange(1500) + random.uniform(-0.3, 0.3, 1500))
    seasons = course(times, DAY_S)
    for time, season in zip(times, seasons, strict=True):
        run.feed(time, unit * (50.0 + season + 0.3 * random.normal()), interval)
    assert left(run, unit * seasons, 1000) < 0.15


@pytest.mark.parametrize("start", [START, START - START % DAY_S])
def test_the_day_is_foretold_from_where_the_clock_stands_on_the_hour_or_not(start):
    run, interval = Run(), 3600.0
    for n in range(1200):
        time = start + n * interval
        run.feed(time, np.sin(2 * np.pi * time / DAY_S), interval)
    later = run.times[0] + interval * np.arange(1, HORIZON + 1)
    np.testing.assert_allclose(run.ahead(interval)[0, :, 0], np.sin(2 * np.pi * later / DAY_S), atol=0.1)


def test_a_course_of_many_hours_is_not_taken_for_the_second_day_of_two():
    """A knot that was met once before agrees with the present by chance; a few frames of that are no reason."""
    run, interval = Run(4), MINUTE
    periods_of_streams = np.array([700.0, 900.0, 1300.0, 2000.0])
    off, moved = [], []
    for n in range(5000):
        run.feed(START + n * interval, 50.0 * np.sin(2 * np.pi * n / periods_of_streams), interval)
        if n >= 2000:
            later, now = (50.0 * np.sin(2 * np.pi * at / periods_of_streams) for at in (n + HORIZON, n))
            foretold = run.ahead(interval)[:, -1, 0] - run.expected[-1][:, 0]
            off.append(later - now - foretold)
            moved.append(later - now)
    assert (np.square(off).mean(axis=0) <= 1.3 * np.square(moved).mean(axis=0)).all()


def test_a_week_is_learned_on_top_of_a_day():
    run, interval = Run(), 3600.0
    times = START + interval * np.arange(24 * 7 * 10)
    seasons = course(times, DAY_S) + 2.0 * (times % WEEK_S > 5 * DAY_S)
    for time, season in zip(times, seasons, strict=True):
        run.feed(time, season, interval)
    assert left(run, seasons, 24 * 7 * 8) < 0.1


def test_a_stream_too_slow_for_a_day_has_none_of_it():
    run, interval = Run(), DAY_S / 2
    for n in range(400):
        time = START + n * interval
        run.feed(time, n % 2, interval)
    assert run.believed(0) > 0.9  # it would be foretold, if it were let
    run.seasons.match[:, 1:] = 0.0  # the week would be foretold too, and it may
    run.feed(START + 400 * interval, 0.0, interval)
    assert not run.expected[-1].any()
    assert not run.ahead(interval).any()


def test_two_channels_find_each_its_own_period_without_a_clock():
    random = np.random.default_rng(1)
    run, interval = Run(channels=2), 7.0
    cycles = np.array([12.5, 37.0])
    seasons = course(np.arange(1200.0)[:, None], cycles)
    for n, season in enumerate(seasons):
        run.feed(START + interval * n, season + 0.2 * random.normal(size=2), interval)
    assert run.seasons.period[0] == pytest.approx(cycles, rel=0.02)
    assert (left(run, seasons, 900) < 0.25).all()
    ahead = course(1199.0 + np.arange(1, HORIZON + 1)[:, None], cycles) - seasons.mean(axis=0)
    assert ((run.ahead(interval)[0] - ahead) ** 2).mean() < 0.25 * seasons.var()


def believed_in_the_end(make, streams=60, frames=1500):
    """[streams] how far the found period is believed at the end of series that have none; interval 7 s."""
    random = np.random.default_rng(2)
    values = make(random, (frames, streams))
    run = Run(streams)
    for n in range(frames):
        run.feed(START + 7.0 * n, values[n], 7.0)
    return (run.believed(FOUND) * np.isfinite(run.seasons.period))[:, 0], run, values


def noise(random, shape):
    return random.normal(size=shape)


def random_walk(random, shape):
    return random.normal(size=shape).cumsum(axis=0)


@pytest.mark.parametrize("make", [noise, random_walk])
def test_where_nothing_recurs_hardly_any_period_is_believed(make):
    believed, run, values = believed_in_the_end(make)
    assert np.mean(believed > 0.2) <= 0.05
    assert np.array(run.expected)[:, :, 0].std() < 0.1 * values.std()


@pytest.mark.parametrize("interval", [10.0, 600.0, 3600.0])
def test_a_level_that_wanders_is_not_taken_for_days_and_weeks(interval):
    """A knot is near to the level for as long as the clock stays at it: that must not pass for foresight."""
    random, streams, frames = np.random.default_rng(5), 20, 1500
    values = random_walk(random, (frames, streams))
    run = Run(streams)
    for n in range(frames):
        run.feed(START + interval * n, values[n], interval)
    ahead = run.ahead(interval)[:, :, 0] - np.array(run.expected)[-1]
    assert np.sqrt((ahead**2).mean()) < 0.5 * np.sqrt(HORIZON / 2)  # beside what the level itself moves by
    assert np.mean([run.believed(profile) for profile in range(FOUND)]) < 0.2


@pytest.mark.parametrize("period", [12.5, 40.0])
def test_a_gap_lets_the_phase_go_on(period):
    run, interval = Run(), 7.0
    at = np.concatenate([np.arange(1500), 1500 + 57 + np.arange(100)])
    for n in at:
        run.feed(START + interval * n, np.sin(2 * np.pi * n / period), interval)
    off = np.abs(np.array(run.expected)[:, 0, 0] - np.sin(2 * np.pi * at / period))
    assert off[1400:].max() < 0.2  # before the gap and after it


def test_missing_values_hide_no_season_and_teach_nothing():
    random = np.random.default_rng(3)
    run, interval = Run(), 3600.0
    times = START + interval * np.arange(1200)
    seasons = np.sin(2 * np.pi * times / DAY_S)
    for time, season in zip(times, seasons, strict=True):
        run.feed(time, np.nan if random.random() < 0.4 else season, interval)
    assert left(run, seasons, 900) < 0.05
    before = {
        name: getattr(run.seasons, name).copy() for name in ("level", "knots", "hits", "match", "power", "frames")
    }
    run.feed(times[-1] + interval, np.nan, interval)
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(run.seasons, name), array)


def test_a_channel_that_was_never_seen_is_expected_nowhere():
    run = Run(channels=2)
    for n in range(100):
        run.feed(START + 3600.0 * n, [np.sin(n), np.nan], 3600.0)
    assert not np.array(run.expected)[:, 0, 1].any()
    assert not run.ahead(3600.0)[0, :, 1].any()


def test_a_frame_that_is_not_trusted_teaches_little():
    def knots_after(trust):
        run = Run()
        for n in range(400):
            run.feed(START + 3600.0 * n, np.sin(2 * np.pi * n / 24), 3600.0)
        before = run.seasons.knots.copy()
        for n in range(400, 424):
            run.feed(START + 3600.0 * n, 50.0, 3600.0, trust=trust)
        return np.abs(run.seasons.knots - before).max()

    assert knots_after(0.1) < 0.2 * knots_after(1.0)


def test_a_season_that_ends_is_soon_not_expected_any_more():
    run = Run()
    for n in range(1000):
        run.feed(START + 3600.0 * n, np.sin(2 * np.pi * n / 24), 3600.0)
    assert np.abs(np.array(run.expected)[-24:]).max() > 0.8
    for n in range(1000, 2500):
        run.feed(START + 3600.0 * n, 0.0, 3600.0)
    assert np.abs(np.array(run.expected)[-24:]).max() < 0.2


def test_a_batch_equals_each_stream_alone_to_the_bit():
    random = np.random.default_rng(4)
    values = random.normal(size=(700, 3)) + np.sin(2 * np.pi * np.arange(700)[:, None] / np.array([24, 12.5, 31]))
    together, alone = Run(3), [Run() for _ in range(3)]
    for n in range(700):
        together.feed(START + 60.0 * n, values[n], 60.0)
        for stream, run in enumerate(alone):
            run.feed(START + 60.0 * n, values[n, stream], 60.0)
    for name, array in together.seasons.state_dict().items():
        for stream, run in enumerate(alone):
            np.testing.assert_array_equal(array[stream], getattr(run.seasons, name)[0])
    assert np.isfinite(together.seasons.period).any()


def test_the_search_looks_back_no_further_than_it_says():
    run = Run()
    for n in range(3 * periods.SPAN):
        run.feed(START + 7.0 * n, np.sin(2 * np.pi * n / 20), 7.0)
    assert run.seasons.rest.shape[1] == periods.SPAN
