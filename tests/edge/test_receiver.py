from __future__ import annotations

import pytest
from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from streamd import metrics
from streamd.edge.ledger import Due
from streamd.edge.receiver import Receiver


def message(mid: int, qos: int = 1, payload: bytes = b"1", topic: bytes = b"in/a") -> MQTTMessage:
    made = MQTTMessage(mid, topic)
    made.qos, made.payload = qos, payload
    return made


def count(name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"{name}_total", labels) or 0.0


def test_qos_0_messages_beyond_the_limit_are_dropped_and_counted() -> None:
    receiver = Receiver(2, 100)
    before = count("streamd_dropped", queue="inbox", reason="full")
    for _ in range(5):
        receiver.accept(message(0, qos=0))
    assert len(receiver.fetch()) == 2
    assert count("streamd_dropped", queue="inbox", reason="full") == before + 3


def test_qos_1_messages_beyond_the_limit_are_kept_and_at_twice_the_limit_there_is_no_room() -> None:
    receiver = Receiver(2, 100)
    for mid in range(1, 4):
        receiver.accept(message(mid))
    assert receiver.room
    receiver.accept(message(4))
    assert not receiver.room
    fetched = receiver.fetch()
    assert len(fetched) == 4
    assert not receiver.room, "fetched is not done"
    receiver.done(fetched[0].ticket)
    assert receiver.room


def test_a_message_that_is_too_large_is_counted_and_acknowledged_in_its_turn() -> None:
    receiver = Receiver(10, 3)
    before = count("streamd_refused", reason="too_large")
    assert receiver.accept(message(1)) == []
    assert receiver.accept(message(2, payload=b"1234")) == []
    (first,) = receiver.fetch()
    assert receiver.done(first.ticket) == [Due(1, 1), Due(2, 1)]
    assert receiver.accept(message(3, payload=b"1234")) == [Due(3, 1)]
    assert count("streamd_refused", reason="too_large") == before + 2


def test_a_topic_that_is_not_utf_8_is_counted_and_acknowledged() -> None:
    receiver = Receiver(10, 100)
    before = count("streamd_refused", reason="bad_topic")
    assert receiver.accept(message(1, topic=b"in/\xff")) == [Due(1, 1)]
    assert receiver.waiting == 0
    assert count("streamd_refused", reason="bad_topic") == before + 1


def test_after_stop_qos_1_messages_are_left_to_the_broker() -> None:
    receiver = Receiver(10, 100)
    receiver.accept(message(1))
    receiver.stop()
    assert receiver.accept(message(2)) == []
    assert receiver.waiting == 1
    assert receiver.held == 1


def test_when_the_session_is_resumed_only_what_was_not_fetched_is_let_go() -> None:
    receiver = Receiver(10, 100)
    receiver.accept(message(1))
    (fetched,) = receiver.fetch()
    receiver.accept(message(2))
    receiver.accept(message(0, qos=0))
    receiver.connection_lost()
    assert receiver.resumed() == 1
    receiver.accept(message(1))
    receiver.accept(message(2))
    assert receiver.done(fetched.ticket) == []
    waiting = receiver.fetch()
    assert [each.qos for each in waiting] == [0, 1, 1]
    assert [due for each in waiting for due in receiver.done(each.ticket)] == [Due(1, 1), Due(2, 1)]
    assert receiver.held == 0


@pytest.mark.parametrize(("asked", "answered"), [("reply/1", "reply/1"), ("reply/+", None), ("a/#", None), ("", None)])
def test_a_reply_address_that_nothing_can_be_published_to_is_none(asked: str, answered: str | None) -> None:
    receiver = Receiver(10, 100)
    request = message(1)
    request.properties = Properties(PacketTypes.PUBLISH)
    request.properties.ResponseTopic = asked
    request.properties.CorrelationData = b"\x00\x01"
    receiver.accept(request)
    (incoming,) = receiver.fetch()
    assert incoming.response_topic == answered
    assert incoming.correlation == b"\x00\x01"


