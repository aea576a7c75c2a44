from __future__ import annotations

from streamd.edge.recall import DONE_BEFORE, Recall, checksum

ONE, OTHER = checksum(b"in/a", b"1"), checksum(b"in/a", b"2")


def test_a_message_is_known_again_by_its_id_and_content() -> None:
    recall = Recall(10)
    recall.note(7, ONE, ticket=3)
    assert recall.find(7, ONE) == 3
    assert recall.find(7, OTHER) is None
    assert recall.find(8, ONE) is None


def test_an_id_that_is_used_anew_means_the_new_message_only() -> None:
    recall = Recall(10)
    recall.note(7, ONE, ticket=3)
    recall.note(7, OTHER, ticket=4)
    assert recall.find(7, ONE) is None
    assert recall.find(7, OTHER) == 4
    assert recall.marks([3]) == []


def test_only_the_newest_messages_are_remembered() -> None:
    recall = Recall(3)
    for mid in range(1, 6):
        recall.note(mid, ONE, ticket=mid)
    assert [mid for mid in range(1, 6) if recall.find(mid, ONE)] == [3, 4, 5]
    assert recall.marks([1, 2, 5]) == [(5, ONE)]


def test_a_message_that_was_let_go_unseen_is_new_when_it_comes_again() -> None:
    recall = Recall(10)
    recall.note(7, ONE, ticket=3)
    recall.forget(3)
    recall.forget(99)
    assert recall.find(7, ONE) is None


def test_what_a_former_run_dealt_with_is_known_to_the_next() -> None:
    first = Recall(10)
    first.note(7, ONE, ticket=3)
    first.note(8, OTHER, ticket=4)
    second = Recall(10)
    second.restore(first.marks([3, 4]))
    assert second.find(7, ONE) == DONE_BEFORE
    assert second.find(8, OTHER) == DONE_BEFORE
    second.note(7, OTHER, ticket=1)
    assert second.find(7, OTHER) == 1


def test_topic_and_payload_both_count() -> None:
    assert checksum(b"in/a", b"1") != checksum(b"in/b", b"1")
    assert checksum(b"in/a", b"1") != checksum(b"in/a", b"2")
