from __future__ import annotations

from collections.abc import Callable
from typing import cast

from streamd import metrics
from streamd.edge.connection import MESSAGES_PER_TURN, Connection, Welcome
from streamd.edge.outbox import Outgoing
from streamd.edge.sender import IN_FLIGHT, Sender


class Recorder:
    """A connection that takes everything."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []

    def publish(self, message: Outgoing) -> int:
        self.sent.append(message)
        return len(self.sent)


def welcome(window: int = 65_535, max_packet_bytes: int | None = None) -> Welcome:
    return Welcome(session_present=True, window=window, max_packet_bytes=max_packet_bytes, keepalive_s=30.0)


def incident(n: int) -> Outgoing:
    return Outgoing("out/incident", str(n).encode(), 1, retain=True, droppable=False, kind="incident")


def forecast(payload: bytes) -> Outgoing:
    return Outgoing("out/forecast", payload, 0, retain=False, droppable=True, kind="forecast")


def a_sender() -> tuple[Sender, Recorder, Callable[[Welcome], bool]]:
    sender, recorder = Sender(1000), Recorder()
    return sender, recorder, lambda terms: sender.feed(cast(Connection, recorder), terms)


def dropped(reason: str) -> float:
    return metrics.registry.get_sample_value("streamd_dropped_total", {"queue": "outbox", "reason": reason}) or 0.0


def test_no_more_qos_1_messages_are_on_their_way_than_the_broker_takes() -> None:
    sender, recorder, feed = a_sender()
    for n in range(10):
        sender.put(incident(n), coalesce=False)
    assert not feed(welcome(window=3))
    assert len(recorder.sent) == 3
    sender.acknowledged(2, None)
    feed(welcome(window=3))
    assert [message.payload for message in recorder.sent] == [b"0", b"1", b"2", b"3"]
    assert sender.unsent == 9


def test_a_wide_window_is_not_used_up() -> None:
    sender, recorder, feed = a_sender()
    for n in range(100):
        sender.put(incident(n), coalesce=False)
    feed(welcome())
    assert len(recorder.sent) == IN_FLIGHT


def test_one_turn_hands_over_a_bounded_number_and_says_that_there_is_more() -> None:
    sender, recorder, feed = a_sender()
    for _ in range(MESSAGES_PER_TURN + 1):
        sender.put(forecast(b""), coalesce=False)
    assert feed(welcome())
    assert len(recorder.sent) == MESSAGES_PER_TURN
    assert not feed(welcome())
    assert sender.unsent == 0


def test_it_is_crowded_when_a_tenth_of_what_it_may_hold_waits() -> None:
    sender, _, feed = a_sender()
    for _ in range(99):
        sender.put(forecast(b""), coalesce=False)
    assert not sender.crowded
    sender.put(forecast(b""), coalesce=False)
    assert sender.crowded
    feed(welcome())
    assert not sender.crowded


def test_a_mark_is_passed_when_what_is_before_it_is_handed_over_and_at_qos_1_acknowledged() -> None:
    sender, _, feed = a_sender()
    sender.put(incident(1), coalesce=False)
    sender.put(forecast(b"1"), coalesce=False)
    mark = sender.mark()
    assert not sender.is_past(mark)
    feed(welcome())
    assert not sender.is_past(mark)
    sender.acknowledged(1, None)
    assert sender.is_past(mark)


def test_what_was_on_its_way_when_the_connection_broke_goes_first_but_for_the_birth() -> None:
    sender, recorder, feed = a_sender()
    birth = incident(99)
    sender.send(birth, cast(Connection, recorder), welcome())
    for n in range(4):
        sender.put(incident(n), coalesce=False)
    feed(welcome(window=3))
    sender.acknowledged(2, None)
    sender.connection_lost(birth)
    recorder.sent.clear()
    feed(welcome())
    assert [message.payload for message in recorder.sent] == [b"1", b"2", b"3"]


def test_a_message_that_the_broker_would_hang_up_on_is_dropped_and_counted() -> None:
    sender, recorder, feed = a_sender()
    before = dropped("too_large")
    sender.put(forecast(b"x" * 1000), coalesce=False)
    sender.put(forecast(b"small"), coalesce=False)
    feed(welcome(max_packet_bytes=1000))
    assert [message.payload for message in recorder.sent] == [b"small"]
    assert dropped("too_large") == before + 1


def test_a_message_that_the_broker_refuses_is_counted_and_not_sent_again() -> None:
    sender, _, feed = a_sender()
    before = dropped("refused")
    sender.put(incident(0), coalesce=False)
    feed(welcome())
    sender.acknowledged(1, "Not authorized")
    assert sender.unsent == 0
    assert dropped("refused") == before + 1


def test_a_refusal_stands_until_the_broker_takes_something_on_that_topic_or_the_connection_ends() -> None:
    sender, _, feed = a_sender()
    other = Outgoing("out/status", b"on", 1, retain=True, droppable=False, kind="status")
    for message in (incident(0), other, incident(1), incident(2)):
        sender.put(message, coalesce=False)
    feed(welcome())
    sender.acknowledged(1, "Not authorized")
    sender.acknowledged(2, None)
    assert sender.refusal == ("out/incident", "Not authorized")
    sender.acknowledged(3, None)
    assert sender.refusal is None
    sender.acknowledged(4, "Not authorized")
    sender.connection_lost(other)
    assert sender.refusal is None


def test_where_an_answer_is_wanted_chooses_who_asks_so_a_refusal_there_is_no_trouble_of_ours() -> None:
    sender, _, feed = a_sender()
    sender.put(Outgoing("odd/place", b"{}", 1, retain=False, droppable=False, kind="reply"), coalesce=False)
    feed(welcome())
    sender.acknowledged(1, "Not authorized")
    assert sender.refusal is None


def test_what_is_given_up_is_counted() -> None:
    sender, _, _ = a_sender()
    before = dropped("closed")
    for n in range(3):
        sender.put(incident(n), coalesce=False)
    sender.give_up()
    assert sender.waiting == 0
    assert dropped("closed") == before + 3
