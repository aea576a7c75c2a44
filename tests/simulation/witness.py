"""Sees everything that is published, committed, acknowledged and told, and says when a promise is broken.

Knows what the daemon has promised; does not know how it keeps it. What is committed it takes from the journal on the
simulated disk, and applies it to engines of its own, which never stop: they are the run that was never interrupted.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from streamd.engine.mix import EXPERTS
from streamd.engine.score import TERMS
from streamd.records import Batch, Marks, Reset
from streamd.store import archive, codec
from streamd.wire import outcomes
from tests.simulation.broker import Publication

Stream: TypeAlias = tuple[str, str]  # group, stream
REPEATED = 7.0  # what a stream whose value never changes says


class Violation(BaseException):  # nothing in the daemon may catch it
    """A promise was broken."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What a message brings."""

    stream: Stream
    number: float  # that nobody else of the stream says, but for REPEATED
    fresh: bool = True  # nothing of the same time or a later one was published before
    part: bool = False  # of a frame, which may come too late for it


@dataclass(slots=True)
class _Told:
    life: int
    payload: bytes


@dataclass(slots=True)
class _Committed:
    life: int
    forecast: bytes


class _Head(msgspec.Struct):
    seq: int


_head = msgspec.json.Decoder(_Head).decode


@dataclass
class Witness:
    """Of one world.

    Args:
        engines: the daemon's engines as they are before the first record, by group.
        prefix: of the topics.
    """

    engines: Mapping[str, Any]
    prefix: str
    life: int = 0
    position: int = 0  # of the last record committed
    excused: bool = False  # messages that can't be told apart may have been taken for each other
    broken: str = ""  # the first promise that was
    published: dict[Publication, list[Promise]] = field(default_factory=dict)
    resets: dict[Publication, str] = field(default_factory=dict)
    numbers: dict[Stream, Counter[float]] = field(default_factory=lambda: defaultdict(Counter))
    reset: Counter[str] = field(default_factory=Counter)
    _acknowledged: set[Publication] = field(default_factory=set)
    _promised: dict[Stream, Counter[float]] = field(default_factory=lambda: defaultdict(Counter))
    _last: dict[Stream, float] = field(default_factory=dict)
    _frames: Counter[Stream] = field(default_factory=Counter)
    _heard: set[tuple[str, str, int]] = field(default_factory=set)
    _committed: dict[tuple[str, str, int], _Committed] = field(default_factory=dict)
    _early: dict[tuple[str, str, int], list[_Told]] = field(default_factory=lambda: defaultdict(list))
    _incidents: Counter[tuple[str, bytes]] = field(default_factory=Counter)  # -> times heard of
    archived: set[archive.Item] = field(default_factory=set)  # what has to be in the archive

    def fail(self, text: str) -> None:
        self.broken = self.broken or text
        raise Violation(text)

    # --- what happens ---

    def journal_is(self, end: int, rows: Callable[[int], Sequence[tuple[int, bytes, bytes]]]) -> None:
        """The journal on the disk ends at a position; `rows` gives what is behind one: position, group, record."""
        if end < self.position:
            self.fail(f"the journal ends at {end}, but {self.position} was committed")
        for position, group, record in rows(self.position):
            if position != self.position + 1:
                self.fail(f"a record at {position} follows {self.position}")
            self.position = position
            self._apply(group.decode(), codec.decode(record))

    def acknowledged(self, publication: Publication) -> None:
        """The daemon lets a message go; it may do so twice, when it is sent again."""
        if publication not in self._acknowledged:
            self._acknowledged.add(publication)
            for promise in self.published.get(publication, ()):
                if promise.fresh and not promise.part and not (self.excused and promise.number == REPEATED):
                    self._promised[promise.stream][promise.number] += 1
                    if self.numbers[promise.stream][promise.number] < self._promised[promise.stream][promise.number]:
                        self.fail(f"{promise} was acknowledged and is not committed")
        name = self.resets.get(publication)
        if name is not None and not self.reset[name]:
            self.fail(f"the reset of {name} was acknowledged and is not committed")

    def told(self, life: int, topic: str, payload: bytes) -> None:
        """The broker has a message of the daemon's."""
        prefix, group, *rest = topic.split("/")
        if prefix != self.prefix or len(rest) != 2 or not payload:
            return
        stream, kind = rest
        if kind == "incident":
            if (topic, payload) not in self._incidents:
                self.fail(f"an incident of {stream} was told before its commit: {payload[:80]!r}")
            self._incidents[topic, payload] += 1
        elif kind == "forecast":
            key = group, stream, _head(payload).seq
            committed = self._committed.get(key)
            if committed is None:
                self._early[key].append(_Told(life, payload))
            elif committed.life <= life:
                self._compare(key, committed.forecast, payload)

    # --- what must hold at the end ---

    def check(self, *, lossless: bool) -> None:
        """Everything was answered; `lossless`: the broker never lost its session."""
        for publication, promises in self.published.items():
            if publication.kept and publication not in self._acknowledged:
                self.fail(f"{promises} was never acknowledged")
            for promise in promises:
                self._check_promise(promise, publication.kept and lossless)
        for publication, name in self.resets.items():
            if self.reset[name] > 1 or (publication.kept and not self.reset[name]):
                self.fail(f"the reset of {name} was carried out {self.reset[name]} times")
        if lossless:
            self._check_repeated()
        for (topic, payload), times in self._incidents.items():
            if not times:
                self.fail(f"nobody was told of {topic} {payload!r}")

    def unanswered(self) -> list[Stream]:
        """The streams of whose last frame nobody has heard."""
        return [
            (group, name)
            for (group, name), count in self._frames.items()
            if (group, name, count - 1) not in self._heard
        ]

    def _check_promise(self, promise: Promise, kept: bool) -> None:
        if promise.number == REPEATED:
            return
        times = self.numbers[promise.stream][promise.number]
        if times > 1:
            self.fail(f"{promise} is in the state {times} times")
        if kept and promise.fresh and not promise.part and not times:
            self.fail(f"{promise} is not in the state")

    def _check_repeated(self) -> None:
        """Of messages that can't be told apart, as many as there were."""
        wanted: Counter[Stream] = Counter()
        for publication, promises in self.published.items():
            if publication.kept:
                wanted.update(promise.stream for promise in promises if promise.number == REPEATED)
        for stream, count in wanted.items():
            if self.numbers[stream][REPEATED] != count:
                self.fail(f"{stream} said {count} times what is in the state {self.numbers[stream][REPEATED]} times")

    # --- the run that was never interrupted ---

    def _apply(self, group: str, record: Any) -> None:
        if isinstance(record, Marks):
            return
        engine = self.engines[group]
        if not isinstance(record, Batch):
            if isinstance(record, Reset) and record.stream is not None:
                self.reset[record.stream] += 1
            effect = engine.command(record)
            self.archived.update(archive.of_incidents(group, effect))
            for message in outcomes.encode_silence(self.prefix, group, effect.incidents):
                self._incidents[message.topic, message.payload] = 0
            return
        outcome = engine.apply(record)
        self.archived.update(archive.of_incidents(group, outcome))
        for row, stream in enumerate(record.streams):
            self._frames[group, stream] += 1
            for number in record.values[row].tolist():
                if not math.isnan(number):
                    self._take(group, stream, number)
        names = outcomes.Names.of(engine.settings, TERMS, EXPERTS)
        for message in outcomes.encode(self.prefix, group, outcome, names):
            if message.kind == "incident" and message.payload:
                self._incidents[message.topic, message.payload] = 0
            elif message.kind == "forecast":
                stream = message.topic.split("/")[2]
                key = group, stream, _head(message.payload).seq
                self._committed[key] = _Committed(self.life, message.payload)
                for told in self._early.pop(key, ()):
                    if told.life == self.life:
                        self._compare(key, message.payload, told.payload)

    def _take(self, group: str, stream: str, number: float) -> None:
        key = group, stream
        self.numbers[key][number] += 1
        if number != REPEATED:
            if group != "parts" and number <= self._last.get(key, -math.inf):
                self.fail(f"{key}: {number} follows {self._last[key]}")
            self._last[key] = number

    def _compare(self, key: tuple[str, str, int], wanted: bytes, told: bytes) -> None:
        self._heard.add(key)
        if told != wanted:
            self.fail(f"{key} was told with another content than was committed: {told!r}, not {wanted!r}")
