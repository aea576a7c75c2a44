from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamd.edge.ledger import Due, Ledger


def test_nothing_is_acknowledged_before_the_first_message_is_done() -> None:
    ledger = Ledger()
    tickets = [ledger.take(mid, 1) for mid in (11, 12, 13)]
    assert ledger.done(tickets[2]) == []
    assert ledger.done(tickets[1]) == []
    assert ledger.done(tickets[0]) == [Due(11, 1), Due(12, 1), Due(13, 1)]
    assert len(ledger) == 0


@given(st.integers(1, 12).flatmap(lambda n: st.permutations(range(n))))
def test_whatever_the_order_of_being_done_acknowledgements_keep_the_order_received(order: list[int]) -> None:
    ledger = Ledger()
    tickets = [ledger.take(100 + n, 1) for n in range(len(order))]
    done: set[int] = set()
    given_back: list[int] = []
    for n in order:
        given_back += [due.mid - 100 for due in ledger.done(tickets[n])]
        done.add(n)
        prefix = next((m for m in range(len(order)) if m not in done), len(order))
        assert given_back == list(range(prefix))
    assert len(ledger) == 0


def test_a_message_that_is_done_twice_is_acknowledged_once() -> None:
    ledger = Ledger()
    first, second = ledger.take(1, 1), ledger.take(2, 1)
    assert ledger.done(second) == []
    assert ledger.done(second) == []
    assert ledger.done(first) == [Due(1, 1), Due(2, 1)]
    assert ledger.done(first) == []


def test_a_ticket_of_a_lost_connection_is_not_acknowledged_though_its_packet_id_is_in_use_again() -> None:
    ledger = Ledger()
    stale = ledger.take(1, 1)
    ledger.connection_lost()
    fresh = ledger.take(1, 1)
    assert ledger.done(stale) == []
    assert ledger.done(fresh) == [Due(1, 1)]


def test_what_came_over_a_lost_connection_counts_until_it_is_done() -> None:
    ledger = Ledger()
    stale = ledger.take(1, 1)
    ledger.connection_lost()
    assert len(ledger) == 1
    ledger.done(stale)
    assert len(ledger) == 0


def test_qos_0_messages_have_tickets_but_are_not_acknowledged() -> None:
    ledger = Ledger()
    plain, kept = ledger.take(0, 0), ledger.take(5, 1)
    assert plain != kept
    assert ledger.done(plain) == []
    assert ledger.done(kept) == [Due(5, 1)]
