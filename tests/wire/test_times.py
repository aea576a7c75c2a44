"""Times in payloads."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.wire import times

NOON = datetime(2026, 11, 23, 12, 0, 0, 500_000, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T12:00:00.5Z",
        "2026-11-23T12:00:00.500000Z",
        "2026-11-23T12:00:00.500000999Z",
        "2026-11-23t12:00:00,5z",
        "2026-11-23T12:00:00.5",
        " 2026-11-23 12:00:00.5 ",
        "2026-11-23T13:00:00.5+01:00",
        "2026-11-23T06:30:00.5-0530",
        "20261123T120000.5Z",
    ],
)
@pytest.mark.parametrize("unit", ["auto", "iso"])
def test_iso_times_are_read_and_without_an_offset_are_utc(text: str, unit: times.Unit) -> None:
    assert times.seconds(text, unit) == NOON


def test_a_time_without_an_offset_is_utc_wherever_the_daemon_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XXX-05")
    time.tzset()
    try:
        assert times.seconds("2026-11-23T12:00:00.5", "auto") == NOON
        assert times.utc(NOON).hour == 12
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_date_alone_is_its_midnight_in_utc_even_without_dashes() -> None:
    assert times.seconds("2026-11-23", "auto") == times.seconds("20261123", "auto") == NOON - 43_200.5


@pytest.mark.parametrize("value", [NOON, str(NOON), f" {NOON} ", NOON * 1000, int(NOON * 1000), str(int(NOON * 1000))])
def test_auto_tells_seconds_from_milliseconds_by_their_size(value: object) -> None:
    assert times.seconds(value, "auto") == NOON


def test_a_fixed_unit_is_taken_at_its_word() -> None:
    assert times.seconds(86_400, "ms") == 86.4
    assert times.seconds("86400", "s") == 86_400.0
    assert times.seconds(NOON * 1000, "s") is None  # the year 58,867
    assert times.seconds(NOON, "iso") is None
    assert times.seconds(str(NOON), "iso") is None
    assert times.seconds("2026-11-23T12:00:00Z", "s") is None
    assert times.seconds("2026-11-23", "ms") is None


@pytest.mark.parametrize(
    "value",
    [
        "", "now", "yesterday", "2026-13-01T00:00:00", "2026-11-23T25:00:00", "2026-11-23x12:00:00", "12:00:00",
        "2026-W48-1", "1e", "0x10", "nan", "inf", "1_000", "٢٠٢٦-11-23", "1e999", "-1e999", "9" * 63, "1" * 5000,
        "20261123120000", 1e300, 10**400, -(10**400), float("inf"), float("-inf"), float("nan"), True, False,
        None, [], {}, [1.7e9], {"s": 1.7e9}, "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "\x00", "ß",
    ],
)  # fmt: skip
@pytest.mark.parametrize("unit", ["auto", "iso", "s", "ms"])
def test_what_is_no_time_is_none(value: object, unit: times.Unit) -> None:
    assert times.seconds(value, unit) is None


def test_years_outside_of_1970_to_2200_are_refused() -> None:
    assert times.seconds("1970-01-01T00:00:00Z", "auto") == 0.0
    assert times.seconds("1969-12-31T23:59:59Z", "auto") is None
    assert times.seconds("2200-12-31T23:59:59Z", "auto") is not None
    assert times.seconds("2201-01-01T00:00:00Z", "auto") is None
    assert times.seconds(-1, "s") is None


@settings(deadline=None)
@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2200, 12, 30)),
    st.integers(-23 * 60, 23 * 60),
    st.sampled_from(["T", " "]),
)
def test_every_iso_time_with_an_offset_is_read_to_the_microsecond(moment: datetime, offset: int, mark: str) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    assert times.seconds(aware.isoformat(mark), "auto") == aware.timestamp()
    read = times.seconds(aware.isoformat(mark), "iso")
    assert read is not None
    assert abs(times.utc(read) - aware) < timedelta(microseconds=2)


@settings(deadline=None)
@given(st.one_of(st.text(), st.from_regex(r"\A[0-9TZ:+. -]{1,30}\Z"), st.integers(), st.floats()))
@pytest.mark.parametrize("unit", ["auto", "iso", "s", "ms"])
def test_no_value_raises_and_every_time_is_within_its_limits(unit: times.Unit, value: object) -> None:
    read = times.seconds(value, unit)
    assert read is None or times.EARLIEST <= read < times.LATEST


def test_utc_is_rounded_to_the_microsecond() -> None:
    assert times.utc(NOON).isoformat() == "2026-11-23T12:00:00.500000+00:00"
