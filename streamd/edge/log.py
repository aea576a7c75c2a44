"""Logging: one line per record, as text or as JSON, and a sampler for what is wrong with the input.

Knows lines and levels; does not know what is worth a line. Nothing that came over the network reaches a terminal
or a log as it is: what can't be printed is escaped, so that no topic forges a line or moves a cursor.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

import msgspec

from streamd.config import Log

PAYLOAD_BYTES = 80  # of a refused message, shown in the log
TOPIC_LENGTH = 200  # characters of its topic

log = logging.getLogger(__name__)


def setup(settings: Log) -> None:
    """Log to stderr from now on, and nowhere else."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.format == "json":
        handler.setFormatter(JsonLines())
    else:
        handler.setFormatter(Text(journal=goes_to_journal(sys.stderr)))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.level.upper())


def goes_to_journal(stream: TextIO) -> bool:
    """Whether systemd reads the stream into its journal, which has times of its own and wants levels (sd-daemon(3))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # not a file: replaced, or closed
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class Text(logging.Formatter):
    """`<time> <level> <logger>: <message>`, and a traceback in lines marked by a bar.

    Args:
        journal: instead of time and level put the level's number before each line, as the journal reads it.
    """

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        lines = [f"{record.name}: {printable(record.getMessage())}"]
        lines += [f"  | {line}" for line in _trace(record)]
        if self._journal:
            return "\n".join(f"<{_priority(record.levelno)}>{line}" for line in lines)
        return f"{_iso(record.created)} {record.levelname.lower()} " + "\n".join(lines)


class JsonLines(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _iso(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": printable(record.getMessage()),
        }
        if trace := _trace(record):
            entry["exception"] = "\n".join(trace)
        return msgspec.json.encode(entry).decode()


class Sampler:
    """Logs refused messages, at most one per reason and period, and how many it kept back since.

    Args:
        period_s: between two lines for one reason.
        clock: gives seconds that only grow.
    """

    def __init__(self, period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._period_s = period_s
        self._clock = clock
        self._last: dict[str, tuple[float, int]] = {}  # reason -> time of its last line, number kept back since

    def set_period(self, period_s: float) -> None:
        """Another period from now on."""
        self._period_s = period_s

    def note(self, reason: str, topic: str, payload_head: bytes) -> None:
        """A message was refused; `reason` is of a closed set, the rest may be anything."""
        now = self._clock()
        time_of_last, kept_back = self._last.get(reason, (float("-inf"), 0))
        if now - time_of_last < self._period_s:
            self._last[reason] = (time_of_last, kept_back + 1)
            return
        self._last[reason] = (now, 0)
        more = f" ({kept_back} more since the last line)" if kept_back else ""
        head = bytes(payload_head[:PAYLOAD_BYTES])
        log.warning("refused: reason=%s topic=%r payload=%r%s", reason, topic[:TOPIC_LENGTH], head, more)


def printable(text: str) -> str:
    """The text with everything that is not a visible character or a space escaped as in a Python literal.

    >>> print(printable("up\\x1b[2J and\\nänders"))
    up\\x1b[2J and\\nänders
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _trace(record: logging.LogRecord) -> list[str]:
    """The lines of a record's traceback, if it has one."""
    if not record.exc_info:
        return []
    return [printable(line) for line in logging.Formatter().formatException(record.exc_info).split("\n")]


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _priority(level: int) -> int:
    """syslog's number for a level: 7 debug, 6 info, 4 warning, 3 error, 2 critical."""
    for limit, number in ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6)):
        if level >= limit:
            return number
    return 7
