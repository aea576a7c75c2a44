"""A thread of its own for blocking work on one file or database, one call after the other.

Knows how to wait for it without holding the event loop; not what is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

Result = TypeVar("Result")


class Disk:
    """Runs calls in the order they were made, all on the same thread; a context manager, whose end waits for them."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def __call__(self, work: Callable[[], Result]) -> Result:
        """What the call gives, or its exception. A cancelled wait does not undo the call."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=True)
