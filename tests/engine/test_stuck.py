"""A channel of a coupled stream sticks for a day: told, held, and as if it had not been when it is over."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pytest

from streamd.config import Alarm, Group, Network, Training
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.engine.score import TERMS
from streamd.records import Batch, Incident

EVERY_S, DAY = 300.0, 288  # seconds, and frames
BEGIN = 1_700_006_400.0  # a midnight
STICKS, MOVES, END = 4 * DAY + 100, 5 * DAY + 100, 7 * DAY
STUCK = 1  # the channel
H = 6
LONG, SHORT = 3 * 86_400.0, 6 * 3600.0


def plant():
    """Three channels of a day's cycle and a weather that all of them feel, [N, 3]."""
    random = np.random.default_rng(3)
    cycle = np.sin(2.0 * np.pi * np.arange(END) / DAY)
    weather = np.zeros(END)
    for n in range(1, END):
        weather[n] = 0.95 * weather[n - 1] + 0.3 * random.normal()
    cause = (3.0 * cycle + weather)[:, None]
    return np.array([20.0, 100.0, -5.0]) + cause * [1.0, 4.0, -0.5] + random.normal(size=(END, 3)) * [0.1, 0.4, 0.05]


@dataclass(frozen=True)
class Run:
    mean: np.ndarray  # [N, H, C]
    terms: np.ndarray  # [N, T]
    score: np.ndarray  # [N]
    told: list[tuple[int, Incident]]  # frame, and what was said with it

    def errors(self, frames):
        """Mean absolute error of the forecasts that were made in these frames, for each channel, [C]."""
        values = plant()
        off = [np.abs(self.mean[n, h] - values[n + 1 + h]) for n in frames for h in range(H) if n + 1 + h < END]
        return np.mean(off, axis=0)

    def of_the_fault(self):
        """What was told of the incident that the fault belongs to."""
        (opened,) = {one.id for n, one in self.told if one.state != "cleared" and STICKS < n <= STICKS + 40}
        return [(n, one) for n, one in self.told if one.id == opened and n > STICKS]


def apart():
    """Six channels that have nothing to do with each other and jump now and then, [N, 6]; one sticks where it is."""
    random = np.random.default_rng(5)
    values = 20.0 + 0.1 * random.normal(size=(END, 6)) + 9.0 * (random.random((END, 6)) < 0.02)
    values[STICKS - 1, STUCK] = 20.0
    return values


@functools.cache
def run(accept_s: float, *, sticks: bool = True, of=plant) -> Run:
    values = of()
    if sticks:
        values[STICKS:MOVES, STUCK] = values[STICKS - 1, STUCK]
    settings = Group(
        channels=tuple("abcdef"[: values.shape[1]]),
        horizon_steps=H,
        network=Network(hidden=4, layers=1),
        training=Training(enabled=False),
        alarm=Alarm(accept_s=accept_s),
    )
    engine = Engine(settings, InlineTrainer())
    outcomes = [engine.apply(Batch(("s",), np.array([BEGIN + EVERY_S * n]), row[None])) for n, row in enumerate(values)]
    return Run(
        mean=np.array([each.mean[0] for each in outcomes]),
        terms=np.array([each.terms[0] for each in outcomes]),
        score=np.array([each.score[0] for each in outcomes]),
        told=[(n, one) for n, each in enumerate(outcomes) for one in each.incidents],
    )


def test_it_is_over_the_line_within_twenty_frames_and_stays_there_as_long_as_it_lasts():
    score = run(LONG).score
    assert (score[STICKS : STICKS + 21] >= 1.0).any()
    assert (score[STICKS + 21 : MOVES] >= 1.0).all()
    assert (run(LONG).terms[STICKS + 21 : MOVES, TERMS.index("silence")] >= 1.0).all()


def test_its_incident_stays_open_for_as_long_as_it_lasts_and_ends_when_it_moves_again():
    told = run(LONG).of_the_fault()
    assert not any(one.state == "cleared" for n, one in told if n < MOVES)
    ended, cleared = next((n, one) for n, one in told if one.state == "cleared")
    assert cleared.reason == "calm"
    assert MOVES < ended <= MOVES + 40
    assert max(cleared.channels, key=cleared.channels.get) == "b"


def test_one_that_lasts_longer_than_the_config_says_is_accepted_and_said_to_be():
    told = run(SHORT).of_the_fault()
    ended, cleared = next((n, one) for n, one in told if one.state == "cleared")
    assert cleared.reason == "accepted"
    frames = SHORT / EVERY_S
    assert STICKS + frames <= ended <= STICKS + frames + 40
    assert cleared.end - cleared.start >= SHORT - EVERY_S
    assert (run(SHORT).terms[ended + 20 : MOVES, TERMS.index("silence")] < 1.0).all()


def test_it_is_accepted_also_where_nothing_but_its_silence_is_strange_and_the_others_move_on():
    told = run(SHORT, of=apart).of_the_fault()
    ended, cleared = next((n, one) for n, one in told if one.state == "cleared")
    assert cleared.reason == "accepted"
    frames = SHORT / EVERY_S
    assert STICKS + frames <= ended <= STICKS + frames + 40
    assert (run(SHORT, of=apart).score[ended + 1 : MOVES] < 1.0).all()
    assert not any(one.state == "cleared" for n, one in run(LONG, of=apart).of_the_fault() if n < MOVES)


@pytest.mark.parametrize("accept_s", [LONG, SHORT])
def test_forecasts_of_the_day_after_are_as_good_as_if_nothing_had_been(accept_s):
    after = range(MOVES, MOVES + DAY)
    worse = run(accept_s).errors(after) / run(LONG, sticks=False).errors(after)
    assert (worse < 1.15).all(), worse


def test_its_incident_begins_when_it_stuck_though_that_was_noticed_later():
    (found, _), *_, (_, cleared) = run(LONG).of_the_fault()
    assert found > STICKS
    assert abs(cleared.start - (BEGIN + EVERY_S * STICKS)) <= 2 * EVERY_S
