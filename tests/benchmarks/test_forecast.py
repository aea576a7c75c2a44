"""The table is made from the rows that the protocol names, and says of itself whether it was reached."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.forecast import SETS, Run, _write, run, show


def table(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def passengers(tmp_path: Path) -> tuple[Path, list[float]]:
    values = [100.0 + n + 30.0 * math.sin(n / 12 * 2 * math.pi) for n in range(144)]
    rows: list[list[object]] = [[f"{1949 + n // 12}-{n % 12 + 1:02}", value] for n, value in enumerate(values)]
    table(tmp_path / SETS["airline"].file, ["Month", "Passengers"], rows)
    return tmp_path, values


def test_the_beijing_rows_are_those_of_the_tutorial(tmp_path: Path) -> None:
    header = ["No", "year", "month", "day", "hour", "pm2.5", "cbwd"]
    rows: list[list[object]] = [[n, 2010, 1, 1 + n // 24, n % 24, "NA" if n == 30 else n, "NW"] for n in range(40)]
    source = table(tmp_path / "pollution.csv", header, rows)
    for name, cell in (("pm25", "0"), ("pm25-missing", "NA")):
        _write(SETS[name], source, tmp_path / "cut.csv")
        found = read(tmp_path / "cut.csv")
        assert len(found) == 16
        assert found[0] == {"time": "2010-1-2 0:00", "pm2.5": "24", "cbwd": "NW"}
        assert found[6]["pm2.5"] == cell


def test_a_long_file_is_cut_to_the_rows_that_are_used(tmp_path: Path) -> None:
    rows: list[list[object]] = [[n, n] for n in range(14_500)]
    _write(SETS["ETTh1"], table(tmp_path / "ETTh1.csv", ["date", "OT"], rows), tmp_path / "cut.csv")
    found = read(tmp_path / "cut.csv")
    assert len(found) == 14_400
    assert found[-1]["OT"] == "14399"


def test_a_run_is_measured_from_what_the_backtest_wrote(passengers: tuple[Path, list[float]], tmp_path: Path) -> None:
    data, values = passengers
    found = run(Run("airline", network=False, seed=0), data, horizon=2, keep=tmp_path)
    for name, targets in (("the tutorial's 46 (rows 97 to 142)", range(97, 143)), ("the last 46", range(98, 144))):
        assert len(targets) == 46
        flat = np.sqrt(np.mean([(values[n] - values[n - 1]) ** 2 for n in targets]))
        assert found["one_step"][name]["persistence_rmse"] == pytest.approx(flat)
    with np.load(tmp_path / "airline-off-0-full.npz") as arrays:
        assert arrays["forecast"].shape == (144, 2, 1)
        ours = np.sqrt(np.mean([(values[n] - arrays["forecast"][n - 1, 0, 0]) ** 2 for n in range(98, 144)]))
    assert found["one_step"]["the last 46"]["rmse"] == pytest.approx(ours)


def test_the_table_says_what_was_missed_and_what_the_network_brought(capsys: pytest.CaptureFixture[str]) -> None:
    interval = {
        "coverage": 0.9,
        "worst_channel": 0.88,
        "window": 46,
        "worst_rolling": 0.8,
        "worst_rolling_channel": 0.7,
        "winkler": 1.0,
    }

    def result(network: bool, seed: int, rmse: float, profile: str = "full") -> dict[str, object]:
        part = {"rmse": rmse, "persistence_rmse": 48.66}
        found: dict[str, object] = {"network": network, "seed": seed, "seconds": 1.0, "intervals": {"1": interval}}
        found["profile"] = profile
        return found | {"one_step": {"the tutorial's 46 (rows 97 to 142)": part}}

    some = [result(True, 0, 18.0), result(True, 1, 20.0), result(False, 0, 38.0)]
    show("airline", some)
    on, off = capsys.readouterr().out.split("network off")
    assert "compact" not in off
    assert "19.00 ± 1.41" in on
    assert "wanted 20.00: ok" in on
    assert "wanted 20.00: missed" in off
    assert "wanted .89 to .91: ok" in on
    assert "worst 46 rows 0.700" in on
    assert "wanted .78: missed" in on
    assert "-50.0 %" in off

    show("airline", [*some, result(False, 0, 41.8, "compact")])
    assert "network off: error of compact against full: the tutorial's 46 (rows 97 to 142): +10.0 %" in (
        capsys.readouterr().out
    )
