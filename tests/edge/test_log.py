import io
import json
import logging
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.config import Log
from streamd.edge.log import JsonLines, Sampler, Text, goes_to_journal, printable, setup

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
HOSTILE = "a\nb\r\x1b[31m\x07\x00\x7f\x9b\u2028\u202e\ud800"
ESCAPED = r"a\nb\r\x1b[31m\x07\x00\x7f\x9b\u2028\u202e\ud800"


@pytest.fixture
def root():
    """The root logger, put back as it was afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def record(message: str, *args: object, level: int = logging.INFO, error: BaseException | None = None):
    trace = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("streamd.test", level, "file", 1, message, args, trace)


def failure(text: str) -> ValueError:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def test_text_is_one_line_with_time_level_and_logger(root, capsys):
    setup(Log())
    logging.getLogger("streamd.x").info("began with %d", 3)
    assert re.fullmatch(TIME + r" info streamd\.x: began with 3\n", capsys.readouterr().err)


def test_json_is_one_object_per_line(root, capsys):
    setup(Log(format="json"))
    logging.getLogger("streamd.x").warning("one %s", "é")
    logging.getLogger("streamd.x").error("two")
    one, two = map(json.loads, capsys.readouterr().err.splitlines())
    assert re.fullmatch(TIME, one.pop("time"))
    assert one == {"level": "warning", "logger": "streamd.x", "message": "one é"}
    assert two["level"] == "error"


def test_the_level_is_kept_and_a_second_setup_takes_the_place_of_the_first(root, capsys):
    setup(Log())
    setup(Log(level="error"))
    logging.getLogger("streamd.x").warning("quiet")
    logging.getLogger("streamd.x").error("loud")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("loud")


def test_a_traceback_is_marked_line_by_line():
    lines = Text(journal=False).format(record("broke", error=failure("why\nforged line"))).split("\n")
    assert lines[0].endswith("info streamd.test: broke")
    assert lines[1] == "  | Traceback (most recent call last):"
    assert lines[-2:] == ["  | ValueError: why", "  | forged line"]
    assert all(line.startswith("  | ") for line in lines[1:])


def test_a_traceback_is_a_field_in_json():
    entry = json.loads(JsonLines().format(record("broke", error=failure("why\x1b"))))
    assert entry["exception"].endswith("\nValueError: why\\x1b")


@pytest.mark.parametrize(
    ("level", "number"), [("DEBUG", 7), ("INFO", 6), ("WARNING", 4), ("ERROR", 3), ("CRITICAL", 2)]
)
def test_the_journal_gets_the_level_before_every_line_and_no_time(level, number):
    number_of_level = logging.getLevelNamesMapping()[level]
    text = Text(journal=True).format(record("broke", level=number_of_level, error=failure("why")))
    lines = text.split("\n")
    assert lines[0] == f"<{number}>streamd.test: broke"
    assert all(line.startswith(f"<{number}>") for line in lines)


def test_the_journal_is_known_by_the_stream_that_systemd_names(monkeypatch, tmp_path):
    with (tmp_path / "log").open("w") as stream, (tmp_path / "other").open("w") as other:
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        assert not goes_to_journal(stream)
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert goes_to_journal(stream)
        assert not goes_to_journal(other)
        assert not goes_to_journal(io.StringIO())
    assert not goes_to_journal(stream)


@pytest.mark.parametrize("formatter", [Text(journal=False), Text(journal=True), JsonLines()])
def test_control_characters_never_reach_the_log(formatter):
    line = formatter.format(record("topic %s", HOSTILE))
    assert line.isprintable()
    line.encode()
    text = json.loads(line)["message"] if isinstance(formatter, JsonLines) else line
    assert text.endswith(f"topic {ESCAPED}")


@given(text=st.text())
def test_what_is_printable_stays_and_all_else_is_escaped(text):
    shown = printable(text)
    assert shown.isprintable()
    assert (shown == text) == text.isprintable()


# --- the sampler ---


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_one_line_per_reason_and_period_with_the_number_kept_back(clock, caplog):
    sampler = Sampler(10.0, clock)
    for _ in range(5):
        sampler.note("not_json", "a/b", b"{")
        sampler.note("too_large", "a/b", b"x")
    assert len(caplog.messages) == 2
    clock.now += 9.9
    sampler.note("not_json", "a/b", b"{")
    assert len(caplog.messages) == 2
    clock.now += 0.2
    sampler.note("not_json", "c", b"[")
    assert caplog.messages[2] == "refused: reason=not_json topic='c' payload=b'[' (5 more since the last line)"
    clock.now += 10.0
    sampler.note("not_json", "c", b"[")
    assert caplog.messages[3] == "refused: reason=not_json topic='c' payload=b'['"
    assert {entry.levelname for entry in caplog.records} == {"WARNING"}


def test_topic_and_payload_are_cut_and_escaped(clock, caplog):
    Sampler(10.0, clock).note("x", "t\x1b" + "o" * 70_000, b"\x00\n\xff" + b"y" * 10_000_000)
    (message,) = caplog.messages
    assert message.isprintable()
    assert message.startswith(r"refused: reason=x topic='t\x1bo")
    assert message.endswith("payload=b'\\x00\\n\\xff" + "y" * 77 + "'")
    assert len(message) < 400


@given(topic=st.text(), payload=st.binary(max_size=200))
def test_whatever_is_refused_makes_one_printable_line(topic, payload):
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = Keep()
    log = logging.getLogger("streamd.edge.log")
    log.addHandler(handler)
    try:
        Sampler(10.0, Clock()).note("x", topic, payload)
    finally:
        log.removeHandler(handler)
    assert len(lines) == 1
    assert lines[0].isprintable()


def test_the_sampler_takes_the_systems_clock_when_none_is_given(caplog):
    sampler = Sampler(3600.0)
    for _ in range(3):
        sampler.note("x", "t", b"")
    assert len(caplog.messages) == 1


def test_a_process_logs_to_stderr_and_leaves_stdout_alone():
    code = (
        "import logging; from streamd.edge.log import setup; from streamd.config import Log\n"
        "setup(Log(format='json')); logging.getLogger('x').error('\\ud800\\x1b')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert json.loads(done.stderr)["message"] == r"\ud800\x1b"


def test_another_period_holds_for_the_next_line(clock, caplog):
    sampler = Sampler(10.0, clock)
    sampler.note("x", "a", b"")
    clock.now += 2.0
    sampler.note("x", "a", b"")
    assert len(caplog.messages) == 1
    sampler.set_period(1.5)
    sampler.note("x", "a", b"")
    assert len(caplog.messages) == 2
