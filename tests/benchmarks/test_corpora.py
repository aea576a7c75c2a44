"""Labels stay out of the channels, windows lie where their times are, and what is cut off is cut off the labels too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from streamd.table import open_table
from tests.benchmarks import corpora
from tests.benchmarks.corpora import Part

ROWS = 420
SENSORS = ("Current", "Pressure")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A little of each set, in their own forms."""
    for name in ("valve1/0", "other/1"):
        path = tmp_path / "skab" / f"{name}.csv"
        path.parent.mkdir(parents=True)
        lines = [f"2020-03-09 10:{n // 60:02}:{n % 60:02};{n};{n % 7};{float(n >= 410)};0.0" for n in range(ROWS)]
        path.write_text("datetime;Current;Pressure;anomaly;changepoint\n" + "\n".join(lines) + "\n")
    stamps = [f"2014-04-01 {n // 60:02}:{n % 60:02}:00" for n in range(ROWS)]
    stamps[11] = stamps[10]  # a time that comes twice counts where it comes first
    nab = tmp_path / "nab" / "data" / "realTweets"
    nab.mkdir(parents=True)
    (nab / "x.csv").write_text("timestamp,value\n" + "".join(f"{stamp},{n}\n" for n, stamp in enumerate(stamps)))
    (tmp_path / "nab" / "labels").mkdir()
    windows = {"realTweets/x.csv": [[f"{stamps[10]}.000000", f"{stamps[20]}.000000"]]}
    (tmp_path / "nab" / "labels" / "combined_windows.json").write_text(json.dumps(windows))
    (tmp_path / "smd").mkdir()
    chance = np.random.default_rng(0)
    np.savez(
        tmp_path / "smd" / "machine-9-9.npz",
        train=chance.random((60, 3), np.float32),
        test=chance.random((40, 3), np.float32),
        test_label=(np.arange(40) >= 30).astype(np.uint8),
    )
    return tmp_path


def test_the_pieces_are_found_by_name(data: Path) -> None:
    assert [part.name for part in corpora.parts("nab", data)] == ["realTweets/x"]
    assert [part.name for part in corpora.parts("smd", data)] == ["machine-9-9"]
    for which in ("skab", "skab-shifted"):
        assert [part.name for part in corpora.parts(which, data)] == ["other/1", "valve1/0"]


def test_a_window_lies_where_its_times_are(data: Path) -> None:
    (part,) = corpora.parts("nab", data)
    assert np.flatnonzero(corpora.nab_labels(part, data).window == 0).tolist() == list(range(10, 21))
    assert corpora.nab_values(part, data).tolist() == list(range(ROWS))


def test_labels_are_no_channels(data: Path, tmp_path: Path) -> None:
    for which in ("skab", "skab-shifted"):
        for part in corpora.parts(which, data):
            file = corpora.file_of(part, data, tmp_path)
            assert open_table(file.path, None, file.channels).channels == SENSORS


def test_what_is_cut_off_a_file_is_cut_off_its_labels(data: Path, tmp_path: Path) -> None:
    whole, _ = corpora.skab_table(Part("skab", "valve1/0"), data)
    part = Part("skab-shifted", "valve1/0")
    cut, (values, label) = corpora.cut_of(part, data), corpora.skab_table(part, data)
    assert 0 < cut <= corpora.MOST_CUT
    assert cut != corpora.cut_of(Part("skab-shifted", "other/1"), data)
    np.testing.assert_array_equal(values, whole[cut:])
    assert label.tolist() == [n >= 410 for n in range(cut, ROWS)]
    file = corpora.file_of(part, data, tmp_path)
    assert [row.values for row in open_table(file.path, None, file.channels).rows()] == values.tolist()


def test_a_machine_is_its_training_rows_and_then_its_test_rows(data: Path, tmp_path: Path) -> None:
    (part,) = corpora.parts("smd", data)
    machine = corpora.smd(part, data)
    file = corpora.file_of(part, data, tmp_path)
    rows = list(open_table(file.path, None, file.channels).rows())
    np.testing.assert_array_equal([row.values for row in rows], np.concatenate([machine.train, machine.test]))
    assert (np.diff([row.time for row in rows]) == 60.0).all()
    thin = corpora.smd(part, data, rows=50)
    np.testing.assert_array_equal(thin.test, machine.test[::2])
    assert (thin.step_s, thin.label.sum()) == (120, 5)
