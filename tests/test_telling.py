from __future__ import annotations

from typing import Any

import numpy as np

from streamd.config import Publish
from streamd.records import Outcome
from streamd.telling import Telling


def outcome(time: float, scores: list[float], *, warming: float = 1.0, drifted: bool = False) -> Outcome:
    rows = len(scores)
    nothing: Any = np.zeros((rows, 0))
    return Outcome(
        channels=(),
        streams=tuple(f"p{row}" for row in range(rows)),
        seq=np.zeros(rows, np.int64),
        times=np.full(rows, time),
        interval=np.ones(rows),
        mean=nothing,
        lower=nothing,
        upper=nothing,
        score=np.array(scores),
        terms=nothing,
        channel_score=nothing,
        weights=nothing,
        experts=nothing,
        levels=nothing,
        drifted=np.full(rows, drifted),
        warming=np.full(rows, warming),
    )


def test_each_frame_is_told_unless_something_else_is_asked_for() -> None:
    assert Telling(Publish()).choose(outcome(1.0, [0.1, 0.2])) is None


def test_a_forecast_goes_out_when_the_stream_is_so_much_further() -> None:
    telling = Telling(Publish(forecast_every_s=10.0))
    told = [telling.choose(outcome(float(time), [0.1])) for time in range(0, 40, 4)]
    assert [each is not None and list(each.forecasts) == [0] for each in told] == [
        time in (0, 12, 24, 36) for time in range(0, 40, 4)
    ]
    assert all(each is not None and list(each.scores) == [0] for each in told)


def test_a_score_goes_out_when_it_says_something_new() -> None:
    telling = Telling(Publish(score="change"))

    def told(score: float, **news: Any) -> bool:
        wanted = telling.choose(outcome(1.0, [score], **news))
        assert wanted is not None
        assert list(wanted.forecasts) == [0]
        return list(wanted.scores) == [0]

    assert told(0.30, warming=0.5)
    assert not told(0.35, warming=0.9)
    assert told(0.35), "the warm-up is over"
    assert told(0.46), "more than a tenth"
    assert not told(0.40)
    assert told(0.95)
    assert told(1.01), "an alarm, though not by a tenth"
    assert told(0.99)
    assert told(0.99, drifted=True)
    assert not told(0.99)


def test_a_forecast_that_a_newer_frame_overtakes_is_left_out_and_its_score_is_not() -> None:
    wanted = Telling(Publish()).choose(outcome(1.0, [0.1, 0.2, 0.3]), {"p1"})
    assert wanted is not None
    assert (list(wanted.forecasts), list(wanted.scores)) == ([0, 2], [0, 1, 2])
