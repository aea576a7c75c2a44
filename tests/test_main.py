"""The command line as a user or a supervisor sees it: what is printed where, and the exit code."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import streamd
from streamd import __main__ as command_line
from streamd.app import App
from streamd.store import checkpoint, journal, lock
from streamd.store.checkpoint import Checkpoint
from streamd.table import FORM_ROWS
from tests.engine.runs import Plant
from tests.incidents import state_folder
from tests.state_folder import StateFolder, flip

GOOD = '[[source]]\ntopic = "plant/{stream}/telemetry"\ngroup = "pumps"\n'
SMALL = "[group.pumps]\nhorizon_steps = 2\nnetwork = { hidden = 8, layers = 1 }\n"


@dataclass(frozen=True)
class Told:
    """What a command said."""

    code: int
    out: str
    err: str


@pytest.fixture
def streamd_(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """The command line in this process: `streamd_("check", path)`."""

    def call(*arguments: object) -> Told:
        monkeypatch.setattr(sys, "argv", ["streamd", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")  # no name is cut in two
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        said = capsys.readouterr()
        code = ended.value.code
        return Told(code if isinstance(code, int) else 0, said.out, said.err)

    return call


Call = Callable[..., Told]


# --- explain ---


def test_incidents_are_listed_and_explained_by_their_ids(streamd_: Call, tmp_path: Path) -> None:
    last = state_folder(tmp_path)
    listed = streamd_("explain", "--state", tmp_path)
    assert listed.code == 0
    assert last in listed.out
    config = tmp_path / "config.toml"
    config.write_text(f'{GOOD}[state]\nfolder = "{tmp_path}"\n')
    told = streamd_("explain", last, "-c", config, "--html", tmp_path / "page.html")
    assert (told.code, told.err) == (0, "")
    assert "over its line" in told.out
    assert f"{last} of pumps" in (tmp_path / "page.html").read_text()


def test_what_can_not_be_explained_is_said_with_the_exit_code_of_a_failure(streamd_: Call, tmp_path: Path) -> None:
    assert streamd_("explain", "--state", tmp_path / "none").code == 2
    assert streamd_("explain", "--html", "x", "--state", tmp_path).code == 2
    empty = streamd_("explain", "s-1", "--state", tmp_path)
    assert empty.code == 1
    assert "no incident was archived" in empty.err
    state_folder(tmp_path)
    unknown = streamd_("explain", "s-1", "--state", tmp_path)
    assert unknown.code == 1
    assert "no incident s-1" in unknown.err
    wrong = streamd_("explain", "s-1", "--state", tmp_path, "--html", tmp_path / "no" / "page.html")
    assert wrong.code == 2
    assert "no such folder" in wrong.err


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "streamd.toml"
        path.write_text(text)
        return path

    return write


Write = Callable[[str], Path]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    rows = (f"2026-11-23 12:{n // 60:02}:{n % 60:02},{n % 7},{n % 3},{n * 0.5}" for n in range(80))
    path.write_text("\n".join(["when,flow,pressure,level", *rows, ""]))
    return path


@pytest.fixture
def quiet_log() -> Iterator[None]:
    """`run` takes the root logger over; give it back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


# --- about itself ---


def test_the_version_is_said(streamd_: Call) -> None:
    told = streamd_("--version")
    assert (told.code, told.out) == (0, f"streamd {streamd.__version__}\n")


def test_every_command_is_listed_when_nothing_is_asked_for(streamd_: Call) -> None:
    told = streamd_("--help")
    assert told.code == 0
    for name in ("run", "demo", "backtest", "replay", "check", "inspect"):
        assert f" {name} " in told.out


@pytest.mark.parametrize("arguments", [["fly"], ["check"], ["run"], ["backtest", "x.csv", "--horizon", "0"]])
def test_wrong_usage_is_told_apart_from_failure(streamd_: Call, arguments: list[str]) -> None:
    told = streamd_(*arguments)
    assert told.code == 2
    assert told.out == ""
    assert told.err


def test_help_and_check_do_not_wait_for_torch(config: Write) -> None:
    code = "import sys; from streamd.__main__ import app; app(['check', sys.argv[1]], standalone_mode=False); "
    code += "sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, config(GOOD)], check=True, capture_output=True)


# --- check ---


