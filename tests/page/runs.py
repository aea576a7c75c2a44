"""Small engines that have seen something, for tests of what the page reads from them."""

from __future__ import annotations

from streamd.engine.engine import Engine
from streamd.records import Outcome
from tests.engine.runs import Plant, small_engine


def engine_after(batches: int = 60, seed: int = 1) -> tuple[Engine, list[Outcome]]:
    """An engine with several streams, and what came of each batch."""
    engine = small_engine()
    return engine, [engine.apply(batch) for batch in Plant(seed).batches(batches)]


def last_of(outcomes: list[Outcome], stream: str) -> tuple[Outcome, int]:
    """The newest outcome of a stream, and its row there."""
    outcome = next(one for one in reversed(outcomes) if stream in one.streams)
    return outcome, outcome.streams.index(stream)
