"""The page is one file that loads nothing, holds everything, stays small, and lets no data out of its place."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from streamd.report import page as module
from streamd.report.page import ReportError, page, require_plotly
from tests.report.runs import START, incident, recording, summary

EVIL = "</script><script>alert(1)</script>&<!--streamd:plotly-->"


class Reader(HTMLParser):
    """What a browser would see: elements, what they load, and text outside of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.text: list[str] = []
        self.scripts: list[str] = []
        self._within: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action"):
                self.loads.append(value or "")
            if name == "id" and value:
                self.ids.add(value)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._within = None

    def handle_data(self, data: str) -> None:
        if self._within == "script":
            self.scripts[-1] += data
        elif self._within != "style":
            self.text.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


def data_of(reader: Reader) -> dict[str, Any]:
    found = json.loads(reader.scripts[1])
    assert isinstance(found, dict)
    return found


def made(recorded: Any = None, **more: Any) -> Reader:
    recorded = recording() if recorded is None else recorded
    return read(page(summary(recorded, **more), recorded, clock=True))


def test_nothing_is_loaded_from_anywhere() -> None:
    text = page(summary(recording()), recording(), clock=True)
    assert read(text).loads == []
    assert "default-src 'none'" in text
    assert "@import" not in text.partition("<script>")[0]


def test_every_figure_has_its_place_and_every_place_its_figure() -> None:
    reader = made()
    named = set(data_of(reader)["figures"])
    assert named == {"forecasts", "fan", "errors", "coverage", "weights", "scores"}
    assert named <= reader.ids
    assert set(re.findall(r'find\("(\w+)"\)', reader.scripts[2])) <= reader.ids


def test_all_channels_and_steps_can_be_chosen() -> None:
    reader = made(recording(channels=("flow", "heat", "noise")))
    traces = data_of(reader)["figures"]["forecasts"]["traces"]
    assert {(one["when"]["channel"], one["when"]["step"]) for one in traces} == {
        (c, s) for c in range(3) for s in range(3)
    }
    assert {"flow", "heat", "noise"} <= set(reader.text)


def test_every_array_that_is_drawn_is_there() -> None:
    data = data_of(made())
    for figure in data["figures"].values():
        for trace in figure["traces"]:
            x, y = (data["arrays"][trace["spec"][axis]["array"]] for axis in ("x", "y"))
            sizes = [len(one["data"]) // (4 if one["kind"] == "f4" else 8) for one in (x, y)]
            assert abs(sizes[0] - sizes[1]) <= 1  # base64's padding


def test_names_out_of_the_data_stay_text() -> None:
    recorded = recording(channels=(EVIL, "heat"))
    recorded = replace(recorded, incidents=(incident(1, START, 2.0, None, **{EVIL: 1.0}),))
    other = {"readings_per_s": 1.0, "settled": {"mase": {EVIL: [1.0] * 4, "heat": [1.0] * 4}}}
    reader = made(recorded, file=f"/tmp/{EVIL}.csv", against={EVIL: other})
    assert len(reader.scripts) == 3
    assert EVIL in reader.text
    assert "&lt;/script&gt;" in json.dumps(data_of(reader)["figures"]["scores"])


def test_the_path_of_the_file_is_not_given_away() -> None:
    assert "/data/" not in "".join(made().text)


def test_the_others_are_listed_with_what_they_failed_at() -> None:
    recorded = recording()
    other = {
        "readings_per_s": 12345.0,
        "not_finite": {"flow": 1, "heat": 2},
        "settled": {"mase": {"flow": [0.5] * 4, "heat": [0.7] * 4}},
    }
    text = made(recorded, against={"snarimax": other, "zscore": {"readings_per_s": 5.0}}).text
    at = text.index("snarimax")
    assert text[at : at + 6] == ["snarimax", "0.6", "0.6", "0.6", "12,345", "3"]
    assert "zscore" not in text


def test_incidents_are_listed_with_their_suspects() -> None:
    told = (
        incident(1, START + 60, 2.5, START + 180, flow=0.2, heat=0.8),
        incident(2, START + 600, 1.5, None, flow=1.0),
    )
    text = made(replace(recording(), incidents=told)).text
    at = text.index("2023-11-14 22:14:20")
    assert text[at : at + 5] == ["2023-11-14 22:14:20", "2 minutes", "2.5", "heat 80 % ", "flow 20 % "]
    assert "still open" in text


def test_a_run_without_weights_says_so() -> None:
    reader = made(recording(told=False))
    assert "This run told no weights." in reader.text
    assert "weights" not in data_of(reader)["figures"]


def test_very_many_channels_are_narrowed_to_what_a_page_can_hold_and_it_is_said() -> None:
    names = tuple(f"c{c}" for c in range(module.SHOWN_CHANNELS + 5))
    reader = made(recording(rows=30, channels=names))
    assert "Drawn are the first 40 channels; 5 more are in the numbers and tables only." in reader.text
    assert names[-1] in reader.text  # in the table


@pytest.mark.parametrize(("rows", "channels", "horizon"), [(57_600, 7, 48), (23_700, 38, 12), (144, 1, 48)])
def test_long_and_wide_files_stay_under_eight_megabytes(rows: int, channels: int, horizon: int) -> None:
    recorded = recording(rows=min(rows, 6000), channels=tuple(f"c{c}" for c in range(channels)), horizon=horizon)
    # the lines are thinned to the same number of points from there on: the length of the file makes no difference
    text = page(_summary_of_ones(recorded), recorded, clock=True)
    assert len(text.encode()) < 8e6


def _summary_of_ones(recorded: Any) -> dict[str, Any]:
    """As `summary`, without working it out: that takes long for so many rows."""
    _, H, _ = recorded.mean.shape
    ones = {name: [1.0] * H for name in recorded.channels}
    measures = {"mase": ones, "coverage": ones}
    return {
        "file": "x.csv", "horizon": H, "readings_per_s": 1.0, "dropped": {}, "alarms": 0, "incidents": 0,
        "settled": measures, **measures,
    }  # fmt: skip


def test_a_missing_plotly_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "plotly"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(ReportError, match=r"^a report needs plotly: pip install 'streamd\[report\]'$"):
        require_plotly()


def test_no_number_of_the_data_is_one_that_json_does_not_know() -> None:
    recorded = recording()
    recorded.value[:, 1] = np.nan
    recorded.mean[:, :, 1] = np.nan
    recorded.levels[..., 1] = np.nan
    unknown: list[str] = []  # NaN and Infinity, which Python's reader takes and a browser's does not
    json.loads(made(recorded).scripts[1], parse_constant=unknown.append)
    assert unknown == []
