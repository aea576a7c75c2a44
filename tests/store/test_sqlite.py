import contextlib
import errno
import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamd.store import sqlite
from streamd.store.sqlite import DamagedError, Database, Layout, StoreError, UnreadableError, VersionError, connect
from tests.store.faults import Disk
from tests.store.faulty_sqlite import through

LAYOUT = Layout(0x74657374, 3, 1024, ("CREATE TABLE t (x INTEGER)", "INSERT INTO t VALUES (1)"), 8, 256)


def values(database: Database) -> list[int]:
    return [value for (value,) in database.rows("SELECT x FROM t ORDER BY x")]


def put(database: Database, value: int) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO t VALUES (?)", (value,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


def test_a_missing_file_is_made_and_only_we_may_read_it(path):
    database = Database.made(path, LAYOUT, connect)
    assert values(database) == [1]
    assert path.stat().st_mode & 0o777 == 0o600
    database.close()
    assert [file.name for file in path.parent.iterdir()] == ["test.db"]


def test_what_was_written_is_there_again(path):
    database = Database.made(path, LAYOUT, connect)
    put(database, 2)
    database.close()
    again = Database.made(path, LAYOUT, connect)
    assert values(again) == [1, 2]
    again.close()


def test_a_transaction_that_raises_did_not_happen(path):
    database = Database.made(path, LAYOUT, connect)

    def rows() -> Iterator[tuple[int]]:
        yield (2,)
        raise KeyError

    with pytest.raises(KeyError), database.transaction() as connection:
        connection.executemany("INSERT INTO t VALUES (?)", rows())
    assert values(database) == [1]
    put(database, 3)
    assert values(database) == [1, 3]
    database.close()


def test_our_own_mistakes_are_not_taken_for_the_disk(path):
    database = Database.made(path, LAYOUT, connect)
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        database.rows("SELECT * FROM nowhere")
    database.close()


def test_another_process_can_not_take_the_file(path):
    database = Database.made(path, LAYOUT, connect)
    assert values(database) == [1]
    other = Database.made(path, LAYOUT, connect)
    with pytest.raises(StoreError, match="locked") as caught:
        values(other)
    assert caught.value.errno == errno.EBUSY
    database.close()
    assert values(other) == [1]
    other.close()


def test_a_connection_is_set_to_spare_the_disk_and_lose_nothing(path):
    connection = connect(Database.made(path, LAYOUT, connect).path)
    sqlite.prepare(connection, LAYOUT)
    found = {
        name: connection.execute(f"PRAGMA {name}").fetchall()[0][0]
        for name in ("journal_mode", "synchronous", "locking_mode", "secure_delete", "auto_vacuum", "page_size")
    }
    connection.close()
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "locking_mode": "exclusive",
        "secure_delete": 0,
        "auto_vacuum": 0,
        "page_size": 1024,
    }


def test_no_file_is_made_where_one_was_expected(path):
    database = Database.made(path, LAYOUT, connect)
    path.unlink()
    with pytest.raises(StoreError, match="unable to open"):
        values(database)
    assert not path.exists()


def test_a_folder_that_is_not_there_is_the_disks_fault(path):
    with pytest.raises(StoreError) as caught:
        Database.made(path.parent / "gone" / "test.db", LAYOUT, connect)
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"not a database " * 300, bytes(4096)])
def test_what_is_no_database_of_ours_is_damaged(path, content):
    path.write_bytes(content)
    database = Database.made(path, LAYOUT, connect)
    with pytest.raises(DamagedError):
        database.check()
    database.close()


def test_a_file_of_another_kind_is_damaged_and_a_newer_one_refused(path):
    Database.made(path, LAYOUT, connect).close()
    with pytest.raises(DamagedError, match="not a file of this kind"):
        Database(path, Layout(1, 3, 1024, LAYOUT.tables, 8, 256), connect).check()
    with pytest.raises(VersionError, match="in format 3; this streamd reads 2"):
        Database(path, Layout(LAYOUT.application, 2, 1024, LAYOUT.tables, 8, 256), connect).check()
    with pytest.raises(DamagedError, match="which never was"):
        Database(path, Layout(LAYOUT.application, 4, 1024, LAYOUT.tables, 8, 256), connect).check()


def test_a_flipped_bit_does_not_make_a_version_of_another(path):
    Database.made(path, LAYOUT, connect).close()
    for bit in range(31):
        connection = connect(path)
        connection.execute(f"PRAGMA user_version = {sqlite.stamp(3) ^ 1 << bit}")
        connection.close()
        with pytest.raises(DamagedError):
            Database(path, LAYOUT, connect).check()


