import asyncio

from streamd import metrics
from streamd.edge.mailbox import MOST, Mailbox


def missed(event: str) -> float:
    return metrics.registry.get_sample_value("streamd_page_missed_total", {"kind": event}) or 0.0


def test_events_come_in_order_and_once():
    box = Mailbox()
    box.put("a", b"1")
    box.put("b", b"2")
    assert box.take() == [("a", b"1"), ("b", b"2")]
    assert box.take() == []


def test_when_it_is_full_the_oldest_go_and_the_browser_is_told_how_many():
    box, before = Mailbox(), missed("frame")
    for number in range(MOST + 3):
        box.put("frame", b"%d" % number)
    events = box.take()
    assert events[0] == ("missed", b"3")
    assert [data for _, data in events[1:]] == [b"%d" % number for number in range(3, MOST + 3)]
    assert missed("frame") == before + 3
    assert box.take() == []


def test_a_wait_ends_with_an_event_with_the_close_and_with_its_time():
    async def main() -> None:
        box = Mailbox()
        waiting = asyncio.create_task(box.wait(60.0))
        await asyncio.sleep(0)
        assert not waiting.done()
        box.put("a", b"")
        await waiting
        box.take()
        await box.wait(0.001)  # there is nothing, and it gives up
        waiting = asyncio.create_task(box.wait(60.0))
        await asyncio.sleep(0)
        box.close()
        await waiting
        assert box.closed

    asyncio.run(asyncio.wait_for(main(), 20))


def test_what_came_before_the_wait_ends_it_at_once():
    async def main() -> None:
        box = Mailbox()
        box.put("a", b"")
        begun = asyncio.get_running_loop().time()
        await box.wait(60.0)
        assert asyncio.get_running_loop().time() - begun < 30.0
        assert box.take() == [("a", b"")]

    asyncio.run(main())
