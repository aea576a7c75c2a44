"""The sensors of a world: what they publish, and what each message lets them expect.

Knows numbers, times and topics; does not know who reads them, nor when the weather lets them speak. Every reading of a
stream has a number of its own, so that a lost, doubled or moved one shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from streamd.config import Source
from tests.simulation.broker import Broker
from tests.simulation.clock import Clock
from tests.simulation.witness import REPEATED, Promise, Witness

STREAMS = 4  # of each source
SOURCES = (
    Source(topic="timed/{stream}", group="timed", time="t", time_unit="s"),
    Source(topic="plain/{stream}", group="plain"),
    Source(topic="part/{stream}/{channel}", group="parts", time="t", time_unit="s"),
)


class Sensors:
    """All sensors of a world.

    Args:
        clock: theirs, which is never stepped.
        random: which of them speaks, and how.
        broker: takes their messages, unless it is away.
        witness: is told what to expect.
        prefix: of the daemon's topics.
    """

    def __init__(self, clock: Clock, random: Random, broker: Broker, witness: Witness, prefix: str) -> None:
        self._clock = clock
        self._random = random
        self._broker = broker
        self._witness = witness
        self._prefix = prefix
        self._counts: dict[str, int] = {}  # stream -> numbers given out
        self._newest: dict[str, float] = {}  # stream -> newest time published
        self._kinds: tuple[Callable[[int], None], ...] = (
            self._timed,
            self._timed,
            self._late,
            self._array,
            self._plain,
            self._plain,
            self._plain_array,
            self._same,
            self._parts,
        )

    def burst(self, count: int, lasts_s: float) -> None:
        """So many messages within a time."""
        for _ in range(count):
            publish, at = self._random.choice(self._kinds), self._random.randrange(STREAMS)
            self._clock.after(self._random.uniform(0.0, lasts_s), lambda publish=publish, at=at: publish(at))  # type: ignore[misc]

    def all_speak(self) -> None:
        """One message of each stream."""
        for publish in (self._timed, self._plain, self._same, self._parts):
            for at in range(STREAMS):
                publish(at)

    def order_reset(self) -> None:
        """A command that is a record like any other; its stream, which nobody knows, is its number."""
        name = f"x{len(self._witness.resets)}"
        body = {"group": self._random.choice(("timed", "plain")), "stream": name}
        publication = self._broker.publish(f"{self._prefix}/command/reset", json.dumps(body).encode())
        if publication is not None:
            self._witness.resets[publication] = name

    def order_checkpoint(self) -> None:
        self._broker.publish(f"{self._prefix}/command/checkpoint", b"")

    def _timed(self, at: int, behind_s: float = 0.0) -> None:
        reading, promise = self._reading(f"t{at}", behind_s)
        self._publish(f"timed/t{at}", reading, [promise])

    def _late(self, at: int) -> None:
        self._timed(at, self._random.choice((0.0, 0.5, 30.0)))

    def _array(self, at: int) -> None:
        pairs = [self._reading(f"t{at}", -1e-3 * ahead) for ahead in range(3)]
        self._publish(f"timed/t{at}", [reading for reading, _ in pairs], [promise for _, promise in pairs])

    def _reading(self, stream: str, behind_s: float) -> tuple[Any, Promise]:
        time = round(self._clock.now, 2) + 1e9 - behind_s
        fresh = time > self._newest.get(stream, 0.0)
        self._newest[stream] = max(time, self._newest.get(stream, 0.0))
        number = self._number(stream)
        return {"t": time, "n": number}, Promise(("timed", stream), number, fresh)

    def _plain(self, at: int) -> None:
        number = self._number(f"p{at}")
        self._publish(f"plain/p{at}", {"n": number}, [Promise(("plain", f"p{at}"), number)])

    def _plain_array(self, at: int) -> None:
        numbers = [self._number(f"p{at}") for _ in range(3)]
        promises = [Promise(("plain", f"p{at}"), number) for number in numbers]
        self._publish(f"plain/p{at}", [{"n": number} for number in numbers], promises)

    def _same(self, _: int) -> None:
        """A sensor that says the same each time: nothing in the message tells it from the one before."""
        self._publish("plain/same", {"n": REPEATED}, [Promise(("plain", "same"), REPEATED)])

    def _parts(self, at: int) -> None:
        """Two halves of one frame: together, one later, or only one of them."""
        stream = f"j{at}"
        number, time = self._number(stream), self._clock.now + 1e9

        def half(channel: str, number: float) -> None:
            promise = Promise(("parts", stream), number, part=True)
            self._publish(f"part/{stream}/{channel}", {"t": time, "value": number}, [promise])

        half("x", number)
        if self._random.random() < 0.9:
            self._clock.after(self._random.choice((0.0, 0.3, 2.0)), lambda: half("y", number + 0.5))

    def _number(self, stream: str) -> float:
        number = self._counts[stream] = self._counts.get(stream, 0) + 1
        return 10.0 + number  # REPEATED is none of them

    def _publish(self, topic: str, body: Any, promises: list[Promise]) -> None:
        publication = self._broker.publish(topic, json.dumps(body).encode())
        if publication is not None:
            self._witness.published[publication] = promises
