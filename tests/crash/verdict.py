"""What must be true of a daemon's state when it is over: nothing lost, nothing doubled, and equal to the bit.

Knows state folders, records and the broker's sessions; not how the daemon came to them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from streamd import config
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.records import Array, Batch, Marks
from streamd.store import checkpoint, codec
from tests.crash.audit import Records
from tests.crash.plant import GROUPS, LIMIT_S


@dataclass(slots=True)
class Verdict:
    """On the readings of a run."""

    lost: int = 0  # readings that the state does not hold
    doubled: int = 0  # readings that it holds more than once
    wrong: list[str] = field(default_factory=list)


def judge(records: Records, published: int, config_file: Path, state: Path) -> Verdict:
    """Whether every reading was applied once, in order, and the state is what the records say, to the bit.

    Args:
        records: all that the journal ever held.
        published: readings, numbered from 0 over all streams.
        config_file: of the daemon.
        state: its folder, after a clean stop.
    """
    verdict = Verdict()
    applied: dict[str, list[int]] = {group: [] for group in GROUPS}
    engines = {name: Engine(group, InlineTrainer()) for name, group in config.load(config_file).groups().items()}
    for position in sorted(records):
        group, encoded = records[position]
        record = codec.decode(encoded)
        if isinstance(record, Batch):
            applied[group] += record.values[:, 0].astype(int).tolist()
            engines[group].apply(record)
        elif not isinstance(record, Marks):
            engines[group].command(record)
    for at, group in enumerate(GROUPS):
        wanted = range(len(range(at, published, len(GROUPS))))
        counts = Counter(applied[group])
        lost, doubled = sum(n not in counts for n in wanted), sum(count - 1 for count in counts.values())
        verdict.lost += lost
        verdict.doubled += doubled
        if lost or doubled:
            verdict.wrong.append(f"{group}: {lost} readings are lost, {doubled} doubled")
        elif applied[group] != list(wanted):
            verdict.wrong.append(f"{group}: readings were applied out of order")
    arrays = {
        f"{name}/{key}": array for name, engine in engines.items() for key, array in engine.state_dict()[0].items()
    }
    verdict.wrong += differences(kept(state).arrays, arrays, "the records, applied once more")
    return verdict


def kept(state: Path) -> checkpoint.Checkpoint:
    """What the newest checkpoint of a state folder holds."""
    loaded = checkpoint.load_newest(state)
    assert loaded.checkpoint is not None
    assert not loaded.quarantined
    return loaded.checkpoint


def differences(found: Mapping[str, Array], wanted: Mapping[str, Array], of: str) -> list[str]:
    """Arrays that are not bit for bit the same."""
    names = [
        name
        for name in sorted(found.keys() | wanted.keys())
        if name not in found or name not in wanted or not _same(found[name], wanted[name])
    ]
    return [f"the state differs from that of {of}: {', '.join(names[:8])}"] if names else []


def _same(one: Array, other: Array) -> bool:
    one, other = np.ascontiguousarray(one), np.ascontiguousarray(other)
    return (one.dtype, one.shape) == (other.dtype, other.shape) and one.tobytes() == other.tobytes()


def left_with_broker(port: int, client_id: str) -> int:
    """Readings that the broker holds for a session: come as its client, and see what it sends before a last message."""
    left, over = [], threading.Event()

    def note(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        over.set() if message.payload == b"last" else left.append(message.topic)

    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv5, manual_ack=True)
    client.on_message = note
    client.connect("127.0.0.1", port, clean_start=False)
    client.loop_start()
    client.publish("plant/left/last", b"last", qos=1)
    assert over.wait(LIMIT_S), "the session is gone"
    client.disconnect()
    client.loop_stop()
    return sum(topic.startswith("plant/") for topic in left)
