"""Reads a CSV file of sensor data row by row, as a device would have sent it.

Knows delimiters and how times and missing values are written; not what the numbers are for. Nothing is taken from
rows ahead of the one that is given out, but the form of the columns, which the first rows show.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

MISSING: Final = frozenset({"", "na", "n/a", "nan", "-nan", "null", "none", "?"})  # in capitals or not
FORM_ROWS: Final = 100  # rows that decide which columns are numbers: a property of the format, not of the values

_DELIMITERS: Final = ",;\t"
_MAX_EPOCH_S: Final = 1e11  # larger numbers are milliseconds; as seconds it is the year 5138
_MAX_EPOCH_MS: Final = 1e14
# A number is taken for a time without being told so only in these years: 1990 to 2099.
_LIKELY_EPOCH_S: Final = (631_152_000.0, 4_102_444_800.0)
_DATE: Final = re.compile(
    r"(\d{4})-(\d{1,2})(?:-(\d{1,2})(?:[ T](\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,6}))?)?)?)?", re.ASCII
)


class TableError(Exception):
    """The file can't be used as asked; the text names the file and, where there is one, the line and the column."""


class Row(NamedTuple):
    """One reading of all channels."""

    time: float  # s since the epoch
    values: list[float]  # in the order of `Table.channels`; NaN where missing


@dataclass(frozen=True, slots=True)
class _Column:
    """What the header and the first rows show of a column."""

    name: str
    index: int
    named: bool  # by the header
    filled: list[tuple[int, str]]  # line and text of its cells in the first rows that are not missing

    def fault(self, asked_for: bool) -> str | None:
        """Why it can't be a channel; None: it can."""
        texts = [(line, text) for line, text in self.filled if not _is_number(text)]
        if texts and not (asked_for and len(texts) < len(self.filled)):
            line, text = texts[0]
            return f"line {line} holds {text[:60]!r}, not a number"
        if not asked_for and not self.filled:
            return f"no value in the first {FORM_ROWS} rows"
        if not asked_for and not self.named:
            return "has no name"
        return None


class Table:
    """A data file whose form is known; `open_table` makes it.

    Each call of `rows` reads the file anew and counts anew.
    """

    def __init__(
        self, path: Path, delimiter: str, columns: Sequence[_Column], clock: _Column | None, ignored: dict[str, str]
    ) -> None:
        self.path = path
        self.channels = tuple(column.name for column in columns)
        self.time_column = None if clock is None else clock.name  # None: a row's number, from 0, is its time in seconds
        self.ignored = ignored  # column -> why it is no channel
        self.size = path.stat().st_size  # bytes
        self.skipped: Counter[str] = Counter()  # reason -> rows left out
        self.bad_cells: Counter[str] = Counter()  # channel -> cells that are no finite number, given as missing
        self._lines = _Lines(path)
        self._delimiter = delimiter
        self._indices = tuple(column.index for column in columns)
        self._time_index = None if clock is None else clock.index

    @property
    def position(self) -> int:
        """Bytes of the file that were read so far; with `size` enough for a progress bar."""
        return self._lines.position

    def rows(self) -> Iterator[Row]:
        """The rows in the order of the file, from its start.

        A row whose time can't be read, or with more cells than the header, is left out and counted. Cells that a short
        row lacks are missing.

        Raises:
            TableError: from some line on the file can't be read, or is not UTF-8 or not CSV.
        """
        self._lines = _Lines(self.path)
        self.skipped.clear()
        self.bad_cells.clear()
        records = _records(self._lines, self._delimiter)
        _, header = next(records)
        time_index, width = self._time_index, len(header)
        for number, (_, cells) in enumerate(records):
            if len(cells) != width and not _fits(cells, width):
                self.skipped["more cells than the header"] += 1
                continue
            try:
                time = float(number) if time_index is None else parse_time(cells[time_index])
            except ValueError:
                self.skipped["time can't be read"] += 1
                continue
            try:
                values = [_number(cells[index]) for index in self._indices]
            except ValueError:
                values = self._good_numbers(cells)
            yield Row(time, values)

    def remarks(self) -> list[str]:
        """Sentences for the user: what was guessed or left out, and after `rows` what was skipped."""
        found = [f"column {name!r} is not used: {reason}" for name, reason in self.ignored.items()]
        if self.time_column is None:
            found.insert(0, "no column holds times: the number of a row is taken for its time in seconds")
        found += [f"{count} rows skipped: {reason}" for reason, count in self.skipped.items()]
        found += [f"{count} cells of {name!r} taken as missing: not a number" for name, count in self.bad_cells.items()]
        return found

    def _good_numbers(self, cells: list[str]) -> list[float]:
        values = []
        for channel, index in zip(self.channels, self._indices, strict=True):
            try:
                values.append(_number(cells[index]))
            except ValueError:
                self.bad_cells[channel] += 1
                values.append(math.nan)
        return values


