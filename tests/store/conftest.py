"""What tests of the store share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamd.store import folders, sqlite
from tests.store.faults import Disk


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A disk that fails on demand, with the test's folder on it."""
    disk = Disk(tmp_path)
    disk.install(monkeypatch, folders, sqlite)
    yield disk
    disk.wipe()
