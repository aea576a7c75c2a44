from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamd.edge.outbox import Dropped, Outbox, Outgoing


def loose(topic: str, payload: str = "", qos: int = 0) -> Outgoing:
    return Outgoing(topic, payload.encode(), qos, retain=False, droppable=True, kind="forecast")


def firm(topic: str, payload: str = "", qos: int = 1) -> Outgoing:
    return Outgoing(topic, payload.encode(), qos, retain=False, droppable=False, kind="incident")


def drain(outbox: Outbox) -> list[str]:
    taken = []
    while (message := outbox.take(window_open=True)) is not None:
        taken.append(f"{message.topic}{message.payload.decode()}")
    assert len(outbox) == 0
    return taken


def test_while_connected_every_message_of_a_topic_is_kept_in_order() -> None:
    outbox = Outbox(10)
    for n in range(3):
        assert outbox.put(loose("a", str(n)), coalesce=False) == Dropped()
    assert drain(outbox) == ["a0", "a1", "a2"]


def test_while_there_is_no_connection_only_the_newest_of_a_topic_is_kept() -> None:
    outbox = Outbox(10)
    outbox.put(loose("a", "0"), coalesce=False)
    outbox.put(loose("a", "1"), coalesce=False)
    outbox.put(loose("b", "0"), coalesce=False)
    assert outbox.put(loose("a", "2"), coalesce=True) == Dropped(coalesced=2)
    assert outbox.put(loose("c", "0"), coalesce=True) == Dropped()
    assert drain(outbox) == ["a2", "b0", "c0"]


def test_what_may_not_be_dropped_goes_first_and_is_not_coalesced() -> None:
    outbox = Outbox(10)
    outbox.put(loose("a"), coalesce=True)
    outbox.put(firm("i", "raised"), coalesce=True)
    outbox.put(firm("i", "cleared"), coalesce=True)
    assert drain(outbox) == ["iraised", "icleared", "a"]


def test_when_full_a_topic_that_waits_already_keeps_only_its_newest() -> None:
    outbox = Outbox(3)
    for topic in ("a0", "b0", "a1"):
        outbox.put(loose(topic[0], topic[1]), coalesce=False)
    assert outbox.put(loose("a", "2"), coalesce=False) == Dropped(coalesced=2)
    assert drain(outbox) == ["a2", "b0"]


def test_when_full_the_oldest_droppable_message_makes_room() -> None:
    outbox = Outbox(3)
    outbox.put(firm("i"), coalesce=False)
    outbox.put(loose("a"), coalesce=False)
    outbox.put(loose("b"), coalesce=False)
    assert outbox.put(loose("c"), coalesce=False) == Dropped(full=1)
    assert outbox.put(firm("j"), coalesce=False) == Dropped(full=1)
    assert drain(outbox) == ["i", "j", "c"]


def test_an_outbox_full_of_incidents_refuses_forecasts_and_gives_up_the_oldest_incident_for_the_newest() -> None:
    outbox = Outbox(2)
    outbox.put(firm("i"), coalesce=False)
    outbox.put(firm("j"), coalesce=False)
    assert outbox.put(loose("a"), coalesce=False) == Dropped(full=1)
    assert outbox.put(firm("k"), coalesce=False) == Dropped(overflow=1)
    assert drain(outbox) == ["j", "k"]


def test_messages_that_come_back_go_first_in_their_order() -> None:
    outbox = Outbox(10)
    outbox.put(firm("k"), coalesce=False)
    outbox.put_back([firm("i"), firm("j")])
    assert drain(outbox) == ["i", "j", "k"]


def test_a_mark_is_passed_when_all_that_was_put_before_it_is_taken_or_had_to_go() -> None:
    outbox = Outbox(4)
    assert outbox.is_past(outbox.mark())
    outbox.put(loose("a"), coalesce=False)
    outbox.put(firm("i"), coalesce=False)
    outbox.put(loose("b"), coalesce=False)
    mark = outbox.mark()
    outbox.put(loose("c"), coalesce=False)
    for taken in ("i", "a"):
        assert not outbox.is_past(mark)
        message = outbox.take(window_open=True)
        assert message is not None
        assert message.topic == taken
    assert not outbox.is_past(mark)
    for topic in "defg":  # "b" has to go
        outbox.put(loose(topic), coalesce=False)
    assert outbox.is_past(mark)
    outbox.put(firm("i"), coalesce=False)
    assert not outbox.is_past(mark)  # it may be of before: the firm ones carry no number


def test_a_closed_window_holds_qos_1_back_and_lets_qos_0_pass() -> None:
    outbox = Outbox(10)
    outbox.put(firm("i"), coalesce=False)
    outbox.put(loose("a"), coalesce=False)
    outbox.put(loose("b", qos=1), coalesce=False)
    assert outbox.take(window_open=False) == loose("a")
    assert outbox.take(window_open=False) is None
    assert drain(outbox) == ["i", "b"]


puts = st.tuples(st.sampled_from("abcd"), st.booleans(), st.booleans())


@given(st.integers(1, 6), st.lists(puts | st.none(), max_size=60))
def test_it_never_exceeds_its_limit_and_every_message_is_taken_or_counted_as_dropped(
    limit: int, steps: list[tuple[str, bool, bool] | None]
) -> None:
    outbox = Outbox(limit)
    put = taken = dropped = 0
    last: dict[str, int] = {}
    for step in steps:
        if step is None:
            message = outbox.take(window_open=True)
            if message is not None:
                taken += 1
                # Within a topic and lane the order is kept.
                lane = f"{message.topic}{message.droppable}"
                assert int(message.payload) > last.get(lane, -1)
                last[lane] = int(message.payload)
        else:
            topic, droppable, coalesce = step
            make = loose if droppable else firm
            dropped += sum(outbox.put(make(topic, str(put)), coalesce=coalesce))
            put += 1
        assert len(outbox) <= limit
    assert put == taken + dropped + outbox.clear()
    assert len(outbox) == 0