def open_table(path: Path, time: str | None = None, channels: Sequence[str] | None = None) -> Table:
    """Look at a file's header and first rows, and settle how it will be read.

    `time` names the column of times; None takes the first one whose first value is written like a time, and where there
    is none the number of the row. `channels` names the columns to take, in this order, or with a minus before each name
    the ones to leave out; None takes every column that has a name, at least one number and no text in the first
    `FORM_ROWS` rows. A column asked for by name may have some text there, or nothing yet.

    Raises:
        TableError: the file can't be read or is no table, a name is not in its header, or no channel is left.
    """
    delimiter = _delimiter(path)
    columns = _columns(list(islice(_records(_Lines(path), delimiter), 1 + FORM_ROWS)), path)
    taken, left_out = _choice(channels, columns, path)
    clock = _clock(time, [column for name, column in columns.items() if name not in taken], path)
    ignored = {}
    for name, column in columns.items():
        if column is clock:
            continue
        fault = column.fault(asked_for=name in taken)
        if name in taken and fault is not None:
            raise TableError(f"{path}: column {name!r}: {fault}")
        if name in left_out or fault is not None:
            ignored[name] = fault or "not asked for"
    order = taken or [name for name, column in columns.items() if column is not clock and name not in ignored]
    if not order:
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in ignored.items())
        raise TableError(f"{path}: no column can be a channel: {reasons or 'the only one holds the times'}")
    return Table(path, delimiter, [columns[name] for name in order], clock, ignored)


def parse_time(text: str) -> float:
    """A time as s since the epoch, UTC where the text names no offset.

    Takes ISO 8601 and its like (a blank for the T, slashes for dashes, no leading zeros, a month without a day) and
    numbers: seconds since the epoch, or above 1e11 milliseconds.

    >>> parse_time("2020-02-08 13:30:47"), parse_time("2020/2/8 13:30"), parse_time("1949-01")
    (1581168647.0, 1581168600.0, -662688000.0)
    >>> parse_time("1581168647.25"), parse_time("1581168647250")
    (1581168647.25, 1581168647.25)

    Raises:
        ValueError: it is not a time.
    """
    try:
        number = _number(text)
    except ValueError:
        return _parse_date(text)
    if not abs(number) < _MAX_EPOCH_MS:  # NaN, too
        raise ValueError(f"not a time: {text!r}")
    return number if abs(number) < _MAX_EPOCH_S else number / 1000.0


def _parse_date(text: str) -> float:
    text = text.strip().replace("/", "-")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        match = _DATE.fullmatch(text)
        if match is None:
            raise
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
        micro = int((match[7] or "").ljust(6, "0"))
        moment = datetime(year, month, 1 if match[3] is None else day, hour, minute, second, micro)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _number(cell: str) -> float:
    """A finite number, or NaN for a missing value. Raises ValueError for anything else."""
    try:
        value = float(cell)
    except ValueError:
        if cell.strip().lower() in MISSING:
            return math.nan
        raise
    if math.isinf(value) or "_" in cell:  # Python's own 1_000
        raise ValueError(f"not a finite number: {cell!r}")
    return value


