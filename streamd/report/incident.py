"""One incident as an HTML file that needs nothing else, not even a network.

Knows the template and Plotly's names for things; what is said comes ready.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from streamd import __version__
from streamd.records import Array
from streamd.report.page import for_script, require_plotly

_PLACE = re.compile(r"<!--streamd:(\w+)-->")
PANEL = 220  # pixels of a channel's picture


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn and said of an incident."""

    title: str
    sentences: Sequence[str]
    channels: Sequence[str]  # [C] in the order in which they are drawn
    times: Array  # [N] s since the epoch
    values: Array  # [N, C]
    mean: Array  # [N, C]
    lower: Array  # [N, C]
    upper: Array  # [N, C]
    scores: Mapping[str, Array]  # score and terms by name, [N]
    start: float  # s since the epoch
    end: float  # of the incident or, while it is open, of what was kept
    clock: bool  # times are times of day, not plain numbers
    peak: tuple[Sequence[str], Sequence[Sequence[str]]]  # header and rows of a table
    like: tuple[Sequence[str], Sequence[Sequence[str]]]


def page(picture: Picture) -> str:
    """The page as text.

    Raises:
        ReportError: Plotly is not installed.
    """
    places = {
        "title": html.escape(picture.title),
        "summary": "".join(f"<p>{html.escape(one)}</p>" for one in picture.sentences),
        "peak": _table(*picture.peak),
        "like": _table(*picture.like) if picture.like[1] else "<p>There is none.</p>",
        "version": html.escape(__version__),
        "plotly": require_plotly(),
        "data": for_script({"channels": _channels(picture), "scores": _scores(picture)}),
    }
    text = (resources.files("streamd.report") / "incident.html").read_text(encoding="utf-8")
    pieces = _PLACE.split(text)
    return "".join(places[piece] if at % 2 else piece for at, piece in enumerate(pieces))


def _channels(picture: Picture) -> dict[str, Any]:
    """One panel above the other."""
    count = max(len(picture.channels), 1)
    x = _times(picture, picture.times)
    data: list[dict[str, Any]] = []
    layout = _layout(picture)
    for c, name in enumerate(picture.channels):
        axis = "" if c == 0 else str(c + 1)
        on = {"x": x, "yaxis": f"y{axis}", "showlegend": False}
        band = {"line": {"width": 0}, "mode": "lines", "hoverinfo": "skip"}
        data += [
            {**on, **band, "y": _plain(picture.lower[:, c])},
            {**on, **band, "y": _plain(picture.upper[:, c]), "fill": "tonexty", "fillcolor": "rgba(37,99,235,.18)"},
            {**on, "y": _plain(picture.mean[:, c]), "name": "expected", "line": {"color": "#2563eb", "width": 1}},
            {**on, "y": _plain(picture.values[:, c]), "name": name, "line": {"color": "#1e293b", "width": 2}},
        ]
        top = 1.0 - c / count
        title = {"text": html.escape(name)}
        layout[f"yaxis{axis}"] = {"domain": [top - 0.9 / count, top], "title": title}
    layout["xaxis"]["anchor"] = "y" if count == 1 else f"y{count}"  # the times stand under the last one
    return {"data": data, "layout": layout, "height": PANEL * count + 80}


def _scores(picture: Picture) -> dict[str, Any]:
    """The score and its terms, and their line."""
    x = _times(picture, picture.times)
    data = [{"x": x, "y": _plain(one), "name": html.escape(name)} for name, one in picture.scores.items()]
    layout = _layout(picture)
    layout["shapes"].append(
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": 1,
            "y1": 1,
            "line": {"color": "#dc2626", "dash": "dot"},
        }
    )
    return {"data": data, "layout": layout | {"yaxis": {"title": {"text": "score"}}}, "height": PANEL + 80}


def _layout(picture: Picture) -> dict[str, Any]:
    begin, end = _times(picture, np.array([picture.start, picture.end]))
    span = {"type": "rect", "yref": "paper", "x0": begin, "x1": end, "y0": 0, "y1": 1, "layer": "below"}
    return {
        "shapes": [{**span, "fillcolor": "rgba(220,38,38,.10)", "line": {"width": 0}}],
        "xaxis": {"type": "date"} if picture.clock else {},
        "margin": {"t": 10, "r": 10},
        "hovermode": "x unified",
        "paper_bgcolor": "white",
    }


def _times(picture: Picture, times: Array) -> list[Any]:
    """For an axis: ms since the epoch, or the numbers as they are."""
    return [1000.0 * time if picture.clock else time for time in times.tolist()]


def _plain(values: Array) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in np.asarray(values, np.float64).tolist()]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(one)}</th>" for one in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
