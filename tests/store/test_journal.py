import dataclasses
import errno
import itertools
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamd.store import codec, journal
from streamd.store.journal import Entry, Journal, JournalError
from streamd.store.sqlite import Connect, Connection, DamagedError, VersionError, connect, stamp
from tests.store.faults import Disk
from tests.store.faulty_sqlite import through
from tests.store.formats import record as formats


def entry(position: int, size: int | None = None) -> Entry:
    """The entry that belongs at a position; some are longer than a page."""
    chance = random.Random(position)
    return Entry(position, f"group-{position % 3}", chance.randbytes(chance.randrange(1500) if size is None else size))


def run_of(first: int, last: int) -> list[Entry]:
    return [entry(position) for position in range(first, last + 1)]


def figures(opened: Journal) -> tuple[int, int, int, int, int]:
    return opened.first, opened.last, opened.count, opened.bytes, opened.published


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def small_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is copied into the file after a few pages already."""
    monkeypatch.setattr(journal, "LAYOUT", dataclasses.replace(journal.LAYOUT, checkpoint_pages=6))


def test_a_new_journal_is_empty(path):
    opened = Journal.open(path)
    assert figures(opened) == (1, 0, 0, 0, 0)
    assert list(opened.entries(0)) == []
    assert opened.rescue is None
    opened.close()


def test_what_was_committed_comes_back_in_order_after_a_restart(path):
    opened = Journal.open(path)
    opened.commit(run_of(1, 3), published=2)
    opened.commit(run_of(4, 200), published=150)
    found = figures(opened)
    assert found == (1, 200, 200, sum(len(one.record) for one in run_of(1, 200)), 150)
    assert list(opened.entries(0)) == run_of(1, 200)
    opened.close()
    again = Journal.open(path)
    assert figures(again) == found
    assert list(again.entries(0)) == run_of(1, 200)
    assert list(again.entries(190)) == run_of(191, 200)
    assert list(again.entries(200)) == []
    again.close()


def test_entries_committed_while_others_are_read_are_among_them(path):
    opened = Journal.open(path)
    opened.commit(run_of(1, 2), published=0)
    reading = opened.entries(0)
    assert next(reading) == entry(1)
    opened.commit(run_of(3, 100), published=0)
    assert list(reading) == run_of(2, 100)
    opened.close()


def test_a_call_that_is_made_again_changes_nothing(path):
    opened = Journal.open(path)
    opened.commit(run_of(1, 3), published=1)
    before = figures(opened)
    opened.commit(run_of(1, 3), published=1)
    opened.commit(run_of(2, 3), published=0)
    assert figures(opened) == before
    opened.commit(run_of(2, 5), published=1)
    assert list(opened.entries(0)) == run_of(1, 5)
    opened.truncate(4)
    opened.commit(run_of(2, 6), published=1)
    assert list(opened.entries(4)) == run_of(5, 6)
    opened.close()


@pytest.mark.parametrize("positions", [[5], [4, 6], [4, 4], [3, 5], [5, 4]])
def test_a_gap_is_refused(path, positions):
    opened = Journal.open(path)
    opened.commit(run_of(1, 3), published=0)
    with pytest.raises(ValueError, match="without gap"):
        opened.commit([entry(position) for position in positions], published=0)
    assert list(opened.entries(0)) == run_of(1, 3)
    opened.commit(run_of(4, 4), published=0)
    opened.close()


@pytest.mark.parametrize("other", [Entry(3, "group-0", b"other"), Entry(3, "other", entry(3).record)])
def test_another_entry_at_a_position_that_is_taken_is_refused(path, other):
    opened = Journal.open(path)
    opened.commit(run_of(1, 3), published=0)
    with pytest.raises(ValueError, match="another entry is at position 3"):
        opened.commit([other, entry(4)], published=0)
    assert list(opened.entries(0)) == run_of(1, 3)
    opened.close()


def test_published_counts_no_further_than_the_entries_and_never_goes_back(path):
    opened = Journal.open(path)
    opened.commit(run_of(1, 3), published=9)
    assert opened.published == 3
    opened.commit(run_of(4, 6), published=1)
    assert opened.published == 3
    opened.commit([], published=5)
    assert opened.published == 5
    opened.close()
    again = Journal.open(path)
    assert again.published == 5
    again.close()


def test_truncated_entries_are_gone_for_good_and_the_rest_stays(path):
    opened = Journal.open(path)
    opened.commit(run_of(1, 100), published=70)
    opened.truncate(60)
    opened.truncate(50)
    found = figures(opened)
    assert found == (61, 100, 40, sum(len(one.record) for one in run_of(61, 100)), 70)
    assert list(opened.entries(60)) == run_of(61, 100)
    opened.close()
    again = Journal.open(path)
    assert figures(again) == found
    with pytest.raises(ValueError, match="begins at 61, has no entries from 60 on"):
        again.entries(59)
    again.close()


def test_an_emptied_journal_goes_on_where_it_was(path):
    opened = Journal.open(path)
    opened.commit(run_of(1, 10), published=8)
    opened.truncate(10)
    assert figures(opened) == (11, 10, 0, 0, 8)
    opened.close()
    again = Journal.open(path)
    assert figures(again) == (11, 10, 0, 0, 8)
    again.commit(run_of(11, 12), published=11)
    assert figures(again)[:3] == (11, 12, 2)
    again.close()


def test_a_journal_behind_the_state_that_is_safe_goes_on_from_there(path):
    opened = Journal.open(path, after=500)
    assert figures(opened)[:3] == (501, 500, 0)
    opened.commit(run_of(501, 503), published=501)
    opened.close()
    again = Journal.open(path, after=501)
    assert list(again.entries(501)) == run_of(502, 503)
    assert again.first == 501
    again.close()


def test_space_is_used_again(path, disk, small_log):
    opened = Journal.open(path, through(disk))
    sizes = []
    for begin in range(0, 8000, 100):
        opened.commit(run_of(begin + 1, begin + 100), published=begin)
        opened.truncate(begin)
        sizes.append(sum(file.stat().st_size for file in path.parent.iterdir()))
    opened.close()
    assert max(sizes[10:]) < 1.1 * max(sizes[:10])


def test_the_figures_may_be_read_and_the_work_done_on_another_thread(path):
    opened = Journal.open(path)
    worker = threading.Thread(target=lambda: opened.commit(run_of(1, 3), published=0))
    worker.start()
    worker.join()
    assert opened.last == 3
    opened.close()


def test_a_small_commit_costs_one_sync_and_one_page(path, disk):
    opened = Journal.open(path, through(disk))
    opened.commit([entry(1, 90)], published=0)
    operations, syncs = disk.operations, disk.syncs
    opened.commit([entry(2, 90)], published=1)
    assert disk.syncs - syncs == 1
    assert disk.operations - operations == 3  # the page's header in the log, the page, the sync
    log = path.with_name("journal.db-wal").stat().st_size
    opened.commit([entry(3, 90)], published=2)
    assert path.with_name("journal.db-wal").stat().st_size - log == journal.LAYOUT.page_size + 24
    opened.close()


def test_a_slow_disk_only_takes_its_time(path, disk):
    opened = Journal.open(path, through(disk))
    waited = []
    disk.on_sync = lambda: waited.append(opened.last)
    opened.commit(run_of(1, 3), published=0)
    assert waited  # and nothing was said to be there before it was
    assert set(waited) == {0}
    assert opened.last == 3
    opened.close()


# --- damage ---


@dataclass(frozen=True)
class Bad:
    """A statement that damages a journal of entries 1 to 9, where truncation has taken the first four."""

    sql: str
    reason: str
    kept: int


BAD = [
    Bad("DELETE FROM entry WHERE position = 7", "entry 7 is missing", 2),
    Bad("DELETE FROM entry WHERE position = 5", "entry 5 is missing", 0),
    Bad("UPDATE entry SET record = x'00' WHERE position = 8", "entry 8 has a wrong checksum", 3),
    Bad("UPDATE entry SET \"group\" = x'00' WHERE position = 9", "entry 9 has a wrong checksum", 4),
    Bad("UPDATE entry SET published = published + 1 WHERE position = 6", "entry 6 has a wrong checksum", 1),
    Bad("UPDATE entry SET crc = 'text' WHERE position = 6", "entry 6 has a wrong checksum", 1),
    Bad("UPDATE entry SET record = CAST(x'ff' AS TEXT) WHERE position = 6", "entry 6 has a wrong checksum", 1),
    Bad("UPDATE entry SET position = 4 WHERE position = 5", "entries from before 5", 0),
    Bad("DELETE FROM base", "does not say where it begins", 0),
    Bad("UPDATE base SET published = 9", "does not say where it begins", 0),
    Bad("DROP TABLE base", "other tables", 0),
    Bad("ALTER TABLE entry RENAME TO other", "other tables", 0),
]


def damaged(path: Path, sql: str) -> None:
    opened = Journal.open(path)
    opened.commit(run_of(1, 9), published=6)
    opened.truncate(4)
    opened.close()
    connection = connect(path)
    connection.execute(sql)
    connection.close()


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.reason)
def test_up_to_the_first_damage_everything_is_kept_and_the_file_set_aside(path, bad):
    damaged(path, bad.sql)
    opened = Journal.open(path)
    assert opened.rescue is not None
    assert bad.reason in opened.rescue.reason
    assert opened.rescue.kept == opened.count == bad.kept
    assert opened.rescue.path == path.parent / "quarantine" / "journal.db"
    assert opened.rescue.path.exists()
    assert list(opened.entries(opened.base)) == run_of(5, 4 + bad.kept)
    assert opened.published <= min(6, opened.last)
    opened.commit([entry(opened.last + 1)], published=0)
    opened.close()
    again = Journal.open(path)
    assert again.rescue is None
    again.close()


@pytest.mark.parametrize("bad", [bad for bad in BAD if "other tables" not in bad.reason], ids=lambda bad: bad.reason)
@pytest.mark.parametrize("after", [6, 8, 9, 12])
def test_damage_before_a_position_that_is_safe_loses_nothing_behind_it(path, bad, after):
    damaged(path, bad.sql)
    opened = Journal.open(path, after=after)
    assert opened.rescue is not None
    assert opened.base == after
    first_bad = next((at for at in range(after + 1, 10) if f"entry {at} " in bad.reason), 10)
    assert list(opened.entries(after)) == run_of(after + 1, first_bad - 1)
    assert opened.published <= 9
    opened.close()


def test_a_file_from_a_newer_streamd_is_left_alone(path):
    Journal.open(path).close()
    connection = connect(path)
    connection.execute(f"PRAGMA user_version = {stamp(2)}")
    connection.close()
    content = path.read_bytes()
    with pytest.raises(VersionError, match="in format 2; this streamd reads 1"):
        Journal.open(path)
    assert path.read_bytes() == content


def test_flipped_bytes_never_change_an_entry_nor_stop_the_start(path):
    opened = Journal.open(path)
    for begin in range(0, 90, 10):
        opened.commit(run_of(begin + 1, begin + 10), published=begin)
    opened.close()
    content = path.read_bytes()
    chance = random.Random(1)
    rescued = 0
    for _ in range(60):
        flipped = bytearray(content)
        for _ in range(chance.choice([1, 1, 8])):
            flipped[chance.choice([chance.randrange(100), chance.randrange(len(content))])] ^= chance.randrange(1, 256)
        path.write_bytes(flipped)
        opened = Journal.open(path)
        assert list(opened.entries(opened.base)) == run_of(1, opened.last)
        assert opened.published <= min(80, opened.last)
        if opened.rescue is None:
            assert opened.last == 90
        else:
            rescued += 1
            assert opened.rescue.path.read_bytes() == bytes(flipped)
        opened.close()
    assert rescued > 30


def test_a_truncated_file_gives_its_first_entries(path):
    opened = Journal.open(path)
    opened.commit(run_of(1, 90), published=80)
    opened.close()
    content = path.read_bytes()
    lasts = []
    for part in range(10):
        path.write_bytes(content[: len(content) * part // 10])
        opened = Journal.open(path)
        assert list(opened.entries(0)) == run_of(1, opened.last)
        lasts.append(opened.last)
        opened.close()
    assert lasts == sorted(lasts)


def test_entries_that_decay_later_are_told(path):
    opened = Journal.open(path)
    opened.commit(run_of(1, 9), published=0)
    opened._database.rows("UPDATE entry SET record = x'00' WHERE position = 5")
    reading = opened.entries(0)
    assert list(itertools.islice(reading, 4)) == run_of(1, 4)
    with pytest.raises(DamagedError, match="entry 5 has a wrong checksum"):
        next(reading)
    opened.close()


# --- a sick disk ---


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("short", [False, True])
def test_a_commit_that_failed_anywhere_is_made_again_with_more_and_nothing_is_doubled(
    path, disk, small_log, number, short
):
    failures = 1
    for after in itertools.count():
        if not failures:
            break  # the fault came after the commit
        disk.wipe()
        opened = Journal.open(path, through(disk))
        opened.commit(run_of(1, 10), published=4)
        disk.fail(number, after=after, times=3, short=short)
        failures = 0
        for _ in range(9):
            try:
                opened.commit(run_of(11, 15 + failures), published=10)
                break
            except JournalError:
                failures += 1
                assert opened.last in {10, *range(15, 14 + failures)}  # a call before may have happened after all
        assert figures(opened)[:2] == (1, 15 + failures)
        assert opened.published == 10
        assert list(opened.entries(0)) == run_of(1, 15 + failures)
        disk.heal()
        opened.truncate(5)
        opened.close()
        again = Journal.open(path, through(disk))
        assert list(again.entries(5)) == run_of(6, 15 + failures)
        assert again.bytes == sum(len(one.record) for one in run_of(6, 15 + failures))
        again.close()
    assert after > 20


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_truncation_that_failed_is_made_again(path, disk, small_log, number):
    for after in range(40):
        disk.wipe()
        opened = Journal.open(path, through(disk))
        opened.commit(run_of(1, 30), published=4)
        disk.fail(number, after=after, times=2)
        while opened.base != 20:
            try:
                opened.truncate(20)
            except JournalError:
                assert opened.base == 0
        disk.heal()
        opened.commit(run_of(31, 32), published=31)
        assert list(opened.entries(20)) == run_of(21, 32)
        assert opened.bytes == sum(len(one.record) for one in run_of(21, 32))
        opened.close()


def test_entries_that_vanish_under_us_are_not_taken_for_a_healed_disk(path, disk):
    opened = Journal.open(path, through(disk))
    opened.commit(run_of(1, 3), published=0)
    disk.fail(errno.EIO, "write")
    with pytest.raises(JournalError):
        opened.commit(run_of(4, 4), published=0)
    disk.wipe()
    Journal.open(path, through(disk)).close()  # as if another file system were mounted here now
    with pytest.raises(DamagedError, match="ends at 0, but 3 was committed"):
        opened.commit(run_of(4, 4), published=0)
    opened.close()


# --- power ---


class Life:
    """A journal in use, with what its user may rely on."""

    def __init__(self, path: Path, connect: Connect) -> None:
        self.path, self.connect = path, connect
        self.given = self.committed = 0  # last position that commit was called with, that it returned for
        self.forgetting = self.forgotten = 0  # the same of truncate
        self.publishing = self.published = 0

    def live(self, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(2):
            opened = Journal.open(self.path, self.connect, after=self.forgotten)
            for _ in range(6):
                self.given = self.committed + chance.randint(1, 4)
                self.publishing = chance.randint(self.published, self.given)
                opened.commit(run_of(self.committed + 1, self.given), self.publishing)
                self.committed, self.published = self.given, self.publishing
                if chance.random() < 0.3:
                    self.forgetting = chance.randint(self.forgotten, self.committed)
                    opened.truncate(self.forgetting)
                    self.forgotten = self.forgetting
            opened.close()

    def check(self) -> None:
        """Everything that was promised is there, nothing else, and it goes on."""
        opened = Journal.open(self.path, self.connect)
        assert opened.rescue is None
        assert self.committed <= opened.last <= self.given
        assert opened.base in (self.forgotten, self.forgetting)
        assert self.published <= opened.published <= self.publishing
        assert list(opened.entries(opened.base)) == run_of(opened.first, opened.last)
        opened.commit(run_of(opened.last + 1, opened.last + 2), published=0)
        opened.close()


def lives_cut_everywhere(disk: Disk, path: Path, connect: Connect, seeds: int = 1) -> Iterator[Life]:
    """Lives that ended at each of their operations, with the power back."""
    for at in itertools.count(1):
        for seed in range(seeds):
            disk.wipe()
            life = Life(path, connect)
            disk.cut_power(at)
            try:
                life.live(seed)
            except JournalError:
                assert disk.dead
            if not disk.dead:
                return
            disk.restore(1000 * at + seed)
            yield life


def check_all(lives: Iterator[Life]) -> int:
    """How many lives kept their promises; raises at the first that did not."""
    number = 0
    for number, life in enumerate(lives, 1):  # noqa: B007
        life.check()
    return number


def test_after_a_power_cut_at_any_point_all_that_was_committed_is_there_and_nothing_else(path, disk, small_log):
    assert check_all(lives_cut_everywhere(disk, path, through(disk))) > 150


class Careless:
    """A connection that syncs less than it is told."""

    def __init__(self, connection: Connection, synchronous: str) -> None:
        self._connection, self._synchronous = connection, synchronous
        self.executemany, self.close = connection.executemany, connection.close

    def execute(self, sql, parameters=(), /):
        return self._connection.execute(sql.replace("synchronous = FULL", self._synchronous), parameters)


@pytest.mark.parametrize("synchronous", ["synchronous = OFF", "synchronous = NORMAL"])
def test_a_journal_that_syncs_too_little_would_be_caught(path, disk, small_log, synchronous):
    connect = through(disk)
    lives = lives_cut_everywhere(disk, path, lambda path: Careless(connect(path), synchronous), seeds=4)
    with pytest.raises((AssertionError, DamagedError)):
        check_all(lives)


def test_a_disk_that_lies_about_syncs_would_be_caught(path, disk, small_log):
    disk.lies = {"sync"}
    lives = lives_cut_everywhere(disk, path, through(disk), seeds=4)
    with pytest.raises((AssertionError, JournalError, DamagedError)):
        check_all(lives)


def test_a_power_cut_in_a_rescue_loses_nothing_more(path, disk):
    kept = set()
    for at in itertools.count(1):
        disk.wipe()
        opened = Journal.open(path, through(disk))
        opened.commit(run_of(1, 9), published=6)
        opened._database.rows("UPDATE entry SET record = x'00' WHERE position = 8")
        opened.close()
        disk.cut_power(at)
        try:
            Journal.open(path, through(disk)).close()
        except JournalError:
            assert disk.dead
        cut = disk.dead
        disk.restore(at)
        opened = Journal.open(path, through(disk))
        assert list(opened.entries(0)) == run_of(1, 7)
        kept.add(opened.rescue is None)
        opened.close()
        if not cut:
            break
    assert kept == {False, True}


def test_a_journal_of_version_1_is_read_and_goes_on(path):
    path.write_bytes((formats.FOLDER / "journal_1.sqlite").read_bytes())
    opened = Journal.open(path)
    assert opened.rescue is None
    assert (opened.first, opened.last, opened.published) == (1, len(formats.RECORDS), formats.PUBLISHED)
    # a record has one encoding, so that equal bytes say that the records are equal, NaNs among them
    assert [(one.group, codec.encode(codec.decode(one.record))) for one in opened.entries(0)] == [
        (group, codec.encode(record)) for group, record in formats.RECORDS
    ]
    opened.commit([entry(opened.last + 1)], opened.last)
    opened.close()
