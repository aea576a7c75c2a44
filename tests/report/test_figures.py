"""Figures show what was recorded, at the place where it belongs, and are what Plotly takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np
import plotly.graph_objects as plotly
import pytest

from streamd.recording import Recording
from streamd.records import F64, Incident
from streamd.report import figures
from streamd.report.drawing import Figure, Pool, Trace
from streamd.report.figures import Axis
from tests.report.runs import START, incident, recording, summary

CLOCK = Axis(clock=True)
NAMES = ("forecasts", "fan", "errors", "coverage", "weights", "scores")


def drawn(name: str, recorded: Recording, pool: Pool, **more: Any) -> Figure:
    if name == "errors":
        return figures.errors(summary(recorded, **more), recorded.channels, pool)
    figure = getattr(figures, name)(recorded, CLOCK, pool)
    assert isinstance(figure, Figure)
    return figure


def shown(figure: Figure, **choice: int) -> list[Trace]:
    """What the page would draw."""
    return [one for one in figure.traces if all(choice[key] == value for key, value in one.when.items())]


def line(figure: Figure, pool: Pool, name: str, **choice: int) -> tuple[F64, F64]:
    (found,) = [one.spec for one in shown(figure, **choice) if one.spec.get("name") == name]
    return pool.get(found["x"]), pool.get(found["y"])


def resolved(figure: Figure, pool: Pool) -> dict[str, Any]:
    def whole(spec: Mapping[str, Any]) -> dict[str, Any]:
        return {key: pool.get(each) if key in ("x", "y", "z") else each for key, each in spec.items()}

    return {"data": [whole(one.spec) for one in figure.traces], "layout": figure.layout}


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_one_that_plotly_takes(name: str) -> None:
    pool, recorded = Pool(), recording()
    recorded = replace(recorded, incidents=(incident(1, START + 60, 30.0, START + 120, flow=0.7, heat=0.3),))
    figure = drawn(name, recorded, pool, against={"seasonal": {"settled": summary(recorded)["settled"]}})
    plotly.Figure(resolved(figure, pool))  # raises where a name or a value is wrong
    assert shown(figure, channel=1, step=0, origin=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_recording_of_few_rows_is_drawn_as_well(name: str, rows: int) -> None:
    pool = Pool()
    found = resolved(drawn(name, recording(rows=rows, horizon=8), pool), pool)
    plotly.Figure(found)  # raises where a name or a value is wrong
    for trace in found["data"]:
        assert len(trace["x"]) == len(trace["y"])
    lengths = {len(trace["x"]) for trace in found["data"]}
    assert {"errors": 8, "fan": 9}.get(name, rows) in lengths, "all rows, or all steps"


def test_a_forecast_stands_at_the_row_that_it_was_made_for() -> None:
    pool, recorded = Pool(), recording(rows=50, horizon=4)
    figure = figures.forecasts(recorded, CLOCK, pool)
    step = recorded.steps[-1]
    x, y = line(figure, pool, "forecast", channel=1, step=len(recorded.steps) - 1)
    np.testing.assert_allclose(x, recorded.time * 1000.0)
    assert np.isnan(y[:step]).all()
    np.testing.assert_allclose(y[step:], recorded.mean[:-step, step - 1, 1], rtol=1e-6)
    _, values = line(figure, pool, "value", channel=1, step=0)
    np.testing.assert_allclose(values, recorded.value[:, 1], rtol=1e-6)


def test_wider_intervals_lie_below_narrower_ones_each_between_its_bounds() -> None:
    pool, recorded = Pool(), recording(rows=50)
    bands = [
        one.spec for one in shown(figures.forecasts(recorded, CLOCK, pool), channel=0, step=0) if "fill" in one.spec
    ]
    assert [band["name"] for band in bands] == ["99 % interval", "90 % interval", "50 % interval"]
    np.testing.assert_allclose(pool.get(bands[1]["y"]), recorded.upper[1:-1, 0, 0], rtol=1e-6)


def test_a_close_up_shows_what_was_known_what_was_expected_and_what_came() -> None:
    pool, recorded = Pool(), recording(rows=400, horizon=4)
    figure, origins = figures.fan(recorded, CLOCK, pool), figures.origins(recorded)
    assert origins[-1] == 399
    n = origins[3]
    x, y = line(figure, pool, "forecast", channel=0, origin=3)
    np.testing.assert_allclose(x, (recorded.time[n] + 60.0 * np.arange(5)) * 1000.0)
    np.testing.assert_allclose(y[1:], recorded.mean[n, :, 0], rtol=1e-6)
    assert y[0] == pytest.approx(recorded.value[n, 0])
    _, before = line(figure, pool, "value before", channel=0, origin=3)
    _, after = line(figure, pool, "value that came", channel=0, origin=3)
    assert before[-1] == after[0] == pytest.approx(recorded.value[n, 0])
    np.testing.assert_allclose(after[1:], recorded.value[n + 1 : n + 5, 0], rtol=1e-6)
    _, nothing = line(figure, pool, "value that came", channel=0, origin=len(origins) - 1)
    assert len(nothing) == 1  # only the last value itself


def test_errors_stand_beside_those_of_the_others_and_of_persistence() -> None:
    pool, recorded = Pool(), recording()
    mase = {"flow": [0.5, 0.6, 0.7, 0.8], "heat": [0.7, 0.8, None, 50.0]}
    figure = drawn("errors", recorded, pool, against={"persistence": {"settled": {"mase": mase}}, "zscore": {}})
    assert {one.spec["name"] for one in figure.traces} == {"streamd", "repeating the last value"}
    figure = drawn("errors", recorded, pool, against={"seasonal": {"settled": {"mase": mase}}})
    _, flow = line(figure, pool, "seasonal", channel=0)
    np.testing.assert_allclose(flow, mase["flow"], rtol=1e-6)
    _, heat = line(figure, pool, "seasonal (up to 50)", channel=1)
    np.testing.assert_allclose(heat, [0.7, 0.8, np.nan, 50.0], rtol=1e-6)
    _, both = line(figure, pool, "seasonal (up to 25.4)", channel=2)
    np.testing.assert_allclose(both, [0.6, 0.7, 0.7, 25.4], rtol=1e-6)
    assert figure.layout["yaxis"]["range"][1] < 4.0  # one that runs away does not flatten the others
    _, ours = line(figure, pool, "streamd", channel=0)
    np.testing.assert_allclose(ours, 1.0)  # this recording forecasts the last value


def test_coverage_is_that_of_the_last_rows_beside_the_promise() -> None:
    pool, recorded = Pool(), recording(rows=160, horizon=2)
    figure = figures.coverage(recorded, CLOCK, pool)
    window = figures.rolling_window(160)
    for q, name in enumerate(("50 %", "90 %", "99 %")):
        _, shares = line(figure, pool, f"inside the {name} interval", channel=1, step=1)
        n = 150
        made_at = np.arange(n - window + 1, n + 1) - 2
        lower, upper = recorded.levels[made_at, q, 0, 1, 1], recorded.levels[made_at, q, 1, 1, 1]
        value = recorded.value[made_at + 2, 1]
        assert shares[n] == pytest.approx(np.mean((value >= lower) & (value <= upper)))
    promised = [pool.get(one.spec["y"]).tolist() for one in figure.traces if one.spec["name"] == "promised"]
    assert promised == [pytest.approx([share] * 2) for share in (0.5, 0.9, 0.99)]


def test_weights_of_the_experts_fill_the_picture_and_the_network_is_a_line_over_them() -> None:
    pool, recorded = Pool(), recording()
    figure = figures.weights(recorded, CLOCK, pool)
    assert figure is not None
    stacked = [one.spec for one in shown(figure, channel=0, step=1) if "stackgroup" in one.spec]
    assert [spec["name"] for spec in stacked] == ["persistence", "seasonal", "regression", "adaptive"]
    np.testing.assert_allclose(np.sum([pool.get(spec["y"]) for spec in stacked], axis=0), 1.0, rtol=1e-5)
    _, network = line(figure, pool, "say of the network", channel=0, step=1)
    np.testing.assert_allclose(network, recorded.weights[:, 4, 1, 0], rtol=1e-6)
    at, _ = line(figure, pool, "drift noticed", channel=0, step=1)
    np.testing.assert_allclose(at, recorded.time[recorded.drifted] * 1000.0)


def test_an_engine_that_tells_no_weights_has_no_figure_of_them() -> None:
    assert figures.weights(recording(told=False), CLOCK, Pool()) is None


def test_incidents_are_areas_behind_signal_and_score_and_tell_whom_to_blame() -> None:
    pool, recorded = Pool(), recording(channels=("flow", "<b>heat"))
    incidents = (
        incident(1, START + 600, 1.5, START + 900, **{"flow": 0.25, "<b>heat": 0.75}),
        incident(2, START + 6000, 40.0, None, flow=1.0),
    )
    figure = figures.scores(replace(recorded, incidents=incidents), CLOCK, pool)
    first, second = figure.layout["shapes"]
    assert (first["x0"], first["x1"]) == ((START + 600) * 1000, (START + 900) * 1000)
    assert second["x1"] == recorded.time[-1] * 1000  # still open: up to the end
    assert (first["yref"], first["y0"], first["y1"]) == ("paper", 0, 1)
    (peaks,) = [one.spec for one in figure.traces if one.spec["name"] == "incident"]
    assert peaks["text"][0].split("<br>")[1:] == [
        "from 2023-11-14 22:23:20",
        "for 5 minutes",
        "&lt;b&gt;heat: 75 %",
        "flow: 25 %",
    ]
    assert "still open" in peaks["text"][1]


@pytest.mark.parametrize(("highest", "kind"), [(1.5, None), (500.0, "log")])
def test_a_score_far_over_the_line_does_not_flatten_it(highest: float, kind: str | None) -> None:
    recorded = recording()
    recorded.score[77] = highest
    pool = Pool()
    figure = figures.scores(recorded, CLOCK, pool)
    assert figure.layout["yaxis2"].get("type") == kind
    x, y = line(figure, pool, "score", channel=0)
    assert y.max() == highest
    assert x[y.argmax()] == recorded.time[77] * 1000.0


def test_scores_of_detectors_are_there_to_be_switched_on() -> None:
    pool, recorded = Pool(), recording()
    figure = figures.scores(replace(recorded, against={"zscore": np.arange(200.0)}), CLOCK, pool)
    (spec,) = [one.spec for one in figure.traces if one.spec["name"] == "zscore (own scale)"]
    assert (spec["visible"], spec["yaxis"]) == ("legendonly", "y3")


def test_each_channels_part_is_a_row_of_the_picture_at_its_time() -> None:
    pool, recorded = Pool(), recording(rows=1000, channels=("flow", "<b>heat"))
    recorded.channel_score[:] = 0.1
    recorded.channel_score[777, 1] = 5.0
    figure = figures.scores(recorded, CLOCK, pool)
    (spec,) = [one.spec for one in figure.traces if one.spec["type"] == "heatmap"]
    x, y, z = (pool.get(spec[axis]) for axis in ("x", "y", "z"))
    assert len(x) == len(y) == len(z) == 2 * 300
    (at,) = np.flatnonzero(z > 1.0)
    assert y[at] == 1
    assert recorded.time[773] * 1000.0 <= x[at] <= recorded.time[777] * 1000.0
    assert figure.layout["yaxis4"]["ticktext"] == ["flow", "&lt;b&gt;heat"]
    _, part = line(figure, pool, "this channel's part", channel=1)
    assert part[777] == 5.0


def test_one_channel_has_no_picture_of_parts() -> None:
    figure = figures.scores(recording(channels=("flow",)), CLOCK, Pool())
    assert "heatmap" not in {one.spec["type"] for one in figure.traces}
    assert "yaxis4" not in figure.layout


def test_terms_that_spoke_are_told_the_loudest_first() -> None:
    class Told:
        terms: ClassVar = {"surprise": 0.7, "novelty": 3.0, "silence": 0.1}

    assert figures.told_terms(cast(Incident, Told())) == "novelty 3, surprise 0.7"
    assert figures.told_terms(cast(Incident, object())) == ""


def test_only_so_many_incidents_are_drawn_the_strongest() -> None:
    many = tuple(incident(n, START + n, float(n)) for n in range(figures.SHOWN_INCIDENTS + 50))
    recorded = replace(recording(), incidents=many)
    kept = figures.strongest(recorded, figures.SHOWN_INCIDENTS)
    assert [one.score for one in kept] == [float(n) for n in range(50, len(many))]


def test_without_times_rows_have_numbers() -> None:
    axis = Axis(clock=False)
    assert axis.place(np.array([3.0])).tolist() == [3.0]
    assert axis.layout()["type"] == "linear"
