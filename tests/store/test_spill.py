import dataclasses
import errno
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamd.store import spill
from streamd.store.spill import Spill
from streamd.store.sqlite import Connect, DamagedError, StoreError, VersionError, connect, stamp
from tests.store.faults import Disk
from tests.store.faulty_sqlite import through
from tests.store.formats import record as formats
from tests.store.test_journal import Careless

Item = tuple[str, int, bytes]


def item(stream: str, position: int) -> Item:
    """The row that belongs to a stream at a position; some are longer than a page."""
    chance = random.Random(f"{stream}/{position}")
    return stream, position, chance.randbytes(chance.randrange(2000))


def row(stream: str, position: int) -> bytes:
    return item(stream, position)[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spill.db"


@pytest.fixture
def small_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is copied into the file after a few pages already."""
    monkeypatch.setattr(spill, "LAYOUT", dataclasses.replace(spill.LAYOUT, checkpoint_pages=6))


def test_a_row_comes_back_unchanged_after_a_restart(path):
    opened = Spill.open(path)
    opened.put([item("a", 1), item("ü/b", 1), ("empty", 1, b"")])
    opened.close()
    again = Spill.open(path)
    assert again.rescue is None
    assert again.get("a") == row("a", 1)
    assert again.get("ü/b") == row("ü/b", 1)
    assert again.get("empty") == b""
    assert again.get("c") is None
    assert again.count() == 3
    again.close()


def test_the_newest_version_up_to_a_position_is_given(path):
    opened = Spill.open(path)
    opened.put([item("a", 5), item("a", 9), item("b", 7)])
    assert [opened.get("a", upto) for upto in (4, 5, 8, 9, None)] == [
        None,
        row("a", 5),
        row("a", 5),
        row("a", 9),
        row("a", 9),
    ]
    assert opened.count() == 2
    opened.close()


def test_a_call_that_is_made_again_changes_nothing(path):
    opened = Spill.open(path)
    for _ in range(2):
        opened.put([item("a", 5), item("b", 5)])
    opened.put([])
    assert opened.count() == 2
    assert opened.get("a") == row("a", 5)
    opened.rollback(4)
    assert opened.count() == 0
    opened.close()


def test_a_version_that_a_newer_settled_one_stands_in_for_is_forgotten(path):
    opened = Spill.open(path)
    opened.put([item("a", 1), item("a", 4), item("a", 8), item("b", 2), item("c", 3), item("c", 9)])
    opened.forget(7)
    assert opened.get("a", 3) is None  # 4 stands in for it
    assert opened.get("a", 7) == row("a", 4)
    assert opened.get("a") == row("a", 8)
    assert opened.get("b") == row("b", 2)
    assert opened.get("c", 7) == row("c", 3)  # 9 is not settled
    assert opened.count() == 3
    opened.forget(9)
    assert opened.get("a", 8) == row("a", 8)
    assert opened.get("c", 8) is None
    assert opened.get("c") == row("c", 9)
    opened.forget(2)
    assert opened.count() == 3
    opened.close()


def test_a_rollback_drops_what_came_later(path):
    opened = Spill.open(path)
    opened.put([item("a", 1), item("a", 4), item("b", 4), item("c", 5), item("c", 6)])
    opened.rollback(4)
    assert opened.count() == 2
    assert opened.get("a") == row("a", 4)
    assert opened.get("c") is None
    opened.rollback(1)
    assert opened.count() == 1
    assert opened.get("a") == row("a", 1)
    opened.put([item("a", 4)])
    assert opened.get("a") == row("a", 4)
    opened.close()


def test_nothing_goes_back_behind_what_is_settled(path):
    opened = Spill.open(path)
    opened.put([item("a", 1), item("a", 5)])
    opened.forget(5)
    with pytest.raises(ValueError, match="can't go back to 4, 5 is settled"):
        opened.rollback(4)
    with pytest.raises(ValueError, match="a row of position 5, but 5 is settled"):
        opened.put([item("b", 9), item("a", 5)])
    opened.rollback(5)
    assert opened.count() == 1
    opened.close()


def test_any_order_of_calls_agrees_with_a_plain_list(path, disk, small_log):
    chance = random.Random(3)
    opened = Spill.open(path, through(disk))
    rows: dict[tuple[str, int], bytes] = {}
    position = settled = 0
    for _ in range(200):
        match chance.randrange(8):
            case 0:
                before = chance.randint(settled, position)
                opened.forget(before)
                settled = max(settled, before) if any(settled < at <= before for _, at in rows) else settled
                for stream, at in list(rows):
                    if any(other == stream and at < later <= before for other, later in rows):
                        del rows[stream, at]
            case 1:
                position = max(chance.randint(position - 5, position), settled)
                opened.rollback(position)
                rows = {key: value for key, value in rows.items() if key[1] <= position}
            case _:
                position += chance.randint(1, 2)
                items = [item(f"s{number}", position) for number in chance.sample(range(12), chance.randint(1, 4))]
                opened.put(items)
                rows.update({(stream, at): value for stream, at, value in items})
        assert opened.count() == len({stream for stream, _ in rows})
        stream, upto = f"s{chance.randrange(12)}", chance.randint(0, position)
        known = [at for other, at in rows if other == stream and at <= upto]
        assert opened.get(stream, upto) == (rows[stream, max(known)] if known else None)
    opened.close()


def test_space_is_used_again(path, disk, small_log):
    opened = Spill.open(path, through(disk))
    sizes = []
    for position in range(1, 150):
        opened.put([item(f"s{number}", position) for number in range(5)])
        opened.forget(position)
        sizes.append(sum(file.stat().st_size for file in path.parent.iterdir()))
    opened.close()
    assert max(sizes[50:]) < 1.2 * max(sizes[:50])


def test_questions_find_their_rows_by_an_index(path):
    opened = Spill.open(path)
    plans = {
        name: " ".join(text for *_, text in opened._database.rows(f"EXPLAIN QUERY PLAN {sql}", parameters))
        for name, sql, parameters in (
            (
                "get",
                "SELECT 1 FROM version WHERE stream = ? AND position <= ? ORDER BY position DESC LIMIT 1",
                (b"", 1),
            ),
            ("forget", spill._OLDER, (1, 2)),
            ("rollback", "DELETE FROM version WHERE position > ?", (1,)),
        )
    }
    opened.close()
    assert all("SCAN" not in plan for plan in plans.values()), plans


# --- damage ---


def written(path: Path) -> None:
    opened = Spill.open(path)
    opened.put([item(f"s{number}", 1) for number in range(100)])
    opened.forget(1)
    opened.put([item(f"s{number}", 2) for number in range(0, 100, 2)])
    opened.close()


def damage(path: Path, sql: str) -> None:
    connection = connect(path)
    connection.execute(sql)
    connection.close()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE version SET \"row\" = x'00' WHERE stream = CAST('s4' AS BLOB)",
        "UPDATE version SET crc = crc + 1 WHERE stream = CAST('s4' AS BLOB)",
        "UPDATE version SET crc = 'text' WHERE stream = CAST('s4' AS BLOB)",
        "UPDATE version SET position = position + 2 WHERE stream = CAST('s4' AS BLOB)",
    ],
)
def test_a_damaged_row_is_told_and_the_next_start_keeps_the_others(path, sql):
    written(path)
    damage(path, sql)
    opened = Spill.open(path)
    assert opened.rescue is None
    assert opened.get("s5") == row("s5", 1)
    with pytest.raises(DamagedError, match="row of stream 's4' has a wrong checksum"):
        opened.get("s4")
    opened.close()
    again = Spill.open(path)
    assert again.rescue is not None
    assert again.rescue.path == path.parent / "quarantine" / "spill.db"
    assert again.rescue.kept == 148
    assert again.count() == 99
    assert again.get("s4") is None
    for number in (0, 1, 50, 99):
        assert again.get(f"s{number}") == row(f"s{number}", 1 + (number % 2 == 0))
    again.put([item("s4", 3)])
    again.close()
    third = Spill.open(path)
    assert third.rescue is None
    third.close()


@pytest.mark.parametrize(
    ("sql", "kept"),
    [
        ("DELETE FROM total", 150),
        ("UPDATE total SET streams = 7", 150),
        ("PRAGMA application_id = 1", 150),
        ("DROP TABLE version", 0),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_replaced(path, sql, kept):
    written(path)
    damage(path, sql)
    opened = Spill.open(path)
    assert opened.rescue is not None
    assert opened.rescue.kept == kept
    assert opened.count() == (100 if kept else 0)
    opened.close()


def test_a_file_from_a_newer_streamd_is_left_alone(path):
    Spill.open(path).close()
    damage(path, f"PRAGMA user_version = {stamp(2)}")
    content = path.read_bytes()
    with pytest.raises(VersionError, match="in format 2; this streamd reads 1"):
        Spill.open(path)
    assert path.read_bytes() == content


def test_of_a_file_with_bad_pages_every_row_that_can_be_read_is_kept(path):
    written(path)
    content = path.read_bytes()
    pages = len(content) // spill.LAYOUT.page_size
    kept = []
    for page in range(2, pages, 25):  # without the first two, the header and the table's root, no row is found
        begin = page * spill.LAYOUT.page_size
        path.write_bytes(content[:begin] + b"\xa5" * spill.LAYOUT.page_size + content[begin + spill.LAYOUT.page_size :])
        path.with_name("spill.db.damaged").touch()
        opened = Spill.open(path)
        assert opened.rescue is not None
        for number in range(100):
            found = opened.get(f"s{number}")
            assert found in (None, row(f"s{number}", 1), row(f"s{number}", 2))
        kept.append(opened.rescue.kept)
        opened.close()
    assert min(kept) > 100


# --- a sick disk, and power ---


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("short", [False, True])
def test_a_put_that_failed_anywhere_is_made_again(path, disk, small_log, number, short):
    failures = 1
    for after in itertools.count():
        if not failures:
            break  # the fault came after the put
        disk.wipe()
        opened = Spill.open(path, through(disk))
        opened.put([item("a", 1), item("b", 1)])
        disk.fail(number, after=after, times=2, short=short)
        failures = 0
        for _ in range(9):
            try:
                opened.put([item("a", 2), item("c", 2)])
                break
            except StoreError:
                failures += 1
        assert opened.count() == 3
        assert [opened.get(stream) for stream in "abc"] == [row("a", 2), row("b", 1), row("c", 2)]
        disk.heal()
        opened.close()
    assert after > 10


class Life:
    """A spill in use, with what its user may rely on."""

    def __init__(self, path: Path, connect: Connect) -> None:
        self.path, self.connect = path, connect
        self.before: set[tuple[str, int]] = set()  # the versions before the last call, and if it happens
        self.after: set[tuple[str, int]] = set()

    def live(self, seed: int) -> None:
        chance = random.Random(seed)
        position = settled = 0
        for _ in range(2):
            opened = Spill.open(self.path, self.connect)
            for _ in range(4):
                position += 1
                keys = {(f"s{number}", position) for number in chance.sample(range(5), 2)}
                self.after = self.before | keys
                opened.put([item(*key) for key in sorted(keys)])
                self.before = self.after
                match chance.randrange(4):
                    case 0:
                        settled = chance.randint(settled, position)
                        self.after = {
                            (stream, at)
                            for stream, at in self.before
                            if not any(other == stream and at < later <= settled for other, later in self.before)
                        }
                        opened.forget(settled)
                    case 1:
                        position = chance.randint(settled, position)
                        self.after = {(stream, at) for stream, at in self.before if at <= position}
                        opened.rollback(position)
                self.before = self.after
            opened.close()

    def check(self) -> None:
        """What is there is what was there before the last call or after it, and it goes on."""
        opened = Spill.open(self.path, self.connect)
        assert opened.rescue is None
        found = {
            (stream, at)
            for stream in (f"s{number}" for number in range(5))
            for at in range(1, 9)
            if opened.get(stream, at) == row(stream, at)
        }
        assert found in (self.before, self.after)
        assert opened.count() == len({stream for stream, _ in found})
        opened.put([item("s0", 99)])
        assert opened.get("s0") == row("s0", 99)
        opened.close()


def lives_cut_everywhere(disk: Disk, path: Path, connect: Connect, start: int = 1) -> Iterator[Life]:
    """Lives that ended at each of their operations from one on, with the power back."""
    for at in itertools.count(start):
        disk.wipe()
        life = Life(path, connect)
        disk.cut_power(at)
        try:
            life.live(seed=2)
        except StoreError:
            assert disk.dead
        if not disk.dead:
            return
        disk.restore(at)
        yield life


def check_all(lives: Iterator[Life]) -> int:
    """How many lives kept their promises; raises at the first that did not."""
    number = 0
    for number, life in enumerate(lives, 1):  # noqa: B007
        life.check()
    return number


def test_after_a_power_cut_at_any_point_all_that_was_put_is_there_and_nothing_else(path, disk, small_log):
    assert check_all(lives_cut_everywhere(disk, path, through(disk))) > 150


@pytest.mark.parametrize("synchronous", ["synchronous = OFF", "synchronous = NORMAL"])
def test_a_spill_that_syncs_too_little_would_be_caught(path, disk, small_log, synchronous):
    connect = through(disk)
    lives = lives_cut_everywhere(disk, path, lambda path: Careless(connect(path), synchronous), start=100)
    with pytest.raises((AssertionError, DamagedError)):
        check_all(lives)


def test_a_spill_of_version_1_is_read_and_goes_on(path):
    path.write_bytes((formats.FOLDER / "spill_1.sqlite").read_bytes())
    opened = Spill.open(path)
    assert opened.rescue is None
    assert opened.count() == 2
    assert [opened.get(stream, position) for stream, position, _ in formats.ROWS] == [row for *_, row in formats.ROWS]
    opened.put([item("a", 6)])
    opened.close()
