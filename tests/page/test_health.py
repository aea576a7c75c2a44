import msgspec

from streamd import metrics
from streamd.page import health


def figures(found: health.Health) -> dict[str, health.Figure]:
    return {figure.name: figure for section in found.sections for figure in section.figures}


def test_it_tells_what_the_metrics_tell():
    metrics.refused.labels("test_health").inc(3)
    metrics.journal_bytes.set_function(lambda: 4711)  # as the daemon does, which other tests may have had run here
    found = figures(health.look([], "1", 10.0, 4.0))
    assert [one.value for one in found["streamd_journal_bytes"].samples] == [4711.0]
    refused = {one.labels["reason"]: one.value for one in found["streamd_refused"].samples}
    assert refused["test_health"] >= 3.0
    assert found["streamd_refused"].help.startswith("Messages, or readings")


def test_it_is_ready_without_a_reason_against_it():
    assert health.look([], "1", 10.0, 4.0).ready
    found = health.look(["the broker is away"], "1", 10.0, 4.0)
    assert (found.ready, found.reasons) == (False, ["the broker is away"])


def test_no_metric_is_told_twice_and_all_can_be_written():
    found = health.look([], "1", 10.0, 4.0)
    names = [figure.name for section in found.sections for figure in section.figures]
    assert len(names) == len({*names})
    assert msgspec.json.decode(msgspec.json.encode(found))["since"] == 4.0
