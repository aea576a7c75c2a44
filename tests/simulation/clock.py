"""Virtual time: an agenda of what the world does, and an event loop that never waits for real.

Knows seconds and callbacks; does not know what a daemon, a broker or a disk is. Where asyncio would block, the clock
moves on to whatever comes next. One callback is run at a time, so the process can be struck down between any two.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import sys
import time
from asyncio import base_events, events
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any, Protocol

EPOCH = 1_790_000_000.0  # s since the epoch, by the daemon's clock, when the world begins
STEP_S = 20e-6  # what a callback takes
TURNS = 200_000  # callbacks in a row with no time to wait: the program turns round


class Killed(BaseException):  # not an error of the program's: nothing may catch it
    """The process was struck down where it stood."""


class StuckError(Exception):
    """The program waits for what nobody brings, or turns round without end."""


class Clock:
    """What happens when, apart from the program's own callbacks."""

    def __init__(self) -> None:
        self.now = 0.0  # s since the world began
        self.offset = EPOCH  # of the daemon's wall clock; may be stepped
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()

    def at(self, when: float, happens: Callable[[], None]) -> None:
        """Something happens at a time, or now if that has passed; of the same time in the order of the calls."""
        heapq.heappush(self._agenda, (when, next(self._serial), happens))

    def after(self, delay_s: float, happens: Callable[[], None]) -> None:
        """Something happens in a while."""
        self.at(self.now + delay_s, happens)

    @property
    def next_time(self) -> float:
        """When the next thing happens; infinite if nothing does."""
        return self._agenda[0][0] if self._agenda else float("inf")

    def happen(self) -> bool:
        """Let the next thing happen if its time has come; whether one did."""
        if self.next_time > self.now:
            return False
        heapq.heappop(self._agenda)[2]()
        return True

    def run_until(self, when: float) -> None:
        """Let everything happen up to a time, with no program running."""
        while self.next_time <= when:
            self.now = max(self.now, self.next_time)
            self.happen()
        self.now = max(self.now, when)

    # What takes the place of the module `time`.

    def time(self) -> float:
        return self.offset + self.now

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic

    @contextlib.contextmanager
    def installed(self, package: str) -> Iterator[None]:
        """Every loaded module of a package that uses `time` gets this clock instead."""
        users = [module for name, module in sys.modules.items() if name.startswith(package)]
        users = [module for module in users if getattr(module, "time", None) is time]
        for module in users:
            module.time = self  # type: ignore[attr-defined]
        try:
            yield
        finally:
            for module in users:
                module.time = time  # type: ignore[attr-defined]


class Threads(Protocol):
    """Where blocking calls go."""

    def run(self, loop: Loop, executor: Executor | None, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """Begin a call; the future is done when it has taken its time."""


class Loop(base_events.BaseEventLoop):
    """One life of a process: asyncio's loop on a virtual clock.

    Args:
        clock: goes on when this loop is dead.
        threads: carry out what is given to executors.
    """

    def __init__(self, clock: Clock, threads: Threads) -> None:
        super().__init__()
        self._clock = clock
        self._threads = threads
        self._callbacks_left: int | None = None
        self._turns = 0
        self.dead = False
        self.callbacks = 0

    def time(self) -> float:
        return self._clock.now

    def kill_after(self, callbacks: int) -> None:
        """Strike the process down when it has run so many callbacks more."""
        self._callbacks_left = callbacks

    def live(self, main: Any) -> Any:
        """Run until the main coroutine ends, or the process is killed; gives what it returns.

        Raises:
            Killed: it was; nothing of it runs any more, no `finally` has had an effect.
            StuckError: it waits for what will never come.
        """
        try:
            return self.run_until_complete(main)
        finally:
            self.bury()

    def bury(self) -> None:
        """Let go of everything without letting any of it act."""
        self.dead = True
        self._ready.clear()  # type: ignore[attr-defined]
        self._scheduled.clear()  # type: ignore[attr-defined]
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            # A coroutine that is thrown away runs its `finally` blocks; on a dead loop each of them ends at once.
            with contextlib.suppress(BaseException):
                task.get_coro().close()
        self._ready.clear()  # type: ignore[attr-defined]
        self.close()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        if self.dead:
            raise Killed
        return self._threads.run(self, executor, lambda: func(*args))

    def create_future(self) -> asyncio.Future[Any]:
        if self.dead:
            raise Killed
        return super().create_future()

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> events.Handle:  # type: ignore[override]
        if self.dead:
            return events.Handle(callback, args, self, context)  # never run
        return super().call_soon(callback, *args, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """An error that nobody would hear of is ours to hear."""
        if not self.dead:
            error = context.get("exception") or RuntimeError(context["message"])
            raise error

    def _write_to_self(self) -> None:
        """Nobody has to be woken: there is one thread."""

    def _process_events(self, event_list: Any) -> None:
        """There are no sockets."""

    def _run_once(self) -> None:
        """One thing of the world, or one callback; if there is neither, time passes."""
        clock, ready, scheduled = self._clock, self._ready, self._scheduled  # type: ignore[attr-defined]
        while clock.happen():
            pass
        while scheduled and (scheduled[0]._cancelled or scheduled[0]._when <= clock.now):
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if not handle._cancelled:
                ready.append(handle)
        if not ready:
            following = min(clock.next_time, scheduled[0]._when if scheduled else float("inf"))
            if following == float("inf"):
                raise StuckError("nothing will ever happen again")
            clock.now = following
            self._turns = 0
            return
        if self._callbacks_left is not None:
            self._callbacks_left -= 1
            if self._callbacks_left < 0:
                raise Killed
        handle = ready.popleft()
        if not handle._cancelled:
            self.callbacks += 1
            self._turns += 1
            if self._turns > TURNS:
                raise StuckError("it turns round without end")
            clock.now += STEP_S
            handle._run()
