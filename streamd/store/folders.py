"""Names in a state folder: which there are, how they are made durable, or moved to `quarantine/`.

Knows how a name survives a power cut; does not know what the files hold.
"""

from __future__ import annotations

import os
from pathlib import Path

QUARANTINE = "quarantine"
JOURNAL = "journal.sqlite"
SPILL = "spill.sqlite"
ARCHIVE = "incidents.sqlite"


def sync(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Moves a file to quarantine for good, under its own name or, if that is taken, with a number behind it."""
    folder = path.parent / QUARANTINE
    folder.mkdir(mode=0o700, exist_ok=True)
    there, number = folder / path.name, 0
    while there.exists():
        number += 1
        there = folder / f"{path.stem}.{number}{path.suffix}"
    path.rename(there)
    sync(folder)
    sync(path.parent)
    return there
