"""From what is on disk to the engines as they were: the newest good checkpoint, then the journal after it.

Through the very same `engine.apply`; what fell due for training is computed again. Knows positions and what was
published already; not how any of it is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from streamd import metrics
from streamd.edge.recall import Mark
from streamd.engine.engine import Engine
from streamd.engine.score import TERMS
from streamd.records import Batch, Marks, Reset
from streamd.residency import Residency
from streamd.store import codec
from streamd.store.journal import Entry
from streamd.wire import outcomes
from streamd.wire.messages import Message


class Replayed(NamedTuple):
    """What came out of applying journaled records again."""

    messages: list[Message]  # the outcomes that may not have gone out, in order
    marks: list[Mark]  # of messages that the broker may send again
    strangers: int  # records of groups that are not configured any more


async def replay(
    entries: Iterable[Entry],
    engines: Mapping[str, Engine],
    residencies: Mapping[str, Residency],
    published: int,
    *,
    prefix: str,
) -> Replayed:
    """Apply journaled records.

    Args:
        entries: in order, from the position after the one that the engines hold.
        engines: by group; records of groups that are not configured any more are passed over.
        residencies: by group; streams that left memory are brought back before they are moved.
        published: position up to which all outcomes went out before.
        prefix: of the topics.

    Returns:
        what is to be published, what is known of messages, and how many records were passed over.
    """
    messages: list[Message] = []
    marks: list[Mark] = []
    strangers = 0
    for entry in entries:
        metrics.recovered.inc()
        record = codec.decode(entry.record)
        if isinstance(record, Marks):
            marks += record.messages
            continue
        engine = engines.get(entry.group)
        if engine is None:
            strangers += 1
            continue
        residency = residencies[entry.group]
        if not isinstance(record, Batch):
            if isinstance(record, Reset) and record.stream is not None:
                await residency.bring([record.stream])
            engine.command(record)
            continue
        await residency.bring(record.streams)
        outcome = engine.apply(record)
        if entry.position > published:
            coverage = engine.settings.coverage
            messages += outcomes.encode(prefix, entry.group, outcome, terms=TERMS, coverage=coverage)
        await residency.make_room(entry.position)
    return Replayed(messages, marks, strangers)


def unsent(saved: Sequence[Sequence[object]]) -> list[Message]:
    """Incidents that a checkpoint kept because they had not gone out: [topic, payload, retain, qos] each."""
    return [
        Message(
            topic=str(topic), payload=str(payload).encode(), kind="incident", retain=bool(retain), qos=int(str(qos))
        )
        for topic, payload, retain, qos in saved
    ]
