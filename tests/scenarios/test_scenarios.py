"""Folders of recorded input and the output that is expected of it; a bug report becomes one more folder.

    tests/scenarios/<name>/config.toml      of the sources and groups
    tests/scenarios/<name>/input.jsonl      one message a line: topic, payload (or text), arrival in s; or a "now" alone
    tests/scenarios/<name>/expected.jsonl   one message a line: topic and payload, in order; numbers to 1e-4

`STREAMD_RECORD=1` writes what comes out into expected.jsonl: look at the difference before you keep it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamd import config
from streamd.engine.align import Align
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.engine.mix import EXPERTS
from streamd.engine.score import TERMS
from streamd.records import Batch, Marks
from streamd.wire import outcomes
from streamd.wire.readings import Decoder
from streamd.wire.topics import Router

FOLDERS = sorted(path.parent for path in Path(__file__).parent.glob("*/input.jsonl"))


def played(folder: Path) -> Iterator[dict[str, Any]]:
    """Everything that comes out of a folder's input: refusals and messages, in order."""
    settings = config.load(folder / "config.toml")
    router = Router(settings.source)
    engines = {name: Engine(group, InlineTrainer()) for name, group in settings.groups().items()}
    aligns = {
        name: Align(engine.settings, engine.channels, engine.last_time, streams=0) for name, engine in engines.items()
    }
    for line in (folder / "input.jsonl").read_text().splitlines():
        message = json.loads(line)
        if "now" in message:
            for align in aligns.values():
                align.expire(message["now"])
        else:
            yield from taken(settings, router, aligns, message)
        for name, engine in engines.items():
            while (work := aligns[name].next()) is not None:
                assert not isinstance(work.record, Marks)
                if not isinstance(work.record, Batch):
                    engine.command(work.record)
                    continue
                outcome = engine.apply(work.record)
                names = outcomes.Names.of(engine.settings, TERMS, EXPERTS)
                for out in outcomes.encode("streamd", name, outcome, names):
                    yield {"topic": out.topic, "payload": json.loads(out.payload) if out.payload else None}


def taken(
    settings: config.Config, router: Router, aligns: dict[str, Align], message: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    route = router.match(message["topic"])
    if route is None:
        yield {"refused": "bad_topic"}
        return
    source = settings.source[route.source_index]
    body = message["text"] if "text" in message else json.dumps(message["payload"])
    decoded = Decoder(source, max_channels=128).decode(body.encode(), route.stream, route.channel)
    yield from ({"refused": reason} for reason in decoded.refused)
    join = route.channel is not None if source.join is None else source.join
    for reading in decoded.readings:
        refusal = aligns[source.group].push(reading, message["arrival"], 1, source.join_s if join else None)
        if refusal is not None:
            yield {"dropped": refusal}


def near(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) or isinstance(found, float):
        return wanted is not None and found is not None and math.isclose(found, wanted, rel_tol=1e-4, abs_tol=1e-4)
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(near(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(near, found, wanted))
    return bool(found == wanted)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_recorded_input_gives_the_expected_output(folder: Path) -> None:
    found = list(played(folder))
    expected = folder / "expected.jsonl"
    if os.environ.get("STREAMD_RECORD"):
        expected.write_text("".join(json.dumps(line) + "\n" for line in found))
    wanted = [json.loads(line) for line in expected.read_text().splitlines()]
    for number, (one, other) in enumerate(zip(found, wanted, strict=False), start=1):
        assert near(one, other), f"{expected}:{number}: expected {other}, found {one}"
    assert len(found) == len(wanted)


def test_there_are_scenarios() -> None:
    assert FOLDERS
