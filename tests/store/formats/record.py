"""Record a file of each present format, for later versions to read: writes `<kind>_<version>.*` beside this file.

    python -m tests.store.formats.record

What is recorded already is never recorded again. `RECORDS`, `CHECKPOINT` and `ROWS` say what the files of version 1
hold; a later version that holds other things gets contents of its own.
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import numpy as np

from streamd.records import Batch, Freeze, Marks, Record, Reset, Stretch, Thaw, Widen
from streamd.store import checkpoint, codec, journal, spill
from streamd.store.checkpoint import Checkpoint
from streamd.store.journal import Entry, Journal
from streamd.store.spill import Spill

FOLDER = Path(__file__).parent
RECORDS: tuple[tuple[str, Record], ...] = (
    ("pumps", Widen(("flow", "pressure"))),
    ("pumps", Batch(("p1", "ü"), np.array([1.5, 2.5]), np.array([[1.0, -0.0], [5e-324, np.nan]]))),
    ("fans", Reset("f1")),
    ("fans", Reset(None)),
    ("pumps", Freeze()),
    ("pumps", Thaw()),
    ("pumps", Stretch(1.5)),
    ("", Marks(((7, 2**32 - 1), (8, 0)))),
)
PUBLISHED = 6
CHECKPOINT = Checkpoint(
    41,
    {
        "a/weights": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a/times": np.array([1.5, -np.inf, np.nan]),
        "a/open": np.array([True, False]),
        "a/seq": np.array([2**40, -1]),
        "none": np.zeros((0, 2), np.int32),
    },
    {"groups": {"a": {"layout": 1, "rng": 2**127 + 1}}, "marks": [[7, 8]], "text": "ü"},
)
ROWS = (("pumps/p1", 3, b"older"), ("pumps/p1", 5, bytes(range(256)) * 10), ("fans/ü", 4, b""))


def record(folder: Path) -> None:
    """One file of each kind."""
    with tempfile.TemporaryDirectory() as place:
        made = checkpoint.save(Path(place), CHECKPOINT, keep=1, created=1.7e9)
        _put(folder / f"checkpoint_{checkpoint.VERSION}.safetensors", made.read_bytes())
        opened = Journal.open(Path(place, "journal.sqlite"))
        entries = [Entry(at, group, codec.encode(one)) for at, (group, one) in enumerate(RECORDS, 1)]
        opened.commit(entries, PUBLISHED)
        opened.close()
        _put(folder / f"journal_{journal.LAYOUT.version}.sqlite", _whole(Path(place, "journal.sqlite")))
        store = Spill.open(Path(place, "spill.sqlite"))
        store.put(ROWS)
        store.close()
        _put(folder / f"spill_{spill.LAYOUT.version}.sqlite", _whole(Path(place, "spill.sqlite")))


def _whole(path: Path) -> bytes:
    """Of a database, with what its log holds."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.read_bytes()


def _put(path: Path, content: bytes) -> None:
    if not path.exists():
        path.write_bytes(content)


if __name__ == "__main__":
    record(FOLDER)
