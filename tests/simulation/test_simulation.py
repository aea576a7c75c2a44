"""Some worlds of bad weather, and the planted bugs that must be found in them."""

from __future__ import annotations

import pytest

from streamd import metrics
from tests.simulation.__main__ import again, run
from tests.simulation.bugs import PLANTED

SEEDS, HOURS = 50, 20.0  # `make simulate` runs more
SEEDS_TO_FIND = 30  # in which each planted bug must show

MET = {  # what the worlds must have met, or they prove little: metric, labels, at least
    "streamd_commits_total": ({"result": "failed"}, 100),
    "streamd_checkpoints_total": ({"result": "failed"}, 20),
    "streamd_recovered_records_total": ({}, 5000),
    "streamd_dropped_total": ({"queue": "inbox", "reason": "received_before"}, 200),
    "streamd_readings_total": ({"group": "timed", "outcome": "double"}, 300),
    "streamd_spilled_streams_total": ({"group": "plain"}, 300),
    "streamd_candidates_total": ({"group": "timed", "verdict": "better"}, 50),
}


def counts() -> dict[str, float]:
    return {name: metrics.registry.get_sample_value(name, labels) or 0.0 for name, (labels, _) in MET.items()}


def test_worlds_of_bad_weather_break_no_promise() -> None:
    before = counts()
    results = [run(seed, HOURS) for seed in range(SEEDS)]
    failures = [f"{result.broken}; {again(result.seed, HOURS, None, False)}" for result in results if result.broken]
    assert not failures, "\n".join(failures)
    assert sum(result.deaths for result in results) > 5 * SEEDS
    assert sum(result.readings for result in results) > 300 * SEEDS
    met = {name: count - before[name] for name, count in counts().items()}
    assert all(met[name] >= least for name, (_, least) in MET.items()), met


@pytest.mark.parametrize("seed", range(2))
def test_the_real_engine_comes_out_of_bad_weather_bit_for_bit(seed: int) -> None:
    result = run(seed, HOURS, real=True)
    assert not result.broken, f"{result.broken}; {again(seed, HOURS, None, True)}"


@pytest.mark.parametrize("bug", [None, "truncate_before_checkpoint"])
def test_a_seed_gives_the_same_world_again(bug: str | None) -> None:
    assert run(6, HOURS, bug=bug) == run(6, HOURS, bug=bug)


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug: str) -> None:
    assert any(run(seed, HOURS, bug=bug).broken for seed in range(SEEDS_TO_FIND))
