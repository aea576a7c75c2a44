"""Pieces are chosen by name, scores are kept where they can be measured again, and each set shows its own table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import anomaly, passes, recall, signals
from tests.benchmarks.anomaly import Asked, chosen, figures, jobs, score, show
from tests.benchmarks.corpora import Part


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four SKAB files of noise with a shift in the last rows, which are labelled."""
    for number in range(4):
        chance = np.random.default_rng(number)
        path = tmp_path / "skab" / "valve1" / f"{number}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = chance.normal(size=(450, 2)) + 30.0 * (np.arange(450) >= 420)[:, None]
        lines = [
            f"2020-03-09 1{number}:{n // 60:02}:{n % 60:02};{a};{b};{float(n >= 420)};0.0"
            for n, (a, b) in enumerate(values.tolist())
        ]
        path.write_text("datetime;Current;Pressure;anomaly;changepoint\n" + "\n".join(lines) + "\n")
    return tmp_path


def test_halves_are_disjoint_and_every_other_one_is_left_out(data: Path) -> None:
    names = [part.name for part in chosen("skab", data, None, 1)]
    assert names == [f"valve1/{n}" for n in range(4)]
    even, odd = ([part.name for part in chosen("skab", data, half, 1)] for half in ("even", "odd"))
    assert sorted(even + odd) == names
    assert [part.name for part in chosen("skab", data, None, 3)] == ["valve1/0", "valve1/3"]


@pytest.mark.parametrize("together", [False, True])
def test_scores_are_kept_and_measured_from_there(
    data: Path, tmp_path: Path, together: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Asked(data, tmp_path / "kept", network=False, together=together)
    pieces = chosen("skab", data, None, 2)
    for job in jobs("skab", pieces, asked):
        job.work(*job.arguments)
    found = figures("skab", pieces, {}, asked)
    assert found["files"] == 2
    label = np.arange(400, 450) >= 420
    assert found["trivial"]["always an alarm"] == {"F1": pytest.approx(60 / 80), "FAR %": 100.0, "MAR %": 0.0}
    alarms = [passes.load(asked.kept(part))["score"][400:] >= 1.0 for part in pieces]
    hits = sum(int((alarm & label).sum()) for alarm in alarms)
    assert found["ours"]["score"]["MAR %"] == pytest.approx(100 * (1 - hits / 60))
    assert hits > 0
    show("skab", found)
    assert "max of z" in capsys.readouterr().out


def test_shifted_files_are_compared_on_the_same_rows(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anomaly.corpora, "MOST_CUT", 15)  # so short a file must have rows left
    asked = Asked(data, tmp_path / "kept", network=False)
    whole, shifted = Part("skab", "valve1/0"), Part("skab-shifted", "valve1/0")
    passes.save(asked.kept(whole), {name: 2.0 * (np.arange(450) >= 430) for name in passes.ARRAYS})
    cut = anomaly.corpora.cut_of(shifted, data)
    passes.save(asked.kept(shifted), {name: 2.0 * (np.arange(450 - cut) >= 0) for name in passes.ARRAYS})
    found = figures("skab-shifted", [shifted], {}, asked)["ours"]["score"]
    assert found["uncut F1"] == pytest.approx(2 * 20 / (30 + 20))
    assert found["FAR %"] == 100.0


def test_a_set_that_is_made_here_has_a_job_for_each_of_its_parts(tmp_path: Path) -> None:
    asked = Asked(tmp_path, tmp_path)
    normal = jobs("normal", [], asked)
    assert len({job.about for job in normal}) == len(normal) == len(signals.KINDS) * len(anomaly.normal.PLANS)
    at_once = jobs("normal", [], Asked(tmp_path, tmp_path, together=True))
    assert len(at_once) == (1 + len(signals.SEVERAL_CHANNELS)) * len(anomaly.normal.PLANS)
    faults = jobs("faults", [], asked)
    assert {job.about for job in faults} == {f"{base}, {name}" for base in recall.BASES for name in recall.WORK}


def test_what_can_not_be_measured_again_and_what_is_unknown_are_refused(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        (["--sets", "skab,yahoo"], "unknown: yahoo"),
        (["--sets", "skab", "--again"], "say --keep"),
        (["--sets", "normal", "--again", "--keep", "."], "say --keep"),
        (["--sets", "smd"], "nothing of smd there"),
    ):
        monkeypatch.setattr(sys, "argv", ["anomaly.py", str(data), *arguments])
        with pytest.raises(SystemExit):
            anomaly.main()
        assert message in capsys.readouterr().err


def test_kept_scores_have_a_number_for_every_row(data: Path, tmp_path: Path) -> None:
    asked = Asked(data, tmp_path / "kept", network=False)
    score([Part("skab", "valve1/1")], asked)
    found = passes.load(tmp_path / "kept" / "skab" / "valve1" / "1.npz")
    assert set(found) == set(passes.ARRAYS)
    assert all(len(one) == 450 and np.isfinite(one).all() for one in found.values())


def test_both_profiles_are_measured_in_one_run_and_kept_apart(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for profile in anomaly.PROFILES:
        asked = Asked(data, tmp_path / "kept" / profile, network=False, profile=profile)
        score(chosen("skab", data, None, 2), asked)
    again = ["--sets", "skab", "--every", "2", "--network", "off", "--profile", "both", "--again"]
    rest = ["--keep", str(tmp_path / "kept"), "--json", str(tmp_path / "found.json")]
    monkeypatch.setattr(sys, "argv", ["anomaly.py", str(data), *again, *rest])
    anomaly.main()
    shown = capsys.readouterr().out
    assert shown.index("full profile") < shown.index("max of z") < shown.index("compact profile")
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found) == set(anomaly.PROFILES)
    assert all(one["skab"]["files"] == 2 for one in found.values())
