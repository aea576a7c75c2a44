"""Checkpoint and journal together on a disk that loses its power: what was promised can always be rebuilt."""

from __future__ import annotations

import contextlib
import errno
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from streamd.store import checkpoint, folders, sqlite, tensors
from streamd.store.checkpoint import Checkpoint
from streamd.store.journal import Entry, Journal
from tests.store.faults import Disk
from tests.store.faulty_sqlite import through

KEEP = 2


def entry(position: int) -> Entry:
    return Entry(position, "group", random.Random(position).randbytes(40))


def state_at(position: int) -> Checkpoint:
    """The checkpoint that belongs at a position: long enough to be torn."""
    numbers = np.random.default_rng(position).integers(0, 1000, 1500)
    return Checkpoint(position, {"numbers": numbers, "at": np.array([position])}, {"at": position})


class Life:
    """A journal and checkpoints in use, with what may be relied on."""

    truncates_first = False

    def __init__(self, disk: Disk) -> None:
        self.disk, self.folder = disk, disk.folder
        self.given = self.committed = 0
        self.saving = self.saved = 0

    def live(self, seed: int) -> None:
        chance = random.Random(seed)
        journal = Journal.open(self.folder / "journal.db", through(self.disk))
        for _ in range(5):
            for _ in range(chance.randint(1, 3)):
                self.given = self.committed + chance.randint(1, 3)
                journal.commit([entry(at) for at in range(self.committed + 1, self.given + 1)], self.committed)
                self.committed = self.given
            self.saving = self.committed
            steps = [lambda: self.save(), lambda before=self.saved: journal.truncate(before)]
            for step in reversed(steps) if self.truncates_first else steps:
                step()
        journal.close()

    def save(self) -> None:
        checkpoint.save(self.folder, state_at(self.saving), KEEP, created=0.0)
        self.saved = self.saving

    def check(self) -> None:
        """The newest checkpoint is the one that was saved or was being saved, and the journal leads on from it."""
        loaded = checkpoint.load_newest(self.folder)
        assert loaded.quarantined == ()
        position = loaded.checkpoint.position if loaded.checkpoint else 0
        assert position in (self.saved, self.saving)
        if loaded.checkpoint:
            expected = state_at(position)
            assert loaded.checkpoint.meta == expected.meta
            for name, array in expected.arrays.items():
                np.testing.assert_array_equal(loaded.checkpoint.arrays[name], array)
        self.check_journal(position)

    def check_journal(self, position: int) -> None:
        journal = Journal.open(self.folder / "journal.db", through(self.disk), after=position)
        assert journal.rescue is None
        assert self.committed <= journal.last <= self.given
        assert list(journal.entries(position)) == [entry(at) for at in range(position + 1, journal.last + 1)]
        journal.close()


class WithoutNewest(Life):
    """The newest checkpoint is damaged besides: the one before and the longer journal must do."""

    def check(self) -> None:
        files = sorted(self.folder.glob("checkpoint-*"))
        if self.saved:
            files[-1].write_bytes(b"damaged")
        loaded = checkpoint.load_newest(self.folder)
        self.check_journal(loaded.checkpoint.position if loaded.checkpoint else 0)


class Hasty(WithoutNewest):
    """Truncates the journal up to the newest checkpoint, before the next is safe."""

    def live(self, seed: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            truncate = Journal.truncate
            patch.setattr(Journal, "truncate", lambda journal, _: truncate(journal, self.saving))
            super().live(seed)


class TruncatesFirst(Hasty, Life):
    """Truncates the journal up to a checkpoint that is still to be written."""

    truncates_first = True
    check = Life.check


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    disk.install(monkeypatch, folders, sqlite, checkpoint, tensors)
    yield disk
    disk.wipe()


def check_lives_cut_everywhere(disk: Disk, kind: type[Life]) -> int:
    """How many lives kept their promises, each cut at another operation; raises at the first that did not."""
    lives = 0
    for seed in range(3):
        for at in itertools.count(1):
            disk.wipe()
            life = kind(disk)
            disk.cut_power(at)
            try:
                life.live(seed)
            except OSError:
                assert disk.dead
            if not disk.dead:
                break
            disk.restore(1000 * seed + at)
            life.check()
            lives += 1
    return lives


@pytest.mark.parametrize("kind", [Life, WithoutNewest])
def test_after_a_power_cut_at_any_point_the_state_can_be_rebuilt(disk, kind):
    assert check_lives_cut_everywhere(disk, kind) > 300


@pytest.mark.parametrize("kind", [Hasty, TruncatesFirst])
def test_a_journal_that_is_truncated_too_early_would_be_caught(disk, kind):
    with pytest.raises((AssertionError, ValueError)):
        check_lives_cut_everywhere(disk, kind)


def without_sync_of_the_file(patch: pytest.MonkeyPatch) -> None:
    fsync = checkpoint.os.fsync

    def only_folders(descriptor: int) -> None:
        if (checkpoint.os.fstat(descriptor).st_mode & 0o170000) == 0o040000:
            fsync(descriptor)

    shim = _Changed(checkpoint.os, fsync=only_folders)
    patch.setattr(checkpoint, "os", shim)


def without_sync_of_the_folder(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checkpoint, "_sync", lambda _: None)


class _Changed:
    """A module with one of its functions changed."""

    def __init__(self, module: object, **changed: object) -> None:
        self._module = module
        self.__dict__.update(changed)

    def __getattr__(self, name: str) -> object:
        return getattr(self._module, name)


@pytest.mark.parametrize("broken", [without_sync_of_the_file, without_sync_of_the_folder])
def test_a_checkpoint_renamed_without_a_sync_would_be_caught(disk, monkeypatch, broken):
    broken(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        check_lives_cut_everywhere(disk, Life)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("short", [False, True])
def test_a_checkpoint_that_could_not_be_written_leaves_the_one_before(disk, number, short):
    for after in itertools.count():
        disk.wipe()
        checkpoint.save(disk.folder, state_at(1), KEEP, created=0.0)
        disk.struck = 0
        disk.fail(number, after=after, times=2, short=short)
        with contextlib.suppress(OSError):
            checkpoint.save(disk.folder, state_at(2), KEEP, created=0.0)
        if not disk.struck:
            break
        disk.heal()
        loaded = checkpoint.load_newest(disk.folder)
        assert loaded.quarantined == ()
        assert loaded.checkpoint is not None
        assert loaded.checkpoint.position in (1, 2)
        checkpoint.save(disk.folder, state_at(3), KEEP, created=0.0)
        newest = checkpoint.load_newest(disk.folder).checkpoint
        assert newest is not None
        assert newest.position == 3
    assert after >= 4
