"""The link to the broker: kept up, messages in and out, acknowledged only when they are done.

Knows sessions, subscriptions and both queues; knows nothing of readings, groups or what a payload means.

What happens under pressure:

- A message counts against `inbox_messages` from its arrival until it is done. A broker that keeps to MQTT 5's Receive
  Maximum sends no more than that at QoS 1.
- QoS-0 messages beyond it are dropped and counted.
- Brokers that overrun it (Mosquitto 2.0.11) or know no such window (MQTT 3.1.1) are read up to twice as many; then
  the socket is not read, so that TCP holds the broker back. Reading must go on within half a keepalive, or the
  connection would be taken for dead. If there is no room then, the link says goodbye and connects anew: the broker
  sends what is unacknowledged again, in order. To read on and drop would lose what the session promises to keep, or
  leave holes that are filled out of order.
- What goes out waits in the `Outbox`. Whoever makes it waits for `room`, so that readings wait with the broker instead;
  the `Outbox` says what is dropped when it is full all the same, as when the broker is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from paho.mqtt.client import MQTTMessage

from streamd import config, metrics
from streamd.edge.backoff import Backoff
from streamd.edge.connection import Connection, Welcome
from streamd.edge.dial import Version, Will, dial
from streamd.edge.inbox import Incoming
from streamd.edge.outbox import Kind, Outgoing
from streamd.edge.recall import Mark
from streamd.edge.receiver import Receiver
from streamd.edge.sender import Sender
from streamd.edge.trouble import ConnectError, advise
from streamd.wire.messages import Message

__all__ = ["Incoming", "Kind", "Link"]

log = logging.getLogger("streamd.mqtt")


@dataclass(frozen=True, slots=True)
class _Trial:
    """Settings that no broker has taken us in with."""

    former: config.Mqtt
    refused: Callable[[config.Mqtt, str], None]


@dataclass(slots=True)
class _Fence:
    """A question to the broker whether it has what was published."""

    mark: int  # of the sender's, behind that
    passed: Callable[[], None]
    mid: int | None = None  # packet id; None: not handed over, as something before it is not


class Link:
    """One broker connection that is kept up. To be made inside a running loop.

    Args:
        settings: where the broker is, and the limits.
        filters: topics wanted, at QoS 1.
        birth: retained on `status_topic` after each connect.
        will: retained there when we go, with or without a goodbye.
        status_topic: where they go.
        marks: of messages that former runs had dealt with; the broker may send them again.
        known_filters: those wanted by former runs under this client id, which the broker's session may still hold.
        session_lost: told when the broker has forgotten the session, and with it all packet ids that are remembered;
            calls back when that is written down, and only then is anything subscribed to.
        random: jitter of the reconnects.
    """

    def __init__(
        self,
        settings: config.Mqtt,
        filters: Sequence[str],
        *,
        birth: bytes,
        will: bytes,
        status_topic: str,
        known_filters: Sequence[str] = (),
        marks: Sequence[Mark] = (),
        session_lost: Callable[[Callable[[], None]], None] = lambda written_down: written_down(),
        random: Random | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._filters = list(dict.fromkeys(filters))
        self._obsolete = [name for name in dict.fromkeys(known_filters) if name not in self._filters]
        self._will = Will(status_topic, will)
        self._session_lost = session_lost
        self._birth = Outgoing(status_topic, birth, qos=1, retain=True, droppable=False, kind="status")
        self._random = random or Random()  # noqa: S311 - spreads reconnects, guards nothing
        self._backoff = Backoff(settings.reconnect_min_s, settings.reconnect_max_s, self._random)
        self._receiver = Receiver(settings.inbox_messages, settings.max_payload_bytes)
        self._receiver.recall.restore(marks)
        self._sender = Sender(settings.outbox_messages)
        self._asked: dict[int, list[str]] = {}  # packet id -> filters of a subscription without an answer yet
        self._fence: _Fence | None = None
        self._granted: set[str] = set()  # filters that the broker's session holds
        self._refused: dict[str, str] = {}  # filter -> why this connection does not get it
        self._ask_again: asyncio.TimerHandle | None = None
        self._failure = ""  # of the last connection or attempt, and what to do about it
        self._dialled = settings  # of the newest attempt
        self._trial: _Trial | None = None
        self._connection: Connection | None = None
        self._welcome: Welcome | None = None  # of the connection that is up
        self._since = 0.0  # loop time
        self._five_refused = False
        self._fall_back = False  # the next attempt is made with 3.1.1
        self._receiving = True
        self._pause: asyncio.TimerHandle | None = None
        self._arrived = asyncio.Event()  # something changed for `receive`
        self._sent = asyncio.Event()  # something changed for `close` and `room`
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._changed: asyncio.Future[None] = self._loop.create_future()  # nothing is to be waited for any more
        metrics.queue_length.labels("inbox").set_function(lambda: self._receiver.waiting)
        metrics.queue_length.labels("outbox").set_function(lambda: self._sender.waiting)

    @property
    def connected(self) -> bool:
        """Whether the broker has taken us in."""
        return self._welcome is not None

    @property
    def ready(self) -> bool:
        """Whether it also has granted every subscription."""
        return self.connected and self._granted.issuperset(self._filters)

    @property
    def trouble(self) -> list[str]:
        """What keeps it from its work, each with what to do about it; empty when nothing does."""
        broker = f"the broker at {self._settings.host}:{self._settings.port}"
        if not self.connected:
            return [": ".join(filter(None, (f"no connection to {broker}", self._failure)))]
        found = [f"{broker} does not let us read {name}: {why}; {self._rights}" for name, why in self._refused.items()]
        if not found and not self.ready:
            found.append("the broker has not granted the subscriptions")
        if (refusal := self._sender.refusal) is not None:
            topic, why = refusal
            found.append(f"{broker} does not let us publish on {topic}: {why}; {self._rights}")
        return found

    @property
    def dry(self) -> bool:
        """Whether nothing that arrived waits to be fetched."""
        return not self._receiver.waiting

    @property
    def held(self) -> int:
        """Messages received and not done with."""
        return self._receiver.held

    @property
    def fenced(self) -> bool:
        """Whether the call of a `fence` may still come."""
        return self._fence is not None

    def fence(self, passed: Callable[[], None]) -> None:
        """Have a call made when the broker has received all that was published so far; one at a time.

        It is never made where there is no connection, or where it ends before.
        """
        if self.connected:
            self._fence = _Fence(self._sender.mark(), passed)
            self._open.wake()

    def marks(self, tickets: Iterable[int]) -> list[Mark]:
        """What has to be remembered of messages, so that a later run knows them again."""
        return self._receiver.recall.marks(tickets)

    def unsent_incidents(self) -> list[Message]:
        """Incidents published so far that the broker has not acknowledged, in order."""
        unsent = self._sender.unsent_of("incident")
        return [Message(m.topic, m.payload, "incident", m.retain, m.qos) for m in unsent]

    async def up(self) -> None:
        """Returns when the broker has taken us in, or nothing is to be received any more."""
        while self._receiving and not self.connected:
            self._arrived.clear()
            await self._arrived.wait()

    async def run(self) -> None:
        """Connect, and connect again whenever the connection ends, until `close`."""
        metrics.broker_connected.set(0)
        while not self._closed.done():
            pause_s = await self._connect_once()
            if not self._closed.done():
                sooner = {self._closed, self._changed}
                await asyncio.wait(sooner, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
            if self._changed.done():
                self._changed = self._loop.create_future()

    async def receive(self) -> list[Incoming]:
        """All that has arrived, in order; waits until there is something.

        While there is no connection nothing is given out: when the broker resumes the session it sends again what was
        not acknowledged, and everything given out meanwhile would come twice.

        Returns:
            Messages, each of which wants `done`; none after `stop_receiving`, once those that had arrived are fetched.
        """
        while self._receiving and not (self._receiver.waiting and self.connected):
            self._arrived.clear()
            await self._arrived.wait()
        messages = self._receiver.fetch() if self.connected else []
        self._read_again_if_room()
        return messages

    def done(self, ticket: int) -> None:
        """The message behind the ticket is dealt with for good.

        It is acknowledged as soon as everything received before it is done too; never, if it came over a connection
        that is gone: the broker sends it again, perhaps with an id that another message had.
        """
        for due in self._receiver.done(ticket):
            if self._connection is not None:
                self._connection.acknowledge(due.mid, due.qos)
        self._read_again_if_room()

    async def room(self, limit_s: float) -> None:
        """Wait while more is published than the broker takes; no longer than so, nor without a connection."""
        if self.connected and self._sender.crowded:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    while self.connected and self._sender.crowded:
                        self._sent.clear()
                        await self._sent.wait()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        droppable: bool = True,
        kind: Kind,
        correlation: bytes | None = None,
    ) -> None:
        """Queue a message; never blocks.

        Args:
            topic: without wildcards.
            payload: as it is.
            qos: 0 or 1; a QoS-1 message is sent again on the next connection until the broker has it.
            retain: the broker keeps it for later subscribers.
            droppable: a newer one of the same topic makes it worthless.
            kind: what it is counted as.
            correlation: of the request that this replies to.
        """
        message = Outgoing(topic, payload, qos, retain, droppable, kind, correlation)
        self._sender.put(message, coalesce=not self.connected)
        if self._connection is not None:
            self._connection.wake()

    def publish_message(self, message: Message) -> None:
        """Queue a message of ours; a newer forecast or score makes an older one of its topic worthless."""
        self.publish(
            message.topic,
            message.payload,
            qos=message.qos,
            retain=message.retain,
            droppable=message.kind in ("forecast", "score"),
            kind=message.kind,
        )

    def want(self, filters: Sequence[str]) -> None:
        """Other topics from now on: those that are new are subscribed to, those that are gone given up."""
        gone = [name for name in self._filters if name not in filters]
        new = [name for name in dict.fromkeys(filters) if name not in self._filters]
        self._filters = list(dict.fromkeys(filters))
        self._obsolete = [name for name in (*self._obsolete, *gone) if name not in self._filters]
        self._granted.difference_update(gone)
        self._refused = {name: why for name, why in self._refused.items() if name not in gone}
        if self.connected:
            if gone:
                self._open.unsubscribe(gone)
            if new:
                self._asked[self._open.subscribe(new)] = new
            self._open.wake()

    def change(self, settings: config.Mqtt, refused: Callable[[config.Mqtt, str], None]) -> None:
        """Connect anew with other settings; the broker and its session stay the same.

        Args:
            settings: as those before but for the login, TLS, the protocol and times.
            refused: told the settings before and the reason when the broker does not take us in with these; those
                before are in force again then.
        """
        self._trial = _Trial(self._settings if self._trial is None else self._trial.former, refused)
        self._use(settings)
        if self._connection is not None:
            self._connection.disconnect()

    def _use(self, settings: config.Mqtt) -> None:
        self._settings = settings
        self._backoff = Backoff(settings.reconnect_min_s, settings.reconnect_max_s, self._random)
        self._five_refused = self._fall_back = False
        if not self._changed.done():
            self._changed.set_result(None)

    def stop_receiving(self) -> None:
        """Take nothing in any more; QoS-1 messages that still come stay with the broker for the next run."""
        self._receiving = False
        self._receiver.stop()
        self._arrived.set()

    async def close(self, timeout_s: float) -> None:
        """Send what is left, say offline and goodbye; `run` ends.

        Args:
            timeout_s: what is not sent and acknowledged by then is given up and counted.
        """
        self.stop_receiving()
        try:
            async with asyncio.timeout(timeout_s):
                if await self._all_sent():
                    will = self._will
                    self.publish(will.topic, will.payload, qos=1, retain=True, droppable=False, kind="status")
                    await self._all_sent()
                if self._connection is not None:
                    self._connection.disconnect()
                while self.connected:
                    self._sent.clear()
                    await self._sent.wait()
        except TimeoutError:
            log.warning("action=close_timeout unsent=%d", self._sender.unsent)
        finally:
            self._sender.give_up()
            if not self._closed.done():
                self._closed.set_result(None)
            if self._connection is not None:
                self._connection.abort()

    async def _all_sent(self) -> bool:
        """Wait until everything is sent and acknowledged; false if the connection is gone."""
        while self.connected and self._sender.unsent:
            self._sent.clear()
            await self._sent.wait()
        return self.connected

    async def _connect_once(self) -> float:
        """One connection from the first attempt to its end; gives the time to wait before the next, s."""
        version = self._version()
        self._dialled = settings = self._settings
        try:
            client = await dial(settings, version, self._will, self._closed)
            self._connection = Connection(client, self, settings.tls)
            reason = await self._connection.run()
        except ConnectError as error:
            return self._after_failure(error, version)
        finally:
            self._connection_ended()
        self._failure = reason
        log.log(logging.WARNING if self._receiving else logging.INFO, "action=disconnected reason=%r", reason)
        self._backoff.ended(self._loop.time() - self._since)
        return self._backoff.next_s()

    def _version(self) -> Version:
        """5 unless the broker said that it can't; after a mere hang-up 3.1.1 is tried once, then 5 again."""
        if self._settings.protocol != "auto":
            return self._settings.protocol
        fall_back, self._fall_back = self._fall_back, False
        return "3.1.1" if fall_back or self._five_refused else "5"

    def _after_failure(self, error: ConnectError, version: Version) -> float:
        if self._closed.done():
            return 0.0
        metrics.broker_connects.labels(error.result).inc()
        if self._dialled is not self._settings:
            return 0.0  # they were changed meanwhile
        falls_back = self._settings.protocol == "auto" and version == "5" and error.result in ("protocol", "closed")
        if falls_back:
            log.warning("action=fall_back protocol=3.1.1 reason=%r", str(error))
            self._five_refused = error.result == "protocol"
            self._fall_back = True
            return 0.0
        final = error.result in ("refused", "protocol", "secret")
        if self._trial is not None and (final or error.result in ("tls", "server_certificate", "client_certificate")):
            trial, self._trial = self._trial, None
            self._use(trial.former)
            trial.refused(trial.former, str(error))
            return 0.0
        pause_s = self._backoff.longest_s() if final else self._backoff.next_s()
        advice = advise(error, self._settings)
        self._failure = f"{error}; {advice}"
        log.warning(
            "action=connect_failed host=%s port=%d protocol=%s result=%s reason=%r advice=%r retry_s=%.1f",
            self._settings.host,
            self._settings.port,
            version,
            error.result,
            str(error),
            advice,
            pause_s,
        )
        return pause_s

    def _connection_ended(self) -> None:
        """Put everything into the state that the next connection starts from."""
        self._connection = self._welcome = None
        metrics.broker_connected.set(0)
        self._end_pause()
        self._receiver.connection_lost()
        self._asked.clear()
        self._refused.clear()
        metrics.filters_refused.set(0)
        if self._ask_again is not None:
            self._ask_again.cancel()
            self._ask_again = None
        self._fence = None
        self._sender.connection_lost(self._birth)
        self._sent.set()

    # What the connection tells.

    def on_welcome(self, welcome: Welcome) -> None:
        """Connected: subscribe, say so, and let go of what will be sent again."""
        self._welcome = welcome
        self._since = self._loop.time()
        metrics.broker_connected.set(1)
        metrics.broker_connects.labels("ok").inc()
        if self._dialled is self._settings:
            self._trial = None
        else:  # they were changed while this connection was on its way
            self._open.disconnect()
        again = 0
        if welcome.session_present:
            again = self._receiver.resumed()
        else:
            self._granted.clear()
            self._receiver.session_lost()
        log.info(
            "action=connected host=%s port=%d protocol=%s session=%s redelivered=%d outbox=%d",
            self._settings.host,
            self._settings.port,
            self._open.version,
            "resumed" if welcome.session_present else "new",
            again,
            self._sender.waiting,
        )

        def subscribe(connection: Connection = self._open) -> None:
            if self._connection is connection:
                self._subscribe(welcome.session_present)

        if welcome.session_present:
            subscribe()
        else:  # what comes in the new session must not be taken for what a former run dealt with in the old one
            self._session_lost(subscribe)
        self._sender.send(self._birth, self._open, welcome)
        self._arrived.set()
        self._open.wake()

    def on_message(self, message: MQTTMessage) -> None:
        """Take a message in, and read no further when that was too many."""
        for due in self._receiver.accept(message):
            self._open.acknowledge(due.mid, due.qos)
        self._arrived.set()
        if self._pause is None and not self._receiver.room:
            self._open.pause()
            self._pause = self._loop.call_later(self._up.keepalive_s / 2, self._overrun)

    def on_acknowledged(self, mid: int, refusal: str | None) -> None:
        """The broker has a QoS-1 message, or refused it."""
        self._sender.acknowledged(mid, refusal)
        self._sent.set()
        self._open.wake()

    def feed(self) -> bool:
        """Hand over what waits, a bounded number; whether there is more that may go now."""
        more = self._sender.feed(self._open, self._up)
        fence = self._fence
        if fence is not None and fence.mid is None and self._sender.is_past(fence.mark):
            fence.mid = self._open.fence()
        self._sent.set()
        return more

    def on_granted(self, mid: int, refusals: Sequence[str | None]) -> None:
        """The broker's answer to `_subscribe`."""
        for name, refusal in zip(self._asked.pop(mid, []), refusals, strict=False):
            if refusal is None:
                self._granted.add(name)
                self._refused.pop(name, None)
            else:
                self._refused[name] = refusal
                log.error("action=subscription_refused filter=%r reason=%r advice=%r", name, refusal, self._rights)
        metrics.filters_refused.set(len(self._refused))
        if self._refused and self._ask_again is None:  # the broker may be given other rights without a restart
            self._ask_again = self._loop.call_later(self._backoff.longest_s(), self._subscribe_again)

    def on_passed(self, mid: int) -> None:
        """The broker's answer to `fence`, or to what `_subscribe` asked for no more."""
        if (fence := self._fence) is not None and fence.mid == mid:
            self._fence = None
            fence.passed()

    def _subscribe(self, session_present: bool) -> None:
        """Make the session's subscriptions what is wanted; it keeps those of former runs."""
        if session_present and self._obsolete:
            self._open.unsubscribe(self._obsolete)
        # MQTT 3.1.1 has no way to subscribe again without all retained messages, so don't where it's not needed.
        missing = [name for name in self._filters if self._open.version == "5" or name not in self._granted]
        if missing:
            self._asked[self._open.subscribe(missing)] = missing

    def _subscribe_again(self) -> None:
        self._ask_again = None
        refused = [name for name in self._refused if name not in self._granted]
        self._asked[self._open.subscribe(refused)] = refused

    def _read_again_if_room(self) -> None:
        if self._pause is not None and self._receiver.room:
            self._end_pause()
            self._open.resume()

    def _end_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _overrun(self) -> None:
        log.warning("action=inbox_overrun messages=%d reason='sent more than is dealt with'", self._receiver.held)
        if self._connection is not None:
            self._connection.disconnect()

    @property
    def _rights(self) -> str:
        who = "anybody" if self._settings.username is None else f'user "{self._settings.username}"'
        return f"its access rights for {who} (mosquitto: acl_file) have to allow it"

    @property
    def _open(self) -> Connection:
        assert self._connection is not None, "only asked while there is a connection"  # noqa: S101
        return self._connection

    @property
    def _up(self) -> Welcome:
        assert self._welcome is not None, "only asked while connected"  # noqa: S101
        return self._welcome
