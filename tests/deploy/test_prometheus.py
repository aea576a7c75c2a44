"""The scrape config and the alert rules, by promtool and against the metrics that the daemon declares."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.deploy.promtool import promtool, unknown

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "deploy" / "prometheus"
RULES = FOLDER / "alerts.yml"
CASES = Path(__file__).with_name("alerts.yml")


def alerts() -> list[dict[str, object]]:
    found: list[dict[str, object]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return found


def test_promtool_finds_nothing_wrong_with_the_scrape_config_and_the_rules() -> None:
    for arguments in (("config", str(FOLDER / "prometheus.yml")), ("rules", "--lint-fatal", str(RULES))):
        judged = promtool("check", *arguments)
        assert judged.returncode == 0, judged.stdout + judged.stderr


def test_each_alert_fires_when_it_should_and_not_when_it_should_not() -> None:
    judged = promtool("test", "rules", str(CASES))
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_each_alert_is_among_those_that_were_made_to_fire() -> None:
    fired = {
        case["alertname"]
        for test in yaml.safe_load(CASES.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }
    assert fired == {alert["alert"] for alert in alerts()}


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_an_alert_asks_for_metrics_and_labels_that_the_daemon_declares(alert: dict[str, object]) -> None:
    assert unknown(str(alert["expr"])) == set()


def test_what_the_daemon_does_not_declare_is_found_out() -> None:
    assert unknown('rate(streamd_readings{outcome="taken"}[5m]) > 0') == {"streamd_readings"}
    assert unknown('rate(streamd_readings_total{result="taken", job="x"}[5m])') == {"streamd_readings_total{result}"}
    assert unknown("streamd_latency_seconds_bucket") == set()


def test_the_runbook_has_a_section_for_each_alert_and_none_for_others() -> None:
    text = (ROOT / "deploy" / "README.md").read_text()
    sections = set(re.findall(r"^### (Streamd\w+)$", text, re.MULTILINE))
    assert sections == {alert["alert"] for alert in alerts()}


def test_the_scrape_config_asks_where_the_daemon_answers_by_default() -> None:
    text = (ROOT / "configs" / "example.toml").read_text()
    port = re.search(r"^port = (\d+) .*named in the log", text, re.MULTILINE)
    assert port is not None
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert config["scrape_configs"][0]["static_configs"][0]["targets"] == [f"127.0.0.1:{port[1]}"]
    assert config["scrape_configs"][0]["job_name"] == "streamd"  # StreamdDown goes by it