def again(mid: int, payload: bytes = b"1") -> MQTTMessage:
    made = message(mid, payload=payload)
    made.dup = True
    return made


def test_a_message_that_comes_again_while_it_is_worked_on_is_given_out_once_and_acknowledged_when_it_is_done() -> None:
    receiver = Receiver(10, 100)
    receiver.accept(message(1))
    (fetched,) = receiver.fetch()
    receiver.connection_lost()
    receiver.resumed()
    assert receiver.accept(again(1)) == []
    assert receiver.waiting == 0
    assert receiver.done(fetched.ticket) == [Due(1, 1)]


def test_a_message_that_comes_again_after_it_was_done_is_acknowledged_at_once() -> None:
    receiver = Receiver(10, 100)
    receiver.accept(message(1))
    (fetched,) = receiver.fetch()
    receiver.connection_lost()
    receiver.resumed()
    assert receiver.done(fetched.ticket) == []
    assert receiver.accept(again(1)) == [Due(1, 1)]
    assert receiver.waiting == 0


def test_a_message_that_was_let_go_unseen_is_given_out_when_it_comes_again() -> None:
    receiver = Receiver(10, 100)
    receiver.accept(message(1))
    receiver.connection_lost()
    receiver.resumed()
    receiver.accept(again(1))
    assert len(receiver.fetch()) == 1


def test_a_repeat_that_says_something_else_is_another_message() -> None:
    receiver = Receiver(10, 100)
    receiver.accept(message(1))
    receiver.fetch()
    receiver.connection_lost()
    receiver.resumed()
    receiver.accept(again(1, payload=b"2"))
    assert len(receiver.fetch()) == 1


def test_what_a_former_run_dealt_with_is_acknowledged_and_not_given_out() -> None:
    former = Receiver(10, 100)
    former.accept(message(1))
    (fetched,) = former.fetch()
    receiver = Receiver(10, 100)
    receiver.recall.restore(former.recall.marks([fetched.ticket]))
    assert receiver.accept(again(1)) == [Due(1, 1)]
    assert receiver.waiting == 0


def test_a_message_that_comes_again_on_each_of_several_connections_does_not_hold_up_what_follows() -> None:
    receiver = Receiver(10, 100)
    receiver.accept(message(1))
    (first,) = receiver.fetch()
    for _ in range(3):
        receiver.connection_lost()
        receiver.resumed()
        assert receiver.accept(again(1)) == []
    receiver.accept(message(2, payload=b"2"))
    (second,) = receiver.fetch()
    assert receiver.done(second.ticket) == []
    assert receiver.done(first.ticket) == [Due(1, 1), Due(2, 1)]
    assert receiver.held == 0


def test_a_copy_that_comes_twice_over_one_connection_is_not_acknowledged_early() -> None:
    receiver = Receiver(10, 100)
    receiver.accept(message(1))
    (fetched,) = receiver.fetch()
    assert receiver.accept(again(1)) == []
    assert receiver.accept(again(1)) == []
    assert receiver.done(fetched.ticket)[0] == Due(1, 1)
    assert receiver.held == 0


def test_after_a_lost_session_a_packet_id_means_another_message_whatever_it_says() -> None:
    receiver = Receiver(10, 100)
    receiver.accept(message(1, payload=b"21.5"))
    receiver.fetch()
    receiver.connection_lost()
    receiver.session_lost()
    receiver.accept(again(1, payload=b"21.5"))  # its first sending was lost on the way
    assert receiver.waiting == 1


def test_many_more_messages_than_may_be_held_are_known_when_they_come_again() -> None:
    receiver = Receiver(2, 100)
    for mid in range(1, 101):  # a broker without a window; the acknowledgements get lost with the connection
        receiver.accept(message(mid))
        receiver.done(receiver.fetch()[0].ticket)
    receiver.connection_lost()
    receiver.resumed()
    for mid in range(1, 101):
        again = message(mid)
        again.dup = True
        assert receiver.accept(again) == [Due(mid, 1)]
    assert receiver.waiting == 0