def test_a_good_config_is_called_good_with_what_it_reads(streamd_: Call, config: Write) -> None:
    told = streamd_("check", config(GOOD + SMALL))
    assert (told.code, told.err) == (0, "")
    assert "good" in told.out
    assert "plant/+/telemetry" in told.out
    assert "pumps" in told.out
    assert "# profile of pumps: full (auto: " in told.out


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GOOD + "[group.pumps]\nhorizon = 3\n", "group.pumps.horizon"),
        (GOOD + "[mqtt]\nport = 99999\n", "mqtt.port"),
        (GOOD.replace("plant/{stream}", "plant/{machine}"), "topic"),
        (GOOD + '[mqtt]\nusername = "u"\npassword_file = "nowhere"\n', "mqtt.password_file: secret file "),
        (GOOD + '[mqtt.tls]\nca_file = "nowhere"\n', "mqtt.tls: certificates can't be used"),
        ("[mqtt]\nport = 1883\n", "source"),
        ("[[source]]\n", "source #1.topic"),
        ("not toml", "TOML"),
    ],
)
def test_a_bad_config_ends_in_2_and_names_file_and_key(streamd_: Call, config: Write, text: str, named: str) -> None:
    path = config(text)
    told = streamd_("check", path)
    assert (told.code, told.out) == (2, "")
    assert named in told.err
    assert str(path) in told.err


