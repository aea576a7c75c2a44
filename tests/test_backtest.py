"""A backtest sees nothing ahead of its row, and its measures are what one would work out by hand."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from streamd.against.contest import Contest
from streamd.backtest import SETTLED_FROM, STREAM, backtest
from streamd.config import Group, Network, Training
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.engine.score import TERMS
from streamd.records import Array, Batch, Incident, Outcome
from streamd.table import Table, open_table

START = 1_700_000_000
CHANNELS = ("flow", "pressure")
H = 3
TRAINING = Training(
    every_frames=8, lag_frames=4, windows=4, steps=2, burn_in_frames=2, train_frames=8, memory_windows=32
)
SETTINGS = Group(horizon_steps=H, network=Network(hidden=8, layers=1), training=TRAINING)
MEASURES = ("mae", "mse", "mase", "persistence_mae", "persistence_mse", "coverage")

Cells = Sequence[object]


def pump(rows: int) -> list[list[object]]:
    """Time and two coupled channels, one row a second; the same each time."""
    chance = random.Random(7)
    made: list[list[object]] = []
    for n in range(rows):
        flow = 30.0 + 4.0 * math.sin(n / 5.0) + chance.gauss(0.0, 0.2)
        made.append([START + n, flow, 2.0 + flow / 50.0 + chance.gauss(0.0, 0.01)])
    return made


def write(path: Path, rows: Sequence[Cells], header: Sequence[str] = ("time", *CHANNELS)) -> Table:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return open_table(path)


def run(
    folder: Path, rows: Sequence[Cells], settings: Group = SETTINGS, name: str = "data"
) -> tuple[dict[str, Any], Mapping[str, Array]]:
    """Summary and arrays."""
    out = folder / f"{name}.npz"
    summary = backtest(write(folder / f"{name}.csv", rows), settings, out=out)
    with np.load(out, allow_pickle=False) as arrays:
        return summary, dict(arrays)


def per_row(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array for name, array in arrays.items() if name != "channels"}


# --- no look ahead ---


@pytest.mark.parametrize("n", [5, 120, 200])
def test_rows_that_come_later_leave_everything_up_to_a_row_alone(tmp_path: Path, n: int) -> None:
    rows = pump(240)
    later: list[Cells] = [[row[0], 1000.0 + at, ""] for at, row in enumerate(rows)]
    summary, one = run(tmp_path, rows, name="one")
    _, other = run(tmp_path, [*rows[: n + 1], *later[n + 1 :]], name="other")
    assert summary["candidates"]["accepted"] > 0  # the network had something to give away
    for name, array in per_row(one).items():
        np.testing.assert_array_equal(array[: n + 1], other[name][: n + 1], err_msg=name)
    assert not np.array_equal(one["forecast"][n + 1 :], other["forecast"][n + 1 :])


def test_the_length_of_the_file_changes_nothing(tmp_path: Path) -> None:
    rows = pump(240)
    _, whole = run(tmp_path, rows, name="whole")
    _, part = run(tmp_path, rows[:151], name="part")
    for name, array in per_row(part).items():
        np.testing.assert_array_equal(array, whole[name][:151], err_msg=name)


def test_each_row_gets_what_the_engine_gives_when_it_comes_alone(tmp_path: Path) -> None:
    rows = pump(200)
    _, arrays = run(tmp_path, rows)
    engine = Engine(replace(SETTINGS, channels=CHANNELS), InlineTrainer())
    for n, (time, *values) in enumerate(rows):
        outcome = engine.apply(Batch((STREAM,), np.array([time], float), np.array([values], float)))
        for name, found in (("forecast", outcome.mean), ("upper", outcome.upper), ("score", outcome.score)):
            np.testing.assert_array_equal(arrays[name][n], found[0], err_msg=f"{name} of row {n}")


# --- what the file of outcomes holds ---


def test_the_file_of_outcomes_holds_every_row_under_the_names_that_others_build_on(tmp_path: Path) -> None:
    N, C = 50, len(CHANNELS)
    rows = pump(N)
    _, arrays = run(tmp_path, rows)
    assert {name: array.shape for name, array in arrays.items()} == {
        "time": (N,),
        "value": (N, C),
        "forecast": (N, H, C),
        "lower": (N, H, C),
        "upper": (N, H, C),
        "score": (N,),
        "channel_score": (N, C),
        "alarm": (N,),
        "channels": (C,),
        **dict.fromkeys(TERMS, (N,)),
    }
    assert arrays["alarm"].dtype == bool
    assert arrays["channels"].tolist() == list(CHANNELS)
    assert arrays["time"].tolist() == [row[0] for row in rows]
    assert arrays["value"].tolist() == [row[1:] for row in rows]


def test_a_score_on_the_line_is_an_alarm_and_an_incident_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [0.0, 0.999, 1.0, 1.5, 40.0, 0.5, 0.4, 1.2]
    told = {2: "raised", 4: "updated", 6: "cleared", 7: "raised"}

    class Scripted(Engine):
        def apply(self, batch: Batch) -> Outcome:
            outcome = super().apply(batch)
            n = int(outcome.seq[0])
            incident = Incident(f"{STREAM}-2", STREAM, told.get(n, "updated"), 0.0, 0.0, None, 1.0, {})  # type: ignore[arg-type]
            return dataclasses.replace(outcome, score=np.array([scores[n]]), incidents=(incident,) if n in told else ())

    monkeypatch.setattr("streamd.backtest.Engine", Scripted)
    summary, arrays = run(tmp_path, pump(len(scores)))
    assert arrays["score"].tolist() == scores
    assert arrays["alarm"].tolist() == [False, False, True, True, True, False, False, True]
    assert summary["alarms"] == 4
    assert summary["incidents"] == 2


def test_a_summary_is_plain_json(tmp_path: Path) -> None:
    summary, _ = run(tmp_path, pump(40))
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


# --- measures ---


def naive(arrays: Mapping[str, Array], rows: Sequence[int]) -> dict[str, dict[str, list[float | None]]]:
    """The measures over some rows, forecast by forecast."""
    value = arrays["value"]
    found: dict[str, dict[str, list[float | None]]] = {name: {} for name in MEASURES}
    for c, channel in enumerate(CHANNELS):
        for measure in found.values():
            measure[channel] = []
        for h in range(1, H + 1):
            errors, persistence, inside = [], [], []
            for n in rows:
                if n < h or math.isnan(value[n, c]):
                    continue
                seen = [value[m, c] for m in range(n - h + 1) if not math.isnan(value[m, c])]
                made = {name: arrays[name][n - h, h - 1, c] for name in ("forecast", "lower", "upper")}
                if seen and not math.isnan(made["forecast"]):
                    errors.append(value[n, c] - made["forecast"])
                    persistence.append(value[n, c] - seen[-1])
                if not math.isnan(made["lower"]):
                    inside.append(made["lower"] <= value[n, c] <= made["upper"])
            mae, flat = (np.mean(np.abs(each)) if each else None for each in (errors, persistence))
            found["mae"][channel].append(mae)
            found["persistence_mae"][channel].append(flat)
            found["mase"][channel].append(mae / flat if mae is not None and flat else None)
            found["mse"][channel].append(np.mean(np.square(errors)) if errors else None)
            found["persistence_mse"][channel].append(np.mean(np.square(persistence)) if persistence else None)
            found["coverage"][channel].append(np.mean(inside) if inside else None)
    return found


def check(summary: Mapping[str, Any], wanted: Mapping[str, Mapping[str, list[float | None]]]) -> None:
    for name in MEASURES:
        assert list(summary[name]) == list(CHANNELS)
        for channel in CHANNELS:
            assert summary[name][channel] == pytest.approx(wanted[name][channel], rel=1e-9), (name, channel)


def test_the_measures_are_those_of_a_count_by_hand_also_where_cells_are_missing(tmp_path: Path) -> None:
    rows = pump(160)
    rows[0][2] = ""  # a channel that comes late
    for n in (1, 2, 50, 51, 52, 53, 100):
        rows[n][1 + n % 2] = "nan"
    rows[70][1:] = ["", ""]
    summary, arrays = run(tmp_path, rows)
    assert summary["rows"] == len(rows) == len(arrays["value"])
    assert np.isnan(arrays["value"]).sum() == 10
    check(summary, naive(arrays, range(len(rows))))
    assert summary["mase"]["flow"][0] != 1.0


def test_settled_measures_begin_after_the_first_quarter_of_the_file(tmp_path: Path) -> None:
    rows = pump(160)
    summary, arrays = run(tmp_path, rows)
    lines = (tmp_path / "data.csv").read_bytes().splitlines(keepends=True)
    read = np.cumsum([len(line) for line in lines])[1:] / sum(map(len, lines))
    settled = [n for n in range(len(rows)) if read[n] >= SETTLED_FROM]
    assert 0 < settled[0] < len(rows) / 2
    assert summary["settled"]["rows"] == len(settled)
    check(summary["settled"], naive(arrays, settled))
    assert summary["settled"]["mae"] != summary["mae"]


def test_a_file_too_short_to_learn_from_is_forecast_as_the_last_value(tmp_path: Path) -> None:
    summary, arrays = run(tmp_path, pump(2))
    assert summary["candidates"] == {"accepted": 0, "rejected": 0}
    np.testing.assert_array_equal(arrays["forecast"], np.repeat(arrays["value"][:, None], H, axis=1))
    assert summary["mae"] == summary["persistence_mae"]
    assert summary["mase"] == {channel: [1.0] + [None] * (H - 1) for channel in CHANNELS}


def test_a_horizon_longer_than_the_file_is_measured_as_far_as_it_goes(tmp_path: Path) -> None:
    settings = replace(SETTINGS, horizon_steps=12)
    summary, arrays = run(tmp_path, pump(8), settings)
    assert arrays["forecast"].shape == (8, 12, 2)
    for name in ("mae", "mse", "mase"):
        steps = summary[name]["flow"]
        assert [value is None for value in steps] == [False] * 7 + [True] * 5


def test_one_row_is_enough(tmp_path: Path) -> None:
    summary, arrays = run(tmp_path, pump(1))
    assert summary["rows"] == 1
    assert summary["mae"] == {channel: [None] * H for channel in CHANNELS}
    assert arrays["forecast"].tolist() == [arrays["value"].tolist() * H]


def test_a_file_that_has_lost_its_rows_gives_an_empty_summary_and_no_outcomes(tmp_path: Path) -> None:
    table = write(tmp_path / "data.csv", pump(5))
    table.path.write_text("time,flow,pressure\n")
    summary = backtest(table, SETTINGS, out=tmp_path / "out.npz")
    assert summary["rows"] == summary["settled"]["rows"] == 0
    assert summary["mae"] == {channel: [None] * H for channel in CHANNELS}
    assert not (tmp_path / "out.npz").exists()


# --- beside the engine ---


def test_baselines_beside_it_change_nothing_of_what_the_engine_does(tmp_path: Path) -> None:
    rows = pump(120)
    alone, arrays = run(tmp_path, rows)
    against = ("persistence", "seasonal:10", "zscore")
    summary = backtest(open_table(tmp_path / "data.csv"), SETTINGS, out=tmp_path / "beside.npz", against=against)
    with np.load(tmp_path / "beside.npz") as beside:
        assert set(beside) - set(arrays) == {"against_zscore"}
        assert beside["against_zscore"].shape == (120,)
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, beside[name], err_msg=name)
    assert list(summary["against"]) == list(against)
    assert "against" not in alone
    for part, of in ((summary, summary["against"]["persistence"]), (summary["settled"], None)):
        told = summary["against"]["persistence"]["settled"] if of is None else of
        for channel in CHANNELS:
            assert told["mae"][channel] == pytest.approx(part["persistence_mae"][channel])


def test_the_time_of_the_baselines_is_not_counted_as_the_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = [0.0]
    monkeypatch.setattr("streamd.backtest.time.perf_counter", lambda: ticks[0])

    def slow(self: Contest, *_: object, **__: object) -> dict[str, float]:
        ticks[0] += 100.0
        return {}

    monkeypatch.setattr(Contest, "step", slow)
    summary = backtest(write(tmp_path / "data.csv", pump(5)), SETTINGS, against=("persistence",))
    assert summary["seconds"] == 0.0


def test_the_page_is_about_the_same_run(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    summary = backtest(write(tmp_path / "data.csv", pump(60)), SETTINGS, report=page, against=("seasonal:10",))
    text = page.read_text(encoding="utf-8")
    assert "60 readings of 2 channels" in text
    assert f">{summary['incidents']}<" in text
    assert "seasonal:10" in text


# --- rows that do not fit ---


def test_late_and_double_rows_are_counted_and_have_no_outcome(tmp_path: Path) -> None:
    rows = pump(30)
    odd: list[Cells] = [*rows[:10], rows[9], rows[4], *rows[10:]]
    summary, arrays = run(tmp_path, odd, name="odd")
    assert summary["dropped"] == {"double": 1, "late": 1}
    assert summary["rows"] == 30
    _, plain = run(tmp_path, rows, name="plain")
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, plain[name], err_msg=name)


def test_a_channel_that_is_never_there_is_forecast_as_nothing(tmp_path: Path) -> None:
    rows = [[row[0], row[1], ""] for row in pump(20)]
    path = tmp_path / "data.csv"
    write(path, rows)
    table = open_table(path, channels=CHANNELS)
    summary = backtest(table, SETTINGS, out=tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        assert np.isnan(arrays["forecast"][:, :, 1]).all()
        assert np.isfinite(arrays["forecast"][:, :, 0]).all()
    assert summary["mae"]["pressure"] == summary["coverage"]["pressure"] == [None] * H


# --- around it ---


def test_the_channels_are_the_files_whatever_the_settings_say(tmp_path: Path) -> None:
    settings = replace(SETTINGS, channels=("speed",))
    summary, _ = run(tmp_path, pump(10), settings)
    assert summary["channels"] == list(CHANNELS)


def test_progress_is_told_row_by_row_up_to_the_end(tmp_path: Path) -> None:
    shares: list[float] = []
    backtest(write(tmp_path / "data.csv", pump(25)), SETTINGS, on_row=shares.append)
    assert len(shares) == 25
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_second_run_over_the_same_file_gives_the_same_bits(tmp_path: Path) -> None:
    rows = pump(200)
    _, one = run(tmp_path, rows, name="one")
    _, other = run(tmp_path, rows, name="other")
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)
