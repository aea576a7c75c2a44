"""Killed at any moment, by name or by chance, the daemon goes on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

from tests.crash.kills import AT_RANDOM, PLANNED, run
from tests.crash.trial import Report

# As many as there are moments that have a name, and a few that have none. Some lives end before their call comes: which
# ones depends on the machine, so less is asked for than every moment.
KILLS = len(PLANNED) + AT_RANDOM
MOMENTS = 25
SEED = 1


def told(report: Report) -> str:
    untimed = "" if report.timed else " --untimed"
    again = f"again: python -m tests.crash.kills --kills {report.kills} --seed {report.seed}{untimed}"
    return "\n".join([*report.wrong, again])


def test_kills_at_every_moment_leave_the_state_and_the_outcomes_of_an_undisturbed_run(tmp_path: Path) -> None:
    report = run(KILLS, SEED, tmp_path, timed=True)
    assert not report.wrong, told(report)
    assert report.kills == KILLS
    assert len(report.struck) >= MOMENTS, report.struck
    assert (report.lost, report.doubled) == (0, 0)
    assert report.repeated > 0  # else no kill has hit anything
    assert report.incidents > 0


def test_readings_without_a_time_of_their_own_are_in_the_state_exactly_once_after_kills(tmp_path: Path) -> None:
    report = run(14, SEED, tmp_path, timed=False)
    assert not report.wrong, told(report)
    assert (report.lost, report.doubled) == (0, 0)
    assert report.recovered_records > 0