def test_a_config_is_shown_as_it_is_in_force_with_the_source_of_each_value_and_no_secret(
    streamd_: Call, config: Write, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("hunter2")
    path = config(GOOD + '[mqtt]\nusername = "u"\npassword_file = "password"\n')
    told = streamd_("check", path, "--json")
    values = {one["key"]: one for one in json.loads(told.out)}
    line = path.read_text().splitlines().index("[mqtt]") + 1
    assert values["mqtt.username"] == {
        "key": "mqtt.username",
        "value": "u",
        "source": f"{path.name}:{line + 1}",
        "secret": False,
    }
    assert values["mqtt.password_file"]["value"] == str(tmp_path / "password")
    assert [one["key"] for one in values.values() if one["secret"]] == ["mqtt.password_file"]
    assert values["mqtt.port"]["source"] == "default"
    plain = streamd_("check", path).out
    assert f"# {path.name}:{line + 2}; holds a secret: ********" in plain
    assert "hunter2" not in told.out + plain


def test_check_without_a_file_says_what_it_takes(streamd_: Call) -> None:
    told = streamd_("check")
    assert (told.code, told.out) == (2, "")
    assert "--schema" in told.err


def test_a_config_that_is_not_there_ends_in_2(streamd_: Call, tmp_path: Path) -> None:
    told = streamd_("check", tmp_path / "none.toml")
    assert told.code == 2
    assert "none.toml" in told.err


# --- inspect ---


def state(folder: Path, *positions: int) -> list[Path]:
    folder.mkdir(exist_ok=True)
    return [
        checkpoint.save(folder, Checkpoint(position, {"a": np.arange(9.0)}, {"groups": {}}), 9, created=1e9)
        for position in positions
    ]


def test_a_good_state_folder_is_shown_checkpoint_by_checkpoint(streamd_: Call, tmp_path: Path) -> None:
    paths = state(tmp_path / "state", 7, 12)
    told = streamd_("inspect", tmp_path / "state")
    assert told.code == 0
    assert told.out.count("│ good") == 2
    assert "bad" not in told.out
    for path in paths:
        assert path.name in told.out


def test_a_damaged_checkpoint_ends_in_1_and_says_which(streamd_: Call, tmp_path: Path) -> None:
    good, bad = state(tmp_path / "state", 7, 12)
    content = bytearray(bad.read_bytes())
    content[-1] ^= 1
    bad.write_bytes(content)
    told = streamd_("inspect", tmp_path / "state", "--json")
    assert told.code == 1
    said = json.loads(told.out)
    assert len(said["problems"]) == 1
    found = {one["path"]: one for one in said["checkpoints"]}
    assert found[str(good)]["ok"]
    assert found[str(good)]["position"] == 7
    assert not found[str(bad)]["ok"]
    assert "digest" in found[str(bad)]["reason"]
    assert bad.read_bytes() == content  # looking changes nothing


def test_an_empty_state_folder_is_no_failure_and_no_folder_is_wrong_usage(streamd_: Call, tmp_path: Path) -> None:
    assert streamd_("inspect", tmp_path).code == 0
    said = json.loads(streamd_("inspect", tmp_path, "--json").out)
    assert (said["checkpoints"], said["journal"], said["groups"], said["problems"]) == ([], None, [], [])
    assert streamd_("inspect", tmp_path / "nowhere").code == 2


@pytest.fixture
def worked(tmp_path: Path) -> StateFolder:
    """The state of a daemon that wrote two checkpoints."""
    state = StateFolder(tmp_path / "state")
    plant = Plant(seed=5)
    for count in (10, 12):
        state.apply(plant.batches(count))
        state.checkpoint()
    state.close()
    return state


def test_a_replay_that_comes_out_the_same_says_so(streamd_: Call, worked: StateFolder) -> None:
    told = streamd_("inspect", worked.folder, "--replay")
    assert (told.code, told.err) == (0, "")
    assert "every checksum is right" in told.out
    assert "replayed 12 records" in told.out
    assert "equal, bit for bit" in told.out
    said = json.loads(streamd_("inspect", worked.folder, "--replay", "--json").out)
    assert said["journal"]["records"] == 12
    assert (said["replay"]["begin"], said["replay"]["end"], said["replay"]["findings"]) == (10, 22, [])


def test_a_replay_that_comes_out_otherwise_ends_in_1_and_says_where(streamd_: Call, worked: StateFolder) -> None:
    worked.engine.scale.mean[0, 0] += 1.0
    worked.checkpoint()  # in the place of the newest
    told = streamd_("inspect", worked.folder, "--replay")
    assert told.code == 1
    assert "scale.mean" in told.out
    assert "equal" not in told.out
    (finding,) = json.loads(streamd_("inspect", worked.folder, "--replay", "--json").out)["replay"]["findings"]
    assert (finding["group"], finding["difference"]["name"]) == ("pumps", "scale.mean")


def test_a_replay_that_can_not_be_made_ends_in_1_with_the_reason(streamd_: Call, tmp_path: Path) -> None:
    state(tmp_path / "state", 7, 12)
    told = streamd_("inspect", tmp_path / "state", "--replay")
    assert (told.code, told.out) == (1, "")
    assert "no journal" in told.err


def test_a_damaged_journal_ends_in_1_and_is_told_of_once(streamd_: Call, worked: StateFolder) -> None:
    flip(worked.folder / "journal.sqlite", 100)
    told = streamd_("inspect", worked.folder)
    assert (told.code, told.err) == (1, "")  # nothing of what became of the copies
    assert told.out.count("bad: journal.sqlite") == 1


def test_looking_at_a_folder_does_not_wait_for_torch(worked: StateFolder) -> None:
    code = "import sys; from streamd.__main__ import app; app(['inspect', sys.argv[1]], standalone_mode=False); "
    code += "sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, worked.folder], check=True, capture_output=True)


# --- backtest ---


def test_a_backtest_says_everything_to_machines(streamd_: Call, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    told = streamd_("backtest", data, "--horizon", 2, "--json", "--out", out)
    assert told.code == 0
    summary = json.loads(told.out)
    assert summary["rows"] == 80
    assert summary["horizon"] == 2
    assert summary["channels"] == ["flow", "pressure", "level"]
    for measure in ("mae", "mse", "mase", "coverage"):
        assert len(summary[measure]["flow"]) == 2
    assert {"readings_per_s", "alarms", "incidents", "settled"} <= summary.keys()
    with np.load(out) as arrays:
        assert arrays["forecast"].shape == (80, 2, 3)


@pytest.mark.parametrize(("chosen", "channels"), [("level,flow", ["level", "flow"]), ("-flow", ["pressure", "level"])])
def test_channels_are_chosen_by_name(streamd_: Call, data: Path, chosen: str, channels: list[str]) -> None:
    told = streamd_("backtest", data, "--json", "--horizon", 1, "--time", "when", f"--channels={chosen}")
    assert told.code == 0, told.err
    assert json.loads(told.out)["channels"] == channels


def test_a_backtest_takes_its_settings_from_a_config_with_one_group(streamd_: Call, data: Path, config: Write) -> None:
    assert json.loads(streamd_("backtest", data, "--json", "-c", config(GOOD + SMALL)).out)["horizon"] == 2
    two = config(GOOD + SMALL + '[[source]]\ntopic = "b/{stream}"\ngroup = "b"\n[group.b]\n')
    told = streamd_("backtest", data, "-c", two)
    assert told.code == 2
    assert "one group" in told.err


def test_a_summary_for_people_has_a_line_per_step(streamd_: Call, data: Path) -> None:
    told = streamd_("backtest", data, "--horizon", 3)
    assert told.code == 0
    assert "80 rows, 3 channels" in told.out
    assert "MASE" in told.out


def test_a_page_is_written_beside_the_result(streamd_: Call, data: Path, tmp_path: Path) -> None:
    told = streamd_("backtest", data, "--horizon", 2, "--report", tmp_path / "page.html", "--against", "persistence")
    assert told.code == 0, told.err
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "data.csv" in page
    assert "pressure" in page


def test_baselines_are_shown_in_the_table_and_told_to_machines(streamd_: Call, data: Path) -> None:
    arguments = ["backtest", data, "--horizon", 2, "--against", "seasonal:7,zscore"]
    told = streamd_(*arguments)
    assert told.code == 0, told.err
    for said in ("seasonal:7", "zscore: "):
        assert said in told.out
    against = json.loads(streamd_(*arguments, "--json").out)["against"]
    assert list(against) == ["seasonal:7", "zscore"]
    assert len(against["seasonal:7"]["mae"]["level"]) == 2
    assert against["seasonal:7"]["readings_per_s"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--against", "arima"], "no baseline 'arima'; there are persistence"),
        (["--report", "nowhere/page.html"], "nowhere/page.html: no such folder"),
    ],
)
def test_what_can_not_be_compared_or_written_ends_in_2_before_the_work(
    streamd_: Call, data: Path, arguments: list[str], said: str
) -> None:
    told = streamd_("backtest", data, *arguments)
    assert (told.code, told.out) == (2, "")
    assert said in told.err


@pytest.mark.parametrize(
    ("package", "arguments", "extra"),
    [("river", ["--against", "river"], "bench"), ("plotly", ["--report", "page.html"], "report")],
)
def test_an_extra_that_is_missing_is_named_before_the_work(
    streamd_: Call, data: Path, monkeypatch: pytest.MonkeyPatch, package: str, arguments: list[str], extra: str
) -> None:
    monkeypatch.chdir(data.parent)
    monkeypatch.setitem(sys.modules, package, None)
    told = streamd_("backtest", data, "--horizon", 1, *arguments)
    assert (told.code, told.out) == (2, "")
    assert f"pip install 'streamd[{extra}]'" in told.err
    assert not (data.parent / "page.html").exists()


def test_a_backtest_without_them_imports_neither_river_nor_plotly(data: Path) -> None:
    code = (
        "import sys\nfrom streamd.__main__ import app\n"
        "try: app(sys.argv[1:])\nexcept SystemExit: pass\n"
        "assert not {'river', 'plotly'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code, "backtest", data, "--horizon", "1"], check=True, capture_output=True)


def test_what_was_left_out_of_a_file_is_told_beside_the_result(streamd_: Call, data: Path) -> None:
    data.write_text(data.read_text() + "never,1,1,1\n")
    told = streamd_("backtest", data, "--horizon", 1, "--json")
    assert json.loads(told.out)["rows"] == 80
    assert "1 rows skipped" in told.err


@pytest.mark.parametrize("arguments", [["--channels", "speed"], ["--time", "flow,"], ["-c", "nowhere.toml"]])
def test_a_backtest_that_can_not_be_begun_ends_in_2(streamd_: Call, data: Path, arguments: list[str]) -> None:
    told = streamd_("backtest", data, *arguments)
    assert (told.code, told.out) == (2, "")
    assert told.err


def test_a_file_that_breaks_half_way_ends_in_1_and_says_where(streamd_: Call, data: Path) -> None:
    with data.open("ab") as file:
        file.write(b"2026-11-23 13:00,1,1,1\n" * FORM_ROWS + b"\xff\xfe,1,1,1\n")
    told = streamd_("backtest", data, "--horizon", 1, "--json")
    assert (told.code, told.out) == (1, "")
    assert f"line {1 + 80 + FORM_ROWS + 1}" in told.err


# --- replay ---


def test_a_replay_without_a_broker_ends_in_1(streamd_: Call, data: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    told = streamd_("replay", data, "--topic", "plant/p1", "--port", port)
    assert told.code == 1
    assert str(port) in told.err


# --- run ---


@pytest.mark.usefixtures("quiet_log")
def test_a_state_folder_in_use_ends_the_daemon_in_75(streamd_: Call, config: Write, tmp_path: Path) -> None:
    with lock.hold(tmp_path / "state"):
        told = streamd_("run", "-c", config(GOOD + SMALL))
    assert told.code == 75
    assert f"in use by process {os.getpid()}" in told.err


@pytest.mark.usefixtures("quiet_log")
def test_a_port_that_is_taken_ends_the_daemon_in_2(streamd_: Call, config: Write) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        told = streamd_("run", "-c", config(f"{GOOD}{SMALL}[http]\nport = {port}\n"))
    assert told.code == 2
    assert str(port) in told.err


@pytest.mark.usefixtures("quiet_log")
def test_a_state_of_a_newer_streamd_ends_the_daemon_in_2(
    streamd_: Call, config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(checkpoint, "VERSION", 99)
        newer.setattr(streamd, "__version__", "99.0")
        (path,) = state(tmp_path / "state", 5)
    told = streamd_("run", "-c", config(f"{GOOD}{SMALL}[http]\nport = 0\n"))
    assert told.code == 2
    assert "99.0" in told.err
    assert path.exists()  # left for the one that can read it


@pytest.mark.usefixtures("quiet_log")
def test_a_journal_of_a_newer_streamd_ends_the_daemon_in_2(
    streamd_: Call, config: Write, worked: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = worked.folder / "journal.sqlite"
    path.unlink()
    with monkeypatch.context() as newer:
        newer.setattr(journal, "LAYOUT", dataclasses.replace(journal.LAYOUT, version=99))
        journal.Journal.open(path).close()
    told = streamd_("run", "-c", config(f"{GOOD}{SMALL}[http]\nport = 0\n"))
    assert told.code == 2
    assert "in format 99" in told.err
    assert path.exists()


@pytest.mark.usefixtures("quiet_log")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_daemon_in_good_order(
    streamd_: Call, config: Write, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    stopped = asyncio.Event()

    async def serve(_: App) -> None:
        os.kill(os.getpid(), number)
        async with asyncio.timeout(30):
            await stopped.wait()

    monkeypatch.setattr(App, "run", serve)
    monkeypatch.setattr(App, "stop", lambda _: stopped.set())
    assert streamd_("run", "-c", config(GOOD)).code == 0


@pytest.mark.usefixtures("quiet_log")
def test_a_training_job_that_outlives_its_thread_does_not_spoil_the_exit_code(config: Write) -> None:
    code = """
import sys, threading, torch
from streamd import __main__
from streamd.edge import training

begun = threading.Event()

def train(job):
    matrix = torch.randn(300, 300, requires_grad=True)
    while True:
        (matrix @ matrix).sum().backward()
        begun.set()

training._CLOSE_S = 0.1
with training.TrainingThread(train) as thread:
    thread.client().submit(0)
    begun.wait()
__main__.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "check", config(GOOD)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_our_own_fault_ends_in_70_with_a_trace(streamd_: Call, config: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(_: App) -> None:
        raise ExceptionGroup("unhandled errors in a TaskGroup", [RuntimeError("the flux capacitor is empty")])

    monkeypatch.setattr(App, "run", serve)
    told = streamd_("run", "-c", config(GOOD))
    assert told.code == 70
    assert "Traceback" in told.err
    assert "flux capacitor" in told.err


@pytest.mark.usefixtures("quiet_log")
@pytest.mark.parametrize("text", ["[mqtt]\n", GOOD.replace("{stream}", "{stream"), GOOD + "[http]\nport = -1\n"])
def test_a_daemon_with_a_bad_config_does_not_begin(streamd_: Call, config: Write, tmp_path: Path, text: str) -> None:
    told = streamd_("run", "-c", config(text))
    assert told.code == 2
    assert told.err.startswith("streamd: ")
    assert not (tmp_path / "state").exists()
