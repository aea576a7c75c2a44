from __future__ import annotations

import asyncio
import os
import threading

import pytest

from streamd.demo.orders import Order, OrderError, listen, parse
from streamd.demo.plant import LENGTH, MACHINES


def test_an_empty_line_is_a_spike_of_one_machine_after_the_other():
    orders = [parse("", number) for number in range(2 * len(MACHINES))]
    assert [order.machine for order in orders] == 2 * list(MACHINES)
    assert {(order.kind, order.channel) for order in orders} == {("spike", "vibration")}


def test_words_come_in_any_order_and_case_and_say_what_they_say():
    assert parse("Flow STUCK pump-4", 0) == parse("pump-4 flow stuck", 5) == Order("stuck", "pump-4", "flow")


@pytest.mark.parametrize("kind", list(LENGTH))
def test_each_kind_has_its_name_and_its_first_word(kind):
    assert parse(kind, 0).kind == parse(kind.split()[0], 0).kind == kind


def test_a_word_that_is_not_known_is_told_with_those_that_are():
    with pytest.raises(OrderError, match=r"'pump-9' is none of pump-1, .*spike, .*vibration"):
        parse("pump-9 spike", 0)


def test_lines_are_handed_over_in_order_as_they_end_and_the_end_ends_it():
    read, write = os.pipe()
    heard: list[str] = []

    async def main() -> None:
        three = asyncio.Event()
        listen(read, lambda line: (heard.append(line), three.set() if len(heard) == 3 else None))
        (thread,) = [one for one in threading.enumerate() if one.name == "orders"]
        for piece in (b"a", b"b\nc\n\xff", b"d\nlost"):
            os.write(write, piece)
        await three.wait()
        os.close(write)
        await asyncio.to_thread(thread.join, 20)
        assert not thread.is_alive()

    asyncio.run(asyncio.wait_for(main(), 20))
    os.close(read)
    assert heard == ["ab", "c", "\ufffdd"]
