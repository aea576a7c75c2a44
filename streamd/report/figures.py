"""The figures of the page: forecasts, fan, errors, coverage, weights, scores.

Pure: recorded arrays in, figures out. Knows what is worth seeing; the words around it are in `words`, the page is
put together in `page`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from streamd.engine.score import TERMS
from streamd.recording import Recording
from streamd.records import F64, Incident
from streamd.report.drawing import Figure, Pool, Trace
from streamd.report.thin import envelope, extremes, means, rolling
from streamd.report.words import plain, share, span, when

NUMBERS: Final = 350_000  # of all lines together: about 2.5 MB
POINTS: Final = (300, 4000)  # of one line: no fewer, no more
FAN_NUMBERS: Final = 120_000  # of the close-ups
TRACE_NUMBERS: Final = 50  # what the words of one trace take, in numbers
ORIGINS: Final = (6, 41)
WINDOW: Final = 500  # rows of the rolling coverage
SHOWN_INCIDENTS: Final = 200  # as areas behind the score
OFF_SCALE: Final = 3.0  # times the error of persistence
SPOKE: Final = 0.5  # a term over it has had its say in an incident
PART_CELLS: Final = 12_000  # of the picture of all channels' parts
PART_COLUMNS: Final = (60, 300)
PART_COLORS: Final = (
    (0.0, "#ffffff"),
    (0.499, "#fed7aa"),
    (0.5, "#f87171"),
    (1.0, "#7f1d1d"),
)  # the line in the middle

BLUE, ORANGE, GREEN, RED, GREY, DARK = "#2563eb", "#d97706", "#059669", "#dc2626", "#94a3b8", "#1e293b"
OTHERS: Final = ("#d97706", "#059669", "#9333ea", "#0891b2", "#be185d", "#65a30d", "#7c2d12")
EXPERTS: Final = ("#cbd5e1", "#fcd34d", "#86efac", "#93c5fd", "#f9a8d4", "#d8b4fe")
BANDS: Final = ("rgba(37,99,235,.12)", "rgba(37,99,235,.20)", "rgba(37,99,235,.30)", "rgba(37,99,235,.40)")


@dataclass(frozen=True, slots=True)
class Axis:
    """Where a row lies from left to right: at its time, or at its number where the file told no times."""

    clock: bool

    def place(self, time: F64) -> F64:
        """For Plotly: ms since the epoch, or the number."""
        return time * 1000.0 if self.clock else time

    def layout(self) -> dict[str, Any]:
        title = {"text": "time (UTC)" if self.clock else "row", "standoff": 20}  # below a second line of ticks
        return {"type": "date" if self.clock else "linear", "title": title}


def points_each(recording: Recording) -> int:
    """How many points a line may have, so that the whole page stays small."""
    C, S, Q = len(recording.channels), len(recording.steps), len(recording.coverages)
    E = len(recording.experts)
    # times count double; bands, weights and coverage have fewer points
    lines = C * (3 + S * (3 + 0.5 * (2 + 2 * Q) + 0.25 * (2 + Q) + 0.25 * (2 + E)))
    return int(np.clip(NUMBERS / lines, *POINTS))


def forecasts(recording: Recording, axis: Axis, pool: Pool) -> Figure:
    """Each channel's values, and beside them what had been forecast so many steps before, with its intervals."""
    points, traces = points_each(recording), []
    for c in range(len(recording.channels)):
        for s, step in enumerate(recording.steps):
            when = {"channel": c, "step": s}
            for q in reversed(range(len(recording.coverages))):
                low, high = (_made_before(recording.levels[:, q, side, step - 1, c], step) for side in (0, 1))
                rows, lower, upper = envelope(low, high, points // 2)
                x = pool.put(axis.place(recording.time[rows]))
                traces += _band(when, x, pool.put(lower), pool.put(upper), recording, q)
            made = _made_before(recording.mean[:, step - 1, c], step)
            traces += [
                _values(recording, c, points, axis, pool, when),
                _line(when, recording, made, points, axis, pool),
            ]
    return Figure(traces, _layout(axis.layout(), "value, in the sensor's unit"))


def origins(recording: Recording) -> list[int]:
    """The rows from which close-ups are drawn, over the whole file; the last is the file's last row."""
    N, H, C = recording.mean.shape
    Q = len(recording.coverages)
    numbers = C * (H * (2 * Q + 1) + _context(H) + H + TRACE_NUMBERS * (2 * Q + 3))
    count = int(np.clip(FAN_NUMBERS // numbers, *ORIGINS))
    return sorted(set(np.linspace(min(N - 1, _context(H)), N - 1, count).astype(int).tolist()))


def fan(recording: Recording, axis: Axis, pool: Pool) -> Figure:
    """From some rows: what had come before, what was forecast then for all steps ahead, and what came."""
    N, H, C = recording.mean.shape
    traces = []
    for at, n in enumerate(origins(recording)):
        begin, end = max(0, n - _context(H)), min(N, n + H + 1)
        ahead = pool.put(axis.place(recording.time[n] + recording.interval[n] * np.arange(H + 1)))
        before, after = (pool.put(axis.place(recording.time[rows])) for rows in (slice(begin, n + 1), slice(n, end)))
        for c in range(C):
            when, now = {"channel": c, "origin": at}, _last_known(recording.value[: n + 1, c])
            for q in reversed(range(len(recording.coverages))):
                lower, upper = (pool.put(np.append(now, recording.levels[n, q, side, :, c])) for side in (0, 1))
                traces += _band(when, ahead, lower, upper, recording, q)
            mean = pool.put(np.append(now, recording.mean[n, :, c]))
            traces += [
                Trace(when, _spec("forecast", ahead, mean, BLUE, width=2.5)),
                Trace(when, _spec("value before", before, pool.put(recording.value[begin : n + 1, c]), DARK)),
                Trace(
                    when,
                    _spec("value that came", after, pool.put(recording.value[n:end, c]), ORANGE)
                    | {"mode": "lines+markers", "marker": {"size": 4, "color": ORANGE}},
                ),
            ]
    return Figure(traces, _layout(axis.layout(), "value, in the sensor's unit", uirevision=None))


def errors(summary: Mapping[str, Any], channels: Sequence[str], pool: Pool) -> Figure:
    """Mean absolute error at each step ahead over that of persistence; the last entry of channels is their mean."""
    steps = pool.put(np.arange(1, summary["horizon"] + 1))
    against = {name: one["settled"] for name, one in summary.get("against", {}).items() if "settled" in one}
    lines = {"streamd": summary["settled"], **{name: one for name, one in against.items() if name != "persistence"}}
    traces, highest = [], 1.1
    for c in range(len(channels) + 1):
        for at, (name, measures) in enumerate(lines.items()):
            ratios = [_numbers(measures["mase"][channel]) for channel in channels]
            ratio = ratios[c] if c < len(channels) else _mean(ratios)
            top = float(np.nanmax(ratio, initial=0.0))
            beyond = top > OFF_SCALE
            highest = max(highest, min(top, OFF_SCALE))
            label = f"{plain(name)} (up to {top:.3g})" if beyond else plain(name)
            color = BLUE if not at else OTHERS[(at - 1) % len(OTHERS)]
            traces.append(Trace({"channel": c}, _spec(label, steps, pool.put(ratio), color, width=1.6 if at else 3.0)))
    traces.append(
        Trace({}, _spec("repeating the last value", steps, pool.put(np.ones(summary["horizon"])), GREY, dash="dash"))
    )
    layout = _layout({"title": {"text": "steps ahead"}}, "error; 1 is as good as the last value")
    layout["yaxis"]["range"] = [0, highest * 1.05]
    return Figure(traces, layout)


def coverage(recording: Recording, axis: Axis, pool: Pool) -> Figure:
    """Share of the last rows whose value lay inside the interval, at each row, beside the share promised."""
    window = rolling_window(len(recording.time))
    points, traces = points_each(recording) // 4, []
    ends = pool.put(axis.place(recording.time[[0, -1]]))
    for s, step in enumerate(recording.steps):
        for q, promised in enumerate(recording.coverages):
            color = (BLUE, GREEN, ORANGE, "#9333ea")[q % 4]
            shares = np.stack(
                [rolling(inside(recording, q, step, c), window) for c in range(len(recording.channels))], 1
            )
            rows, thinned = means(shares, points)
            x = pool.put(axis.place(recording.time[rows]))
            for c in range(len(recording.channels)):
                name = f"inside the {share(promised)} interval"
                traces.append(Trace({"channel": c, "step": s}, _spec(name, x, pool.put(thinned[:, c]), color)))
            everyone = pool.put(_mean(list(thinned.T)))
            mean = _spec("mean of all channels", x, everyone, GREY, width=1.2)
            traces.append(Trace({"step": s}, mean | {"showlegend": not q}))
    for q, promised in enumerate(recording.coverages):
        promise = _spec("promised", ends, pool.put(np.full(2, promised)), RED, dash="dash", width=1.5)
        traces.append(Trace({}, promise | {"showlegend": not q}))
    layout = _layout(axis.layout(), f"share of the last {window} readings")
    layout["yaxis"] |= {"tickformat": ".0%", "range": [min(0.6, min(recording.coverages) - 0.2), 1.01]}
    return Figure(traces, layout)


def weights(recording: Recording, axis: Axis, pool: Pool) -> Figure | None:
    """What each expert counts in the forecast, stacked, the network's say as a line over it; None: not told."""
    if not recording.experts:
        return None
    N, E, S, C = recording.weights.shape
    rows, thinned = means(recording.weights.reshape(N, -1), points_each(recording) // 4)
    kept = thinned.reshape(len(rows), E, S, C)
    x = pool.put(axis.place(recording.time[rows]))
    traces = []
    for c in range(C):
        for s in range(S):
            for e, name in enumerate(recording.experts[:-1]):
                spec = _spec(name, x, pool.put(kept[:, e, s, c]), EXPERTS[e % len(EXPERTS)], width=0.5)
                spec |= {"stackgroup": "experts", "fillcolor": EXPERTS[e % len(EXPERTS)]}
                traces.append(Trace({"channel": c, "step": s}, spec))
            network = f"say of the {recording.experts[-1]}"
            traces.append(
                Trace({"channel": c, "step": s}, _spec(network, x, pool.put(kept[:, -1, s, c]), DARK, width=2))
            )
    if recording.drifted.any():
        drifts = pool.put(axis.place(recording.time[recording.drifted]))
        spec = _spec("drift noticed", drifts, pool.put(np.full(int(recording.drifted.sum()), 1.03)), RED)
        traces.append(
            Trace({}, spec | {"mode": "markers", "marker": {"symbol": "triangle-down", "color": RED, "size": 8}})
        )
    layout = _layout(axis.layout(), "share of the forecast")
    layout["yaxis"] |= {"tickformat": ".0%", "range": [0, 1.06]}
    return Figure(traces, layout)


def scores(recording: Recording, axis: Axis, pool: Pool) -> Figure:
    """The signal above, the score and its terms below, each channel's part at the bottom, incidents as areas behind."""
    points, several = points_each(recording), len(recording.channels) > 1
    traces = [_values(recording, c, points, axis, pool, {"channel": c}) for c in range(len(recording.channels))]
    below = {"score": recording.score, **{name: recording.terms[:, at] for at, name in enumerate(TERMS)}}
    finite = recording.score[np.isfinite(recording.score)]
    logarithmic = float(finite.max(initial=0.0)) > 20.0
    for at, (name, values) in enumerate((below | dict(recording.against)).items()):
        ours = name in below
        if not np.isfinite(values).any():
            continue
        shown = np.maximum(values, 0.01) if logarithmic and ours else values
        rows = extremes(shown, points)
        x, y = pool.put(axis.place(recording.time[rows])), pool.put(shown[rows])
        spec = _spec(
            name if ours else f"{plain(name)} (own scale)", x, y, BLUE if not at else OTHERS[(at - 1) % len(OTHERS)]
        )
        hidden = not ours or (bool(at) and len(TERMS) == 1)  # a single term is much the same as the score
        spec |= {"line": spec["line"] | {"width": 0.8 if at else 2.0}} | ({"visible": "legendonly"} if hidden else {})
        traces.append(Trace({}, spec | {"yaxis": "y2" if ours else "y3"}))
    ends = pool.put(axis.place(recording.time[[0, -1]]))
    traces.append(Trace({}, _spec("alarm line", ends, pool.put(np.ones(2)), RED, dash="dash") | {"yaxis": "y2"}))
    if recording.incidents:
        traces.append(_peaks(recording, axis, pool, floor=0.01 if logarithmic else 0.0))
    for c in range(len(recording.channels)):
        part = recording.channel_score[:, c]
        part = np.maximum(part, 0.01) if logarithmic else part
        rows = extremes(part, points)
        spec = _spec("this channel's part", pool.put(axis.place(recording.time[rows])), pool.put(part[rows]), DARK)
        traces.append(Trace({"channel": c}, spec | {"yaxis": "y2", "visible": "legendonly"}))
    layout = _layout(axis.layout(), "value")
    layout["yaxis"] |= {"domain": [0.68 if several else 0.55, 1.0]}
    layout["xaxis"]["anchor"] = "y4" if several else "y2"
    if several:
        traces.append(_parts(recording, axis, pool))
        names = [plain(name) for name in recording.channels]
        ticks = {"tickvals": list(range(len(names))), "ticktext": names, "autorange": "reversed", "automargin": True}
        layout["yaxis4"] = _y("") | ticks | {"domain": [0.0, 0.28], "tickfont": {"size": 10}}
    layout["yaxis2"] = (
        _y("score")
        | {"domain": [0.34, 0.62] if several else [0.0, 0.48]}
        | ({"type": "log"} if logarithmic else {"rangemode": "tozero"})
    )
    layout["yaxis3"] = {"overlaying": "y2", "showgrid": False, "zeroline": False, "showticklabels": False}
    layout["shapes"] = [_area(incident, recording, axis) for incident in strongest(recording, SHOWN_INCIDENTS)]
    return Figure(traces, layout)


def _parts(recording: Recording, axis: Axis, pool: Pool) -> Trace:
    """Every channel's part in the score as a picture: the highest of each stretch of rows."""
    N, C = recording.channel_score.shape
    columns = min(N, int(np.clip(PART_CELLS // C, *PART_COLUMNS)))
    begins = np.linspace(0, N, columns + 1).astype(int)[:-1]
    highest = np.maximum.reduceat(np.nan_to_num(recording.channel_score), begins)  # [columns, C]
    spec = {
        "type": "heatmap",
        "name": "part",
        "x": pool.put(np.repeat(axis.place(recording.time[begins]), C)),
        "y": pool.put(np.tile(np.arange(C), columns)),
        "z": pool.put(highest.ravel()),
        "yaxis": "y4",
        "zmin": 0.0,
        "zmax": 2.0,
        "colorscale": [list(one) for one in PART_COLORS],
        "showscale": False,
        "hovertemplate": "%{z:.2f}",
    }
    return Trace({}, spec)


def strongest(recording: Recording, count: int) -> list[Incident]:
    """The incidents with the highest scores, in the order of their start."""
    chosen = sorted(recording.incidents, key=lambda incident: -incident.score)[:count]
    return sorted(chosen, key=lambda incident: incident.start)


def inside(recording: Recording, q: int, step: int, c: int) -> F64:
    """Per row [N]: 1 where the value lay inside what was promised `step` rows before, 0 where not, NaN: unknown."""
    lower, upper = (_made_before(recording.levels[:, q, side, step - 1, c], step) for side in (0, 1))
    value = recording.value[:, c]
    known = np.isfinite(lower) & np.isfinite(upper) & np.isfinite(value)
    return np.where(known, (value >= lower) & (value <= upper), np.nan)


def rolling_window(rows: int) -> int:
    """How many rows the rolling coverage looks back."""
    return int(np.clip(rows // 8, 10, WINDOW))


def _made_before(made: F64, step: int) -> F64:
    """What was made at each row [N], at the row that it was made for."""
    moved: F64 = np.concatenate([np.full(min(step, len(made)), np.nan), made[:-step]])
    return moved


def _context(horizon: int) -> int:
    return max(60, 3 * horizon) if horizon <= 200 else horizon


def _last_known(values: F64) -> float:
    known = np.flatnonzero(np.isfinite(values))
    return float(values[known[-1]]) if len(known) else np.nan


def _numbers(values: Sequence[float | None]) -> F64:
    return np.array([np.nan if value is None else value for value in values])


def _mean(arrays: Sequence[F64]) -> F64:
    """Over those that know, at each place."""
    stacked = np.stack(arrays)
    known = np.isfinite(stacked)
    with np.errstate(invalid="ignore"):
        mean: F64 = np.where(known, stacked, 0.0).sum(axis=0) / known.sum(axis=0)
    return mean


def _values(recording: Recording, c: int, points: int, axis: Axis, pool: Pool, when: Mapping[str, int]) -> Trace:
    values = recording.value[:, c]
    rows = extremes(values, points)
    x, y = pool.put(axis.place(recording.time[rows])), pool.put(values[rows])
    return Trace(when, _spec("value", x, y, DARK, width=1.0))


def _line(when: Mapping[str, int], recording: Recording, made: F64, points: int, axis: Axis, pool: Pool) -> Trace:
    rows = extremes(made, points)
    x, y = pool.put(axis.place(recording.time[rows])), pool.put(made[rows])
    return Trace(when, _spec("forecast", x, y, BLUE, width=1.0))


def _band(
    when: Mapping[str, int],
    x: dict[str, int],
    lower: dict[str, int],
    upper: dict[str, int],
    recording: Recording,
    q: int,
) -> list[Trace]:
    """The wider the fainter."""
    name = f"{share(recording.coverages[q])} interval"
    base = {"type": "scatter", "mode": "lines", "x": x, "line": {"width": 0}, "hoverinfo": "skip", "legendgroup": name}
    fill = BANDS[min(len(BANDS) - 1, len(recording.coverages) - 1 - q + (len(recording.coverages) == 1))]
    return [
        Trace(when, base | {"y": lower, "showlegend": False}),
        Trace(when, base | {"y": upper, "name": name, "fill": "tonexty", "fillcolor": fill}),
    ]


def _peaks(recording: Recording, axis: Axis, pool: Pool, floor: float) -> Trace:
    incidents = strongest(recording, SHOWN_INCIDENTS)
    x = pool.put(axis.place(np.array([incident.peak for incident in incidents])))
    y = pool.put(np.array([max(incident.score, floor) for incident in incidents]))
    marker = {"color": RED, "size": 8, "symbol": "diamond"}
    spec = _spec("incident", x, y, RED) | {"mode": "markers", "marker": marker, "yaxis": "y2"}
    return Trace({}, spec | {"text": [_told(one, axis) for one in incidents], "hoverinfo": "text"})


def _told(incident: Incident, axis: Axis) -> str:
    blame = sorted(incident.channels.items(), key=lambda pair: -pair[1])[:5]
    lines = [
        f"<b>incident, score {incident.score:.3g}</b>",
        f"from {when(incident.start, clock=axis.clock)}",
        "still open" if incident.end is None else f"for {span(incident.end - incident.start)}",
        *(f"{plain(name)}: {share(part)}" for name, part in blame),
    ]
    if terms := told_terms(incident):
        lines.append(terms)
    return "<br>".join(lines)


def told_terms(incident: Incident) -> str:
    """The terms that were over half of their line at the peak, the highest first; nothing where none are told."""
    terms: Mapping[str, float] = getattr(incident, "terms", None) or {}
    spoke = sorted(((name, value) for name, value in terms.items() if value >= SPOKE), key=lambda pair: -pair[1])
    return ", ".join(f"{name} {value:.3g}" for name, value in spoke)


def _area(incident: Incident, recording: Recording, axis: Axis) -> dict[str, Any]:
    end = float(recording.time[-1]) if incident.end is None else incident.end
    edges = axis.place(np.array([incident.start, end]))
    return {
        "type": "rect", "xref": "x", "yref": "paper", "x0": float(edges[0]), "x1": float(edges[1]), "y0": 0, "y1": 1,
        "fillcolor": RED, "opacity": 0.15, "line": {"width": 1, "color": RED}, "layer": "below",
    }  # fmt: skip


def _spec(
    name: str, x: dict[str, int], y: dict[str, int], color: str, width: float = 1.5, dash: str | None = None
) -> dict[str, Any]:
    line = {"color": color, "width": width} | ({"dash": dash} if dash else {})
    return {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "line": line}


def _layout(x: dict[str, Any], y: str, uirevision: str | None = "kept") -> dict[str, Any]:
    kept = {} if uirevision is None else {"uirevision": uirevision}
    return {"xaxis": {"showgrid": False, **x}, "yaxis": _y(y), **kept}


def _y(title: str) -> dict[str, Any]:
    return {"title": {"text": title}, "gridcolor": "#e2e8f0", "zeroline": False}
