"""The dashboards: what is committed is what the script makes, and each expression is one that Prometheus can answer."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.deploy.promtool import problems, samples, unknown

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "grafana"
BOARDS = sorted((FOLDER / "dashboards").glob("*.json"))
each_board = pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def board(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def expressions(path: Path) -> Iterator[str]:
    """Of every panel, with what Grafana would put in for its variables."""
    for panel in board(path)["panels"]:
        for target in panel["targets"]:
            filled = target["expr"].replace("$__rate_interval", "1m")
            for variable in board(path)["templating"]["list"]:
                filled = filled.replace(f"${variable['name']}", variable["allValue"])
            yield filled


def test_what_is_committed_is_what_the_script_makes() -> None:
    assert {path.name: path.read_text() for path in BOARDS} == script().files()


@each_board
def test_prometheus_can_read_every_expression(path: Path, tmp_path: Path) -> None:
    found = list(expressions(path))
    assert found
    assert not any("$" in one for one in found), "a variable that the dashboard does not have"
    assert problems(found, tmp_path) == ""


def test_an_expression_that_can_not_be_read_is_found_out(tmp_path: Path) -> None:
    assert "unclosed left parenthesis" in problems(["sum(streamd_streams"], tmp_path)


@each_board
def test_every_expression_asks_for_metrics_and_labels_that_the_daemon_declares(path: Path) -> None:
    assert {one: unknown(one) for one in expressions(path) if unknown(one)} == {}


@each_board
def test_variables_ask_for_labels_that_the_daemon_declares(path: Path) -> None:
    for variable in board(path)["templating"]["list"]:
        selector, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
        assert unknown(selector) == set()
        assert label in samples()[selector.split("{")[0]] | {"instance"}


@each_board
def test_panels_do_not_lie_over_each_other_nor_beside_the_page(path: Path) -> None:
    taken = set()
    for panel in board(path)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboards_ask_the_data_source_that_is_provisioned() -> None:
    sources = yaml.safe_load((FOLDER / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    uids = {
        target["datasource"]["uid"] for path in BOARDS for one in board(path)["panels"] for target in one["targets"]
    }
    assert uids == {source["uid"] for source in sources}