class _Lines:
    """The lines of a file as text, and how far they were read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self.position = 0  # bytes

    def __iter__(self) -> Iterator[str]:
        try:
            with self.path.open("rb") as file:
                for raw in file:
                    self.number += 1
                    self.position += len(raw)
                    yield raw.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except OSError as error:
            raise TableError(f"{self.path}: can't be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise TableError(f"{self.path}: line {self.number}: not UTF-8") from error


def _delimiter(path: Path) -> str:
    """The delimiter that gives the header the most columns, a comma if there is but one."""
    lines = _Lines(path)
    header = [next((line for line in lines if line.strip()), "")]
    try:
        return max(
            _DELIMITERS, key=lambda each: len(next(csv.reader(header, delimiter=each, skipinitialspace=True), []))
        )
    except csv.Error as error:
        raise TableError(f"{path}: line {lines.number}: not CSV: {error}") from error


def _records(lines: _Lines, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each record, the header first; blank lines are no records."""
    try:
        for cells in csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True):
            if cells:
                yield lines.number, cells
    except csv.Error as error:
        raise TableError(f"{lines.path}: line {lines.number}: not CSV: {error}") from error


def _fits(cells: list[str], width: int) -> bool:
    """Whether a record has no more cells than the header; makes a short one as long."""
    if any(cells[width:]):
        return False
    cells += [""] * (width - len(cells))
    return True


def _columns(records: list[tuple[int, list[str]]], path: Path) -> dict[str, _Column]:
    """The columns by name, with what the first rows hold."""
    if not records:
        raise TableError(f"{path}: is empty")
    (line, header), *sample = records
    where = f"{path}: line {line}"
    if all(not name.strip() or _is_value(name) for name in header):
        raise TableError(f"{where}: expected the names of the columns, found {', '.join(header)[:60]!r}")
    rows = [(line, cells) for line, cells in sample if _fits(cells, len(header))]
    if not rows:
        raise TableError(f"{where}: no row follows the header")
    columns: dict[str, _Column] = {}
    for index, title in enumerate(header):
        name = title.strip() or f"column {index + 1}"
        if name in columns:
            raise TableError(f"{where}: columns {columns[name].index + 1} and {index + 1} are both named {name!r}")
        filled = [(line, cells[index].strip()) for line, cells in rows if cells[index].strip().lower() not in MISSING]
        columns[name] = _Column(name, index, bool(title.strip()), filled)
    return columns


def _choice(channels: Sequence[str] | None, columns: Mapping[str, _Column], path: Path) -> tuple[list[str], set[str]]:
    """The columns asked for by name, none if all are welcome, and the ones to leave out."""
    if channels is None:
        return [], set()
    left_out = {name.removeprefix("-") for name in channels if name not in columns and name.startswith("-")}
    taken = [name for name in channels if name.removeprefix("-") not in left_out]
    if unknown := [name for name in [*taken, *sorted(left_out)] if name not in columns]:
        raise TableError(f"{path}: no column {unknown[0]!r}; there are {', '.join(columns)}")
    if len(set(taken)) < len(taken) or bool(taken) == bool(left_out):
        raise TableError(f"{path}: expected different channels to take, or to leave out, got {', '.join(channels)!r}")
    return taken, set(columns) - set(taken) if taken else left_out


def _clock(time: str | None, columns: list[_Column], path: Path) -> _Column | None:
    """The column that holds the times."""
    if time is None:
        return next((column for column in columns if column.filled and _looks_like_time(column.filled[0][1])), None)
    column = next((column for column in columns if column.name == time), None)
    if column is None:
        raise TableError(
            f"{path}: no column {time!r} for the time; there are {', '.join(each.name for each in columns)}"
        )
    if not column.filled:
        raise TableError(f"{path}: column {time!r}: expected times, the first {FORM_ROWS} rows hold none")
    line, text = column.filled[0]
    try:
        parse_time(text)
    except ValueError as error:
        raise TableError(f"{path}: line {line}: column {time!r}: expected a time, got {text[:60]!r}") from error
    return column


def _looks_like_time(text: str) -> bool:
    try:
        time = parse_time(text)
    except ValueError:
        return False
    return not _is_number(text) or _LIKELY_EPOCH_S[0] <= time < _LIKELY_EPOCH_S[1]


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(_number(text))
    except ValueError:
        return False


def _is_value(text: str) -> bool:
    return _is_number(text) or _looks_like_time(text)
