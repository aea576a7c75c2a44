import asyncio
import os
import threading
import time
import weakref
from concurrent.futures import CancelledError

import pytest

from streamd.edge.training import TrainingThread

PATIENCE_S = 30.0  # only a broken test waits so long


class Gate:
    """Training that begins when told, and knows what it was given."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.open = threading.Semaphore(0)
        self.jobs: list[str] = []

    def train(self, job: str) -> str:
        self.jobs.append(job)
        self.begun.release()
        assert self.open.acquire(timeout=PATIENCE_S)
        return f"candidate of {job}"

    def wait_for_a_job_to_begin(self) -> None:
        assert self.begun.acquire(timeout=PATIENCE_S)


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def thread(gate):
    with TrainingThread(gate.train) as thread:
        yield thread
        gate.open.release(100)


def test_a_job_comes_back_as_its_candidate():
    with TrainingThread(lambda job: job * 2) as thread:
        client = thread.client()
        for job in (1, 2, 3):
            client.submit(job)
            assert client.result() == 2 * job
            assert client.ready()
            assert client.result() == 2 * job


def test_a_client_is_ready_when_its_job_is_done_and_not_before(gate, thread):
    client = thread.client()
    assert not client.ready()
    client.submit("a")
    gate.wait_for_a_job_to_begin()
    assert not client.ready()
    gate.open.release()
    client.result()
    assert client.ready()
    client.submit("b")
    assert not client.ready()


def test_clients_share_one_thread_and_get_their_own_candidates(gate, thread):
    one, other = thread.client(), thread.client()
    one.submit("one")
    other.submit("other")
    gate.open.release(2)
    assert other.result() == "candidate of other"
    assert one.result() == "candidate of one"
    assert gate.jobs == ["one", "other"]


def test_a_waiting_job_that_another_one_replaces_is_never_begun(gate, thread):
    busy, client = thread.client(), thread.client()
    busy.submit("busy")
    gate.wait_for_a_job_to_begin()
    client.submit("old")
    client.submit("new")
    gate.open.release(2)
    assert client.result() == "candidate of new"
    assert gate.jobs == ["busy", "new"]


def test_the_candidate_of_a_job_that_was_replaced_while_it_ran_is_forgotten(gate, thread):
    client = thread.client()
    client.submit("old")
    gate.wait_for_a_job_to_begin()
    client.submit("new")
    gate.open.release(2)
    assert client.result() == "candidate of new"
    assert gate.jobs == ["old", "new"]


def test_what_training_raises_reaches_who_asks_for_the_result_and_the_thread_lives_on():
    def train(job: int) -> float:
        return 1 / job

    with TrainingThread(train) as thread:
        client = thread.client()
        client.submit(0)
        with pytest.raises(ZeroDivisionError):
            client.result()
        client.submit(4)
        assert client.result() == 0.25


def test_asking_without_a_job_is_an_error(thread):
    client = thread.client()
    with pytest.raises(RuntimeError, match="no job"):
        client.result()
    with pytest.raises(RuntimeError, match="no job"):
        asyncio.run(client.wait())


def test_training_runs_on_a_daemon_thread_and_nicer_than_the_process_once_it_is_told_to():
    def seen(_job: None) -> tuple[int, bool, int]:
        thread = threading.current_thread()
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), thread.daemon, threading.get_ident()

    own = os.getpriority(os.PRIO_PROCESS, 0)
    wanted = min(own + 3, 19)
    with TrainingThread(seen, nice=wanted) as thread:
        client = thread.client()
        client.submit(None)
        assert client.result()[:2] == (own, True)
        thread.be_nice()
        client.submit(None)
        assert client.result()[:2] == (wanted, True)
        assert client.result()[2] != threading.get_ident()
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


def test_a_process_that_is_nicer_already_stays_so():
    own = os.getpriority(os.PRIO_PROCESS, 0)
    with TrainingThread(lambda _: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), nice=own - 5) as thread:
        thread.be_nice()
        client = thread.client()
        client.submit(None)
        assert client.result() == own


def test_the_cpu_time_of_every_job_is_told_before_its_candidate_is_there():
    def burn(cpu_s: float) -> float:
        begun = time.thread_time()
        while time.thread_time() - begun < cpu_s:
            pass
        return cpu_s

    everybody: list[float] = []
    mine: list[float] = []
    with TrainingThread(burn, on_cpu=everybody.append) as thread:
        client, other = thread.client(on_cpu=mine.append), thread.client()
        client.submit(0.02)
        client.result()
        assert mine == everybody
        assert mine[0] >= 0.02
        other.submit(0.0)
        other.result()
        assert (len(mine), len(everybody)) == (1, 2)


def test_the_cpu_time_of_a_failed_job_counts_too():
    def fail(_job: None) -> None:
        raise ValueError("no")

    told: list[float] = []
    with TrainingThread(fail, on_cpu=told.append) as thread:
        client = thread.client()
        client.submit(None)
        with pytest.raises(ValueError, match="no"):
            client.result()
    assert len(told) == 1


def test_waiting_leaves_the_event_loop_free(gate, thread):
    client = thread.client()

    async def main() -> None:
        client.submit("a")
        waiting = asyncio.create_task(client.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.open.release()  # only a loop that is free comes to this
        await asyncio.wait_for(waiting, PATIENCE_S)
        assert client.ready()
        await client.wait()

    asyncio.run(main())


def test_waiting_goes_on_when_another_job_takes_the_place_of_the_first(gate, thread):
    client = thread.client()

    async def main() -> None:
        client.submit("a")
        waiting = asyncio.create_task(client.wait())
        await asyncio.to_thread(gate.wait_for_a_job_to_begin)
        client.submit("b")
        gate.open.release()
        await asyncio.to_thread(gate.wait_for_a_job_to_begin)  # so the first is done, and the loop was told
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        gate.open.release()
        await asyncio.wait_for(waiting, PATIENCE_S)
        assert client.ready()
        assert client.result() == "candidate of b"

    asyncio.run(main())


def test_giving_up_waiting_leaves_the_job_alone(gate, caplog):
    async def give_up_waiting() -> None:
        waiting = asyncio.create_task(client.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    with TrainingThread(gate.train) as thread:
        busy, client = thread.client(), thread.client()
        busy.submit("busy")
        client.submit("a")
        asyncio.run(give_up_waiting())  # its loop is closed before the job is done
        gate.open.release(2)
        assert client.result() == "candidate of a"
    assert caplog.messages == []


def test_waiting_for_a_job_that_fails_returns_and_the_result_raises():
    def fail(_job: None) -> None:
        raise ValueError("no")

    with TrainingThread(fail) as thread:
        client = thread.client()
        client.submit(None)
        asyncio.run(client.wait())
        with pytest.raises(ValueError, match="no"):
            client.result()


def test_closing_gives_up_what_waits_and_ends_the_job_under_way(gate):
    thread = TrainingThread(gate.train)
    one, other = thread.client(), thread.client()
    one.submit("one")
    other.submit("other")
    gate.wait_for_a_job_to_begin()
    closer = threading.Thread(target=thread.close)
    closer.start()
    while not thread._closed:
        pass
    gate.open.release()
    closer.join(PATIENCE_S)
    assert not closer.is_alive()
    assert not thread._thread.is_alive()
    assert one.result() == "candidate of one"
    with pytest.raises(CancelledError):
        other.result()
    with pytest.raises(RuntimeError, match="closed"):
        one.submit("more")
    thread.close()


def test_a_finished_job_is_not_kept_in_memory():
    class Job:
        pass

    gone = threading.Event()
    with TrainingThread(lambda job: None) as thread:
        client = thread.client()
        job = Job()
        weakref.finalize(job, gone.set)
        client.submit(job)
        del job
        client.result()
        assert gone.wait(PATIENCE_S)
