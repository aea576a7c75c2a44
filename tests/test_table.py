"""Reading a data file: its form, its times, its holes, and that nothing is taken from rows ahead."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.table import FORM_ROWS, Row, TableError, open_table, parse_time

Write = Callable[[str | bytes], Path]
START = 1_581_168_647.0  # 2020-02-08 13:30:47


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Makes a file to read."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "data.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def same(found: list[Row], wanted: list[tuple[float, list[float]]]) -> bool:
    return repr([tuple(row) for row in found]) == repr(wanted)  # NaN equals NaN, 0.0 does not equal -0.0


# --- form ---


@pytest.mark.parametrize("delimiter", [",", ";", "\t", ", "])
def test_the_delimiter_is_found_in_the_header(write: Write, delimiter: str) -> None:
    rows = [["time", "a", "Volume Flow"], ["2020-02-08 13:30:47", "1", "2.5"]]
    table = open_table(write("\n".join(delimiter.join(row) for row in rows)))
    assert table.channels == ("a", "Volume Flow")
    assert list(table.rows()) == [(START, [1.0, 2.5])]


def test_a_header_in_quotes_may_hold_the_delimiter(write: Write) -> None:
    table = open_table(write('"Month";"a, b";"c"\n"1949-01";112;3\n'))
    assert table.time_column == "Month"
    assert table.channels == ("a, b", "c")


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_the_data(write: Write) -> None:
    table = open_table(write(b"\xef\xbb\xbftime,a\r\n2020-02-08 13:30:47,1\r\n\r\n2020-02-08 13:30:48,2\r\n"))
    assert table.time_column == "time"
    assert list(table.rows()) == [(START, [1.0]), (START + 1, [2.0])]


def test_a_file_with_one_column_and_no_time_counts_its_rows_and_says_so(write: Write) -> None:
    table = open_table(write("value\n5\n7\n"))
    assert table.time_column is None
    assert list(table.rows()) == [(0.0, [5.0]), (1.0, [7.0])]
    assert table.remarks() == ["no column holds times: the number of a row is taken for its time in seconds"]


def test_columns_that_only_name_parts_of_a_date_are_channels_like_others(write: Write) -> None:
    table = open_table(write("No,year,month,day,hour,pm2.5\n1,2010,1,1,0,NA\n2,2010,1,1,1,12\n"))
    assert table.time_column is None
    assert table.channels == ("No", "year", "month", "day", "hour", "pm2.5")


def test_a_column_of_text_is_left_out_with_the_reason(write: Write) -> None:
    table = open_table(write("time,a,wind,note\n2020-02-08,1,NW,\n2020-02-09,2,SE,\n"))
    assert table.channels == ("a",)
    assert table.ignored == {
        "wind": "line 2 holds 'NW', not a number",
        "note": f"no value in the first {FORM_ROWS} rows",
    }
    assert table.remarks()[0] == "column 'wind' is not used: line 2 holds 'NW', not a number"


def test_a_column_without_a_name_is_no_channel_but_may_hold_the_time(write: Write) -> None:
    table = open_table(write(",a,\n2020-02-08 13:30:47,1,\n"))
    assert (table.time_column, table.channels) == ("column 1", ("a",))
    table = open_table(write(",time,a\n0,2020-02-08 13:30:47,1\n"))
    assert (table.time_column, table.channels, table.ignored) == ("time", ("a",), {"column 1": "has no name"})


def test_only_the_first_rows_decide_what_a_column_is(write: Write) -> None:
    head = "t,a,b\n" + "1,2,3\n" * FORM_ROWS
    table = open_table(write(head + "1,error,3\n"))
    assert table.channels == ("t", "a", "b")
    last = list(table.rows())[-1]
    assert math.isnan(last.values[1])
    assert table.bad_cells == {"a": 1}
    assert table.remarks()[-1] == "1 cells of 'a' taken as missing: not a number"


def test_rows_far_ahead_change_nothing_in_the_rows_before_them(write: Write) -> None:
    head = "time,a,b\n" + "".join(f"{START + n},{n},{n / 3}\n" for n in range(FORM_ROWS + 10))
    before = list(open_table(write(head)).rows())
    table = open_table(write(head + '1e300,x,"1e9999"\n-5,,\n' * 3))
    assert list(table.rows())[: len(before)] == before


# --- choice of channels ---


def test_channels_are_given_in_the_order_they_were_asked_for(write: Write) -> None:
    table = open_table(write("time,a,b,c\n2020-02-08,1,2,3\n"), channels=["c", "a"])
    assert table.channels == ("c", "a")
    assert next(table.rows()).values == [3.0, 1.0]
    assert table.ignored == {"b": "not asked for"}


def test_channels_with_a_minus_are_left_out(write: Write) -> None:
    path = write("time,a,anomaly,changepoint\n2020-02-08,1,0,0\n")
    table = open_table(path, channels=["-anomaly", "-changepoint"])
    assert table.channels == ("a",)
    assert table.ignored == {"anomaly": "not asked for", "changepoint": "not asked for"}


def test_a_column_whose_name_begins_with_a_minus_can_be_taken_and_left_out(write: Write) -> None:
    path = write("-a,a,b\n1,2,3\n")
    assert open_table(path, channels=["-a"]).channels == ("-a",)
    assert open_table(path, channels=["--a"]).channels == ("a", "b")


def test_leaving_out_the_time_column_still_finds_the_time(write: Write) -> None:
    table = open_table(write("time,a\n2020-02-08 13:30:47,1\n"), channels=["-time"])
    assert list(table.rows()) == [(START, [1.0])]


def test_a_channel_asked_for_by_name_may_hold_some_text_or_nothing_yet(write: Write) -> None:
    table = open_table(write("time,a,b\n2020-02-08,1,\n2020-02-09,off,\n"), channels=["a", "b"])
    assert same(list(table.rows()), [(1581120000.0, [1.0, math.nan]), (1581206400.0, [math.nan, math.nan])])
    assert table.bad_cells == {"a": 1}


@pytest.mark.parametrize(
    ("channels", "told"),
    [
        (["a", "typo"], "no column 'typo'; there are time, a, b, wind"),
        (["-typo"], "no column 'typo'; there are time, a, b, wind"),
        (["a", "a"], "expected different channels to take, or to leave out, got 'a, a'"),
        (["a", "-b"], "expected different channels to take, or to leave out, got 'a, -b'"),
        ([], "expected different channels to take, or to leave out, got ''"),
        (["wind"], "column 'wind': line 2 holds 'NW', not a number"),
        (["-a", "-b"], "no column can be a channel: 'a': not asked for; 'b': not asked for; 'wind': line 2 holds"),
    ],
)
def test_a_choice_that_can_not_be_met_is_refused(write: Write, channels: list[str], told: str) -> None:
    path = write("time,a,b,wind\n2020-02-08,1,2,NW\n")
    with pytest.raises(TableError) as caught:
        open_table(path, channels=channels)
    assert str(caught.value).startswith(f"{path}: {told}")


# --- time ---


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2020-02-08T13:30:47Z", START),
        ("2020-02-08T13:30:47", START),
        (" 2020-02-08 13:30:47 ", START),
        ("2020-02-08 14:30:47.250+01:00", START + 0.25),
        ("2020/02/08 13:30:47", START),
        ("2020/2/8 13:30", START - 47),
        ("2020-2-8 3:30:47.5", START - 36_000 + 0.5),
        ("2020-02-08", 1_581_120_000.0),
        ("1949-01", -662_688_000.0),
        ("1949/1", -662_688_000.0),
        ("1581168647", START),
        ("1581168647.123456", 1581168647.123456),
        ("1581168647123", 1581168647.123),
        ("-86400", -86_400.0),
        ("0", 0.0),
    ],
)
def test_times_are_read_in_the_notations_that_files_use(text: str, time: float) -> None:
    assert parse_time(text) == time


@pytest.mark.parametrize(
    "text",
    ["", "NA", "soon", "nan", "inf", "1e300", "1_581_168_647", "08.02.2020", "2020-13-01", "2020-02-30", "13:30"],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|date|isoformat|month|day"):
        parse_time(text)


def test_the_first_column_that_is_written_like_a_time_is_taken(write: Write) -> None:
    table = open_table(write("id,count,when,then\n7,20200208,2020-02-08,2020-02-09\n"))
    assert (table.time_column, table.channels) == ("when", ("id", "count"))


def test_the_time_is_found_though_its_first_cell_is_missing(write: Write) -> None:
    table = open_table(write("time,a\n,1\n2020-02-08 13:30:47,2\n"))
    assert list(table.rows()) == [(START, [2.0])]
    assert table.skipped == {"time can't be read": 1}


@pytest.mark.parametrize(("cell", "found"), [("1581168647", True), ("1581168647000", True), ("99", False)])
def test_a_number_is_taken_for_a_time_only_in_likely_years(write: Write, cell: str, found: bool) -> None:
    assert (open_table(write(f"t,a\n{cell},1\n")).time_column == "t") is found


def test_a_named_column_of_any_numbers_is_the_time(write: Write) -> None:
    table = open_table(write("a,t\n1,0\n2,0.5\n"), time="t")
    assert table.channels == ("a",)
    assert list(table.rows()) == [(0.0, [1.0]), (0.5, [2.0])]


def test_another_column_than_the_first_can_be_named_as_time(write: Write) -> None:
    table = open_table(write("made,seen,a\n2019-01-01,2020-02-08 13:30:47,1\n"), time="seen")
    assert list(table.rows()) == [(START, [1.0])]
    assert table.ignored == {"made": "line 2 holds '2019-01-01', not a number"}


def test_a_row_whose_time_can_not_be_read_is_skipped_and_counted(write: Write) -> None:
    table = open_table(write("time,a\n2020-02-08 13:30:47,1\nsoon,2\n,3\n2020-02-08 13:30:48,4\n"))
    assert [row.values for row in table.rows()] == [[1.0], [4.0]]
    assert table.skipped == {"time can't be read": 2}
    assert table.remarks() == ["2 rows skipped: time can't be read"]


def test_rows_are_given_in_the_order_of_the_file_even_where_time_goes_back(write: Write) -> None:
    table = open_table(write("time,a\n2020-02-08,1\n2020-02-07,2\n"))
    assert [row.values for row in table.rows()] == [[1.0], [2.0]]


# --- values ---


@pytest.mark.parametrize("cell", ["", " ", "NA", "n/a", "NaN", "-nan", "null", "None", "?"])
def test_a_missing_value_is_nan_and_no_fault(write: Write, cell: str) -> None:
    table = open_table(write(f"time,a,b\n2020-02-08,1,1\n2020-02-09,{cell},2\n"))
    assert same(list(table.rows())[1:], [(1581206400.0, [math.nan, 2.0])])
    assert not table.bad_cells


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e400", "1_000", "off", "0x10", "1.2.3"])
def test_a_cell_that_is_no_finite_number_is_missing_and_counted(write: Write, cell: str) -> None:
    table = open_table(write(f"time,a\n2020-02-08,1\n2020-02-09,{cell}\n"), channels=["a"])
    assert math.isnan(list(table.rows())[1].values[0])
    assert table.bad_cells == {"a": 1}


def test_cells_that_a_short_row_lacks_are_missing_and_a_long_row_is_skipped(write: Write) -> None:
    table = open_table(write("time,a,b\n2020-02-08,1\n2020-02-09,1,2,3\n2020-02-10,1,2,\n"))
    assert same(list(table.rows()), [(1581120000.0, [1.0, math.nan]), (1581292800.0, [1.0, 2.0])])
    assert table.skipped == {"more cells than the header": 1}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_every_float_comes_back_to_the_last_bit(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    path = tmp_path_factory.getbasetemp() / "floats.csv"
    path.write_text("t,a\n" + "".join(f"{n},{value!r}\n" for n, value in enumerate(values)))
    found = list(open_table(path, time="t").rows())
    assert same(found, [(float(n), [value]) for n, value in enumerate(values)])


def test_counts_and_position_begin_anew_with_each_reading(write: Write) -> None:
    path = write("time,a\n2020-02-08,1\nsoon,2\n2020-02-09,x\n")
    table = open_table(path, channels=["a"])
    for _ in range(2):
        assert len(list(table.rows())) == 2
        assert (table.skipped.total(), table.bad_cells.total()) == (1, 1)
        assert table.position == table.size == path.stat().st_size


def test_the_file_is_read_as_the_rows_are_asked_for(write: Write) -> None:
    table = open_table(write("time,a\n" + "2020-02-08,1\n" * 1000))
    rows = table.rows()
    next(rows)
    assert 0 < table.position < table.size / 10


# --- errors ---


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"time,a\n", "line 1: no row follows the header"),
        (b"2020-02-08,1\n2020-02-09,2\n", "line 1: expected the names of the columns, found '2020-02-08, 1'"),
        (b"a,b,a\n1,2,3\n", "line 1: columns 1 and 3 are both named 'a'"),
        (b"time,a\n\n2020-02-08,\xff\n", "line 3: not UTF-8"),
        (b'time,a\n2020-02-08,"1\n', "line 2: not CSV: unexpected end of data"),
        (b"a" * 200_000, "line 1: not CSV: field larger than field limit (131072)"),
        (b"time\n2020-02-08\n", "no column can be a channel: the only one holds the times"),
        (b"a\nx\n", "no column can be a channel: 'a': line 2 holds 'x', not a number"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_the_place(write: Write, content: bytes, told: str) -> None:
    path = write(content)
    with pytest.raises(TableError) as caught:
        open_table(path)
    assert str(caught.value) == f"{path}: {told}"


def test_a_fault_far_down_is_told_with_its_line_after_the_good_rows_came(write: Write) -> None:
    table = open_table(write(b"time,a\n" + b"2020-02-08,1\n" * 500 + b"2020-02-08,\xe9\n"))
    rows = table.rows()
    for _ in range(500):
        next(rows)
    with pytest.raises(TableError, match="line 502: not UTF-8"):
        next(rows)


@pytest.mark.parametrize(
    ("time", "told"),
    [
        ("clock", "no column 'clock' for the time; there are time, a, b"),
        ("a", "line 2: column 'a': expected a time, got 'soon'"),
        ("b", f"column 'b': expected times, the first {FORM_ROWS} rows hold none"),
    ],
)
def test_a_column_that_is_no_time_is_refused_as_such(write: Write, time: str, told: str) -> None:
    path = write("time,a,b\n2020-02-08,soon,\n")
    with pytest.raises(TableError) as caught:
        open_table(path, time=time)
    assert str(caught.value) == f"{path}: {told}"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"absent\.csv: can't be read: No such file"):
        open_table(tmp_path / "absent.csv")
