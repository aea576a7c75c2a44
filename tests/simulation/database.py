"""Takes the place of `store.sqlite.Database`: real SQL, in memory, durable transaction by transaction.

Knows transactions; neither what the tables hold nor how SQLite makes a transaction whole, which is tested elsewhere.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from streamd.store.sqlite import Layout, StoreError
from tests.simulation.disk import Disk, Place
from tests.simulation.paths import SimPath


class Database:
    """One file; outlives the processes that open it."""

    disk: Disk  # of the subclass that a world makes

    def __init__(self, path: SimPath, layout: Layout) -> None:
        self.path = path
        self.place: Place = "journal" if "journal" in path.name else "spill"
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        for statement in layout.tables:
            self._connection.execute(statement)
        self._maybe: bytes | None = None  # what a failed transaction may have left on the disk all the same

    @classmethod
    def made(cls, path: SimPath, layout: Layout, connect: Any) -> Self:
        database = cls.disk.databases.get(str(path))
        if database is None:
            made = cls(path, layout)
            with cls._as_store_error(path):
                cls.disk.check(made.place)
            database = cls.disk.databases[str(path)] = made
        assert isinstance(database, cls)
        return database

    def replaced(self, reason: str, fill: Any) -> Any:
        raise AssertionError(f"{self.path} was found damaged, but nothing damages it: {reason}")

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        return self._connection.execute(sql, parameters).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Carried out now, and durable when it has landed; a failed one may be found after the next start."""
        before = self._connection.serialize()
        self._connection.execute("BEGIN")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        if self.place in self.disk.faults:
            if self.disk.random.random() < 0.5:
                self._maybe = self._connection.serialize()
            self._connection.deserialize(before)
            with self._as_store_error(self.path):
                self.disk.check(self.place)
        self._maybe = None
        self.disk.operation(
            "commit",
            self.place,
            lambda: self._connection.deserialize(before),
            lambda: self.disk.on_commit(self.place),
        )

    def process_died(self) -> None:
        if self._maybe is not None and self.disk.random.random() < 0.5:
            self._connection.deserialize(self._maybe)
        self._maybe = None
        self.disk.on_commit(self.place)

    def check(self) -> None:
        """SQLite's own tests say that it is sound."""

    check_tables = shrink = close = check

    @staticmethod
    @contextmanager
    def _as_store_error(path: SimPath) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(error.errno, error.strerror, str(path)) from error
