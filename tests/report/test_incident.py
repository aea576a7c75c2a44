"""The page of one incident: complete, self-contained, and safe whatever names are in it."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from streamd.explaining import explain
from streamd.portrait import picture
from streamd.report.incident import page
from tests.incidents import state_folder


@pytest.fixture
def drawn(tmp_path):
    return picture(explain(tmp_path, state_folder(tmp_path)))


def figures(text):
    return json.loads(re.search(r"const figures = (.*);\n", text).group(1))


def test_it_needs_nothing_from_elsewhere_and_leaves_no_place_open(drawn):
    text = page(drawn)
    assert "<!--streamd:" not in text
    assert "default-src 'none'" in text
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", text)


def test_each_channel_has_a_panel_with_its_values_and_its_band(drawn):
    made = figures(page(drawn))["channels"]
    assert len(made["data"]) == 4 * len(drawn.channels)
    values = next(one for one in made["data"] if one.get("name") == "b")
    assert values["y"] == pytest.approx(drawn.values[:, 0].tolist())
    assert values["x"][0] == 1000 * drawn.times[0]
    assert made["layout"]["shapes"][0]["x0"] == 1000 * drawn.start
    assert made["layout"]["xaxis"] == {"type": "date", "anchor": "y2"}
    assert {one["name"] for one in figures(page(drawn))["scores"]["data"]} == set(drawn.scores)


def test_times_that_are_plain_numbers_stay_so(drawn):
    made = figures(page(dataclasses.replace(drawn, clock=False)))["channels"]
    assert "type" not in made["layout"]["xaxis"]
    assert made["data"][0]["x"][0] == drawn.times[0]


def test_names_can_not_break_out(drawn):
    odd = "</script><script>alert(1)</script>"
    text = page(dataclasses.replace(drawn, title=odd, channels=[odd, "y"], sentences=[odd], like=((odd,), [[odd]])))
    assert odd not in text
    assert "alert(1)" in text


def test_an_incident_without_a_forerunner_says_so(drawn):
    assert "There is none." in page(dataclasses.replace(drawn, like=(("a",), [])))