def test_other_tables_than_ours_are_damage(path):
    database = Database.made(path, LAYOUT, connect)
    database.rows("DROP TABLE t")
    with pytest.raises(DamagedError, match="other tables"):
        database.check()
    database.close()


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, "write"), (errno.EIO, "write"), (errno.EIO, "sync"), (errno.EROFS, "write")],
)
def test_a_sick_disk_is_told_and_then_all_goes_on(path, disk, number, kind):
    database = Database.made(path, LAYOUT, through(disk))
    put(database, 2)
    disk.fail(number, kind)
    with pytest.raises(StoreError) as caught:
        put(database, 3)
    assert caught.value.errno == (errno.ENOSPC if number == errno.ENOSPC else errno.EIO)
    assert not isinstance(caught.value, UnreadableError)
    put(database, 4)
    assert values(database) == [1, 2, 4] or kind == "sync"  # what was written but for its sync may be found
    database.close()


def test_bytes_that_do_not_come_back_are_told_apart(path):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR_READ, "SQLITE_IOERR_READ"

    def broken(_: Path) -> sqlite.Connection:
        raise error

    with pytest.raises(UnreadableError):
        Database(path, LAYOUT, broken).rows("SELECT 1")


def test_a_damaged_file_is_replaced_and_kept_aside(path):
    database = Database.made(path, LAYOUT, connect)
    put(database, 2)

    def fill(new: Database) -> int:
        put(new, 7)
        return 1

    new, rescue = database.replaced("for a test", fill)
    assert values(new) == [1, 7]
    assert (rescue.path, rescue.reason, rescue.kept) == (path.parent / "quarantine" / "test.db", "for a test", 1)
    old = Database(rescue.path, LAYOUT, connect)
    assert values(old) == [1, 2]
    old.close()
    new.close()


def test_a_file_stays_where_it_is_when_there_is_no_room_for_another(path, disk):
    database = Database.made(path, LAYOUT, through(disk))
    put(database, 2)
    disk.fail(errno.ENOSPC, "write", times=1000)
    with pytest.raises(StoreError):
        database.replaced("for a test", lambda _: 0)
    disk.heal()
    assert values(database) == [1, 2]
    database.close()


def test_a_log_without_its_file_is_not_applied_to_a_new_one(path):
    database = Database.made(path, LAYOUT, connect)
    put(database, 2)
    log = path.with_name("test.db-wal")
    kept = log.read_bytes()
    database.close()
    path.unlink()
    log.write_bytes(kept)
    new = Database.made(path, LAYOUT, connect)
    assert values(new) == [1]
    new.close()
    assert (path.parent / "quarantine" / "test.db-wal").read_bytes() == kept


def after_cuts(path: Path, disk: Disk, seeds: int) -> set[tuple[int, ...]]:
    """What is found after a replacement of [1, 2] by [1, 7] was cut at each of its operations."""

    def fill(new: Database) -> int:
        put(new, 7)
        return 1

    found = set()
    for at, seed in ((at, seed) for at in itertools.count(1) for seed in range(seeds)):
        disk.wipe()
        database = Database.made(path, LAYOUT, through(disk))
        put(database, 2)
        disk.cut_power(at)
        with contextlib.suppress(StoreError):
            database, _ = database.replaced("for a test", fill)
        database.close()
        cut = disk.dead
        disk.restore(seed)
        database = Database.made(path, LAYOUT, through(disk))
        database.check()
        found.add(tuple(values(database)))
        database.close()
        if not cut:
            break
    return found


def test_a_replacement_cut_at_any_point_leaves_the_old_file_or_the_new_one(path, disk):
    assert after_cuts(path, disk, 4) == {(1, 2), (1, 7)}


@pytest.mark.parametrize("lie", ["sync", "folder"])
def test_a_replacement_without_its_syncs_would_be_caught(path, disk, lie):
    disk.lies = {lie}
    try:
        found = after_cuts(path, disk, 3)
    except (DamagedError, StoreError):
        return
    assert found - {(1, 2), (1, 7)}


def test_a_large_file_that_is_nearly_empty_is_shrunk_and_a_small_one_is_not(path, monkeypatch):
    database = Database.made(path, LAYOUT, connect)
    with database.transaction() as connection:
        connection.executemany("INSERT INTO t VALUES (?)", ((value,) for value in range(20_000)))
        connection.execute("DELETE FROM t WHERE x > 1")
    database.shrink()
    ((pages,),) = database.rows("PRAGMA page_count")
    assert pages > 100
    monkeypatch.setattr(sqlite, "LARGE_BYTES", 100_000)
    database.shrink()
    ((pages,),) = database.rows("PRAGMA page_count")
    assert pages == 2
    assert values(database) == [0, 1, 1]
    database.close()
    assert path.stat().st_size == 2048
