"""The training thread: carries out the training jobs of all groups, one after the other, beside the live path.

Knows threads, niceness and CPU time; does not know what a job is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

Job = TypeVar("Job")
Candidate = TypeVar("Candidate")

_CLOSE_S = 10.0  # a job takes well under a second; what takes this long hangs, and must not hold up the stop
_left: list[threading.Thread] = []  # that were not waited for any longer


def hangs() -> bool:
    """Whether a job goes on though its thread was closed: torch aborts when the interpreter ends under it."""
    return any(thread.is_alive() for thread in _left)


class TrainingThread(Generic[Job, Candidate]):
    """One daemon thread for all groups; each takes a client of its own.

    Args:
        train: makes a candidate from a job; called on the thread.
        on_cpu: told the CPU seconds of every job; called on the thread, before the candidate can be seen.
        nice: of the thread from `be_nice` on, unless the process is nicer already.
    """

    def __init__(
        self, train: Callable[[Job], Candidate], on_cpu: Callable[[float], None] | None = None, nice: int = 5
    ) -> None:
        self._train = train
        self._on_cpu = on_cpu
        self._nice = nice
        self._tasks: queue.SimpleQueue[_Task[Job, Candidate] | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="training", daemon=True)
        self._thread.start()

    def be_nice(self) -> None:
        """Leave the processor to the live path from now on.

        Before there is one, in a recovery, each step waits for its candidate, and a nice thread on a busy machine would
        only make it last.
        """
        thread = self._thread.native_id  # on Linux a thread has a niceness of its own
        if thread is not None:
            nice = max(self._nice, os.getpriority(os.PRIO_PROCESS, thread))
            os.setpriority(os.PRIO_PROCESS, thread, nice)

    def client(self, on_cpu: Callable[[float], None] | None = None) -> Client[Job, Candidate]:
        """A place to hand in jobs that other clients do not see; `on_cpu` is told of its jobs only."""
        return Client(self._put, on_cpu)

    def close(self) -> None:
        """Give up the jobs that wait, and wait for the one under way; called from the thread that submits."""
        if not self._closed:
            self._closed = True
            self._tasks.put(None)
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            _left.append(self._thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, task: _Task[Job, Candidate]) -> None:
        if self._closed:
            raise RuntimeError("the training thread is closed")
        self._tasks.put(task)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            if self._closed:
                task.future.cancel()
            elif task.future.set_running_or_notify_cancel():
                self._carry_out(task)
            del task  # a job holds whole networks: not kept until the next one comes

    def _carry_out(self, task: _Task[Job, Candidate]) -> None:
        begun = time.thread_time()
        try:
            try:
                candidate = self._train(task.job)
            finally:
                spent = time.thread_time() - begun
                for told in (self._on_cpu, task.on_cpu):
                    if told is not None:
                        told(spent)
        except BaseException as error:  # the thread lives on; who asks for the result gets the error
            task.future.set_exception(error)
        else:
            task.future.set_result(candidate)


class Client(Generic[Job, Candidate]):
    """One group's way to the training thread; used from one thread. Only the job submitted last counts."""

    def __init__(
        self, put: Callable[[_Task[Job, Candidate]], None], on_cpu: Callable[[float], None] | None = None
    ) -> None:
        self._put = put
        self._on_cpu = on_cpu
        self._future: Future[Candidate] | None = None

    def submit(self, job: Job) -> None:
        """Hand in a job; one before it is forgotten, and not begun if it still waits.

        Raises:
            RuntimeError: the thread is closed.
        """
        if self._future is not None:
            self._future.cancel()
        self._future = Future()
        self._put(_Task(job, self._future, self._on_cpu))

    def ready(self) -> bool:
        """Whether `result` would answer at once."""
        return self._future is not None and self._future.done()

    def result(self) -> Candidate:
        """The candidate of the job submitted last; blocks until it is there.

        Raises:
            RuntimeError: no job was submitted.
            concurrent.futures.CancelledError: the thread was closed before it came to the job.
            BaseException: whatever the training raised.
        """
        return self._last().result()

    async def wait(self) -> None:
        """Returns when `ready`, and leaves the event loop free meanwhile; to cancel it does not touch the job.

        Raises:
            RuntimeError: no job was submitted.
        """
        loop = asyncio.get_running_loop()
        while not (future := self._last()).done():  # again if another job took its place
            done = asyncio.Event()

            def wake(_: Future[Candidate], done: asyncio.Event = done) -> None:
                with contextlib.suppress(RuntimeError):  # nobody waits any more, the loop is closed
                    loop.call_soon_threadsafe(done.set)

            future.add_done_callback(wake)
            await done.wait()

    def _last(self) -> Future[Candidate]:
        if self._future is None:
            raise RuntimeError("no job was submitted")
        return self._future


@dataclass(frozen=True, slots=True)
class _Task(Generic[Job, Candidate]):
    job: Job
    future: Future[Candidate]
    on_cpu: Callable[[float], None] | None
