"""A file alone is what `streamd backtest` writes of it, and one file of many at once is the same to the bit."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from streamd.backtest import backtest
from streamd.config import Group, Training
from streamd.table import open_table
from tests.benchmarks.passes import ARRAYS, File, alone, load, save, together

SETTINGS = msgspec.structs.replace(Group(), horizon_steps=3, training=Training(enabled=False))
START = 1_700_000_000


@pytest.fixture
def pump(tmp_path: Path) -> File:
    """Two channels and a label; row 150 comes twice and row 160 late."""
    chance = np.random.default_rng(1)
    rows = [f"{START + 60 * n},{a},{b},1" for n, (a, b) in enumerate(chance.normal(size=(400, 2)))]
    rows.insert(151, rows[150])
    rows.insert(161, rows[100])
    path = tmp_path / "pump.csv"
    path.write_text("time,flow,heat,label\n" + "\n".join(rows) + "\n")
    return File(path, ("-label",))


def test_every_row_of_the_file_has_its_scores_and_those_left_out_have_none(pump: File, tmp_path: Path) -> None:
    found = alone(pump, SETTINGS)
    backtest(open_table(pump.path, None, pump.channels), SETTINGS, out=tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        assert arrays["channels"].tolist() == ["flow", "heat"]
        for name in ARRAYS:
            assert len(found[name]) == 402
            assert np.flatnonzero(np.isnan(found[name])).tolist() == [151, 161]
            np.testing.assert_array_equal(np.delete(found[name], [151, 161]), arrays[name])
    assert np.nanmax(found["score"]) > 0.0


def test_one_file_through_one_engine_is_the_same_as_alone(pump: File) -> None:
    one, (other,) = alone(pump, SETTINGS), together([pump], SETTINGS)
    for name in ARRAYS:
        np.testing.assert_array_equal(one[name], other[name])


def test_files_of_different_length_and_time_go_together(pump: File, tmp_path: Path) -> None:
    chance = np.random.default_rng(2)
    rows = [f"{2 * START + 600 * n},{a},{b},0" for n, (a, b) in enumerate(chance.normal(size=(90, 2)))]
    short = File(tmp_path / "short.csv", ("-label",))
    short.path.write_text("time,flow,heat,label\n" + "\n".join(rows) + "\n")
    first, second = together([pump, short], SETTINGS)
    assert (len(first["score"]), len(second["score"])) == (402, 90)
    assert np.isfinite(second["score"]).all()
    with pytest.raises(ValueError, match="different channels"):
        together([pump, File(short.path)], SETTINGS)


def test_what_is_kept_has_a_number_in_each_row(tmp_path: Path) -> None:
    save(tmp_path / "deep" / "one.npz", {"score": np.array([0.5, np.nan, 2.0])})
    assert load(tmp_path / "deep" / "one.npz")["score"].tolist() == [0.5, 0.0, 2.0]
