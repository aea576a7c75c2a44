from __future__ import annotations

import asyncio
import threading

import pytest

from streamd.edge.disk import Disk


def test_calls_run_in_order_on_one_thread_that_is_not_the_loop_s() -> None:
    done: list[int] = []
    threads: set[int] = set()

    def work(number: int) -> int:
        threads.add(threading.get_ident())
        done.append(number)
        return number

    async def body() -> list[int]:
        with Disk("test") as disk:
            return list(await asyncio.gather(*(disk(lambda n=number: work(n)) for number in range(50))))

    assert asyncio.run(body()) == list(range(50))
    assert done == list(range(50))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_the_loop_goes_on_while_a_call_blocks() -> None:
    async def body() -> bool:
        free = threading.Event()
        with Disk("test") as disk:
            blocked = asyncio.create_task(disk(lambda: free.wait(20)))
            await asyncio.sleep(0)
            assert not blocked.done()
            free.set()
            return await blocked

    assert asyncio.run(body())


def test_what_a_call_raises_is_raised_where_it_is_waited_for() -> None:
    def fail() -> None:
        raise OSError("no space left")

    async def body() -> None:
        with Disk("test") as disk:
            with pytest.raises(OSError, match="no space left"):
                await disk(fail)
            assert await disk(lambda: 1) == 1

    asyncio.run(body())


def test_the_end_waits_for_what_was_asked() -> None:
    done = threading.Event()

    async def body() -> None:
        free = threading.Event()
        with Disk("test") as disk:
            waiting = asyncio.create_task(disk(lambda: free.wait(20) and done.set()))
            await asyncio.sleep(0)
            free.set()
        assert done.is_set()
        await waiting

    asyncio.run(body())
