from __future__ import annotations

from streamd.edge.inbox import PAYLOADS_IN_MEMORY, Inbox, Incoming


def message(ticket: int, qos: int = 1, payload: bytes = b"") -> Incoming:
    return Incoming("in/a", payload, 0.0, ticket, qos, retain=False)


def test_messages_are_taken_all_at_once_in_the_order_received() -> None:
    inbox = Inbox(100)
    messages = [message(ticket) for ticket in range(5)]
    for each in messages:
        inbox.put(each)
    assert inbox.take() == messages
    assert inbox.take() == []


def test_what_the_broker_sends_again_is_taken_out_and_the_rest_stays_in_order() -> None:
    inbox = Inbox(100)
    for ticket, qos in enumerate([0, 1, 0, 1]):
        inbox.put(message(ticket, qos))
    assert [each.ticket for each in inbox.take_redelivered()] == [1, 3]
    assert [each.ticket for each in inbox.take()] == [0, 2]


def test_large_payloads_fill_the_inbox_before_its_messages_are_many() -> None:
    inbox = Inbox(10)
    for ticket in range(PAYLOADS_IN_MEMORY):
        assert not inbox.heavy
        inbox.put(message(ticket, payload=b"x" * 10))
    assert inbox.heavy
    inbox.take()
    assert not inbox.heavy
