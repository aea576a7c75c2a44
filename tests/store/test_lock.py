import os
import subprocess
import sys

import pytest

from streamd.store import lock
from streamd.store.lock import StateLocked, hold

HOLDER = """
import sys
from pathlib import Path
from streamd.store.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_told_who_holds_the_folder(tmp_path, holder):
    with pytest.raises(StateLocked, match=f"in use by process {holder.pid}$"), hold(tmp_path):
        pass


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path, holder):
    holder.kill()
    holder.wait()
    with hold(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_longer_number_of_a_former_holder_leaves_no_trace(tmp_path):
    (tmp_path / "lock").write_text("12345678901234567890\n")
    with hold(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_can_be_taken_again_after_its_release(tmp_path):
    with hold(tmp_path):
        pass
    with hold(tmp_path), pytest.raises(StateLocked), hold(tmp_path):
        pass


def test_the_lock_holds_within_one_process_too(tmp_path):
    with hold(tmp_path), pytest.raises(StateLocked, match=f"process {os.getpid()}"), hold(tmp_path):
        pass


def test_an_error_inside_releases_the_lock(tmp_path):
    with pytest.raises(RuntimeError, match="inside"), hold(tmp_path):
        raise RuntimeError("inside")
    with hold(tmp_path):
        pass


def test_a_missing_folder_is_made_for_us_alone(tmp_path):
    folder = tmp_path / "var" / "state"
    with hold(folder):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_holder_that_has_not_written_its_number_yet_is_another_process(tmp_path, holder):
    (tmp_path / "lock").write_text("")
    with pytest.raises(StateLocked, match="another process"), hold(tmp_path):
        pass


def test_a_look_tells_who_holds_the_folder_and_lets_it_be_taken(tmp_path, holder):
    assert lock.holder(tmp_path) == f"process {holder.pid}"
    holder.kill()
    holder.wait()
    before = (tmp_path / "lock").read_text()
    assert lock.holder(tmp_path) is None
    assert (tmp_path / "lock").read_text() == before
    with hold(tmp_path):
        assert lock.holder(tmp_path) == f"process {os.getpid()}"


def test_a_look_at_a_folder_that_was_never_locked_leaves_no_trace(tmp_path):
    assert lock.holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
