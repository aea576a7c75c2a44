"""Puts figures, words and Plotly's JavaScript into one HTML file that needs nothing else, not even a network.

Knows the template and its places; what is drawn and said comes from `figures` and `words`. Text out of the data is
escaped before it gets here or here, and the page forbids itself to load anything.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module, resources
from typing import Any, Final

from streamd import __version__
from streamd.recording import Recording
from streamd.records import Incident
from streamd.report import figures, words
from streamd.report.drawing import Figure, Pool

SHOWN_CHANNELS: Final = 40  # of more the page would be too heavy
LISTED_INCIDENTS: Final = 50
_PLACE: Final = re.compile(r"<!--streamd:(\w+)-->")


class ReportError(Exception):
    """The page can't be made; the text says what to do."""


def page(summary: Mapping[str, Any], recording: Recording, *, clock: bool) -> str:
    """The page as text; `clock`: times are times, not numbers of rows.

    Raises:
        ReportError: Plotly is not installed.
    """
    plotly = require_plotly()
    drawn = narrowed(recording)
    pool, axis = Pool(), figures.Axis(clock)
    parts: dict[str, Figure | None] = {
        "forecasts": figures.forecasts(drawn, axis, pool),
        "fan": figures.fan(drawn, axis, pool),
        "errors": figures.errors(summary, drawn.channels, pool),
        "coverage": figures.coverage(drawn, axis, pool),
        "weights": figures.weights(drawn, axis, pool),
        "scores": figures.scores(drawn, axis, pool),
    }
    data = {
        "figures": {name: figure.plain() for name, figure in parts.items() if figure is not None},
        "arrays": pool.arrays,
        "step": axis.place(drawn.interval[-1:]).tolist()[0],
        "origins": [words.when(float(drawn.time[n]), clock=clock) for n in figures.origins(drawn)],
    }
    places = {
        "title": html.escape(f"streamd: {_file(summary)}"),
        "file": html.escape(_file(summary)),
        "tiles": "".join(map(_tile, words.tiles(summary, recording))),
        "summary": "".join(f"<p>{html.escape(one)}</p>" for one in words.sentences(summary, recording, clock=clock)),
        "left_out": _left_out(recording, drawn),
        "channels": "".join(_option(c, name) for c, name in enumerate(drawn.channels)),
        "steps": "".join(_option(s, str(step)) for s, step in enumerate(recording.steps)),
        "channel_table": _channel_table(summary, recording),
        "against_table": _against_table(summary, recording),
        "incidents": _incident_table(recording, clock=clock),
        "window": str(figures.rolling_window(len(recording.time))),
        "horizon": str(recording.mean.shape[1]),
        "no_weights": "" if parts["weights"] is not None else "<p>This run told no weights.</p>",
        "version": html.escape(__version__),
        "plotly": plotly,
        "data": for_script(data),
        "script": _resource("page.js"),
    }
    pieces = _PLACE.split(_resource("page.html"))
    return "".join(places[piece] if at % 2 else piece for at, piece in enumerate(pieces))


def require_plotly() -> str:
    """Plotly's JavaScript, from its Python package.

    Raises:
        ReportError: it is not installed.
    """
    try:
        import_module("plotly")
    except ModuleNotFoundError as error:
        if error.name != "plotly":
            raise
        raise ReportError("a report needs plotly: pip install 'streamd[report]'") from error
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def narrowed(recording: Recording) -> Recording:
    """The first channels only, if there are very many."""
    if len(recording.channels) <= SHOWN_CHANNELS:
        return recording
    kept = slice(SHOWN_CHANNELS)
    return replace(
        recording,
        channels=recording.channels[kept],
        value=recording.value[:, kept],
        mean=recording.mean[..., kept],
        lower=recording.lower[..., kept],
        upper=recording.upper[..., kept],
        levels=recording.levels[..., kept],
        weights=recording.weights[..., kept],
        channel_score=recording.channel_score[:, kept],
    )


def for_script(data: Mapping[str, Any]) -> str:
    """JSON that can stand inside a script element whatever is in it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _resource(name: str) -> str:
    return (resources.files("streamd.report") / name).read_text(encoding="utf-8")


def _file(summary: Mapping[str, Any]) -> str:
    return re.split(r"[/\\]", str(summary["file"]))[-1]


def _option(value: int, text: str) -> str:
    return f'<option value="{value}">{html.escape(text)}</option>'


def _tile(tile: words.Tile) -> str:
    title, value, note = map(html.escape, (tile.title, tile.value, tile.note))
    return f'<div class="tile"><div class="name">{title}</div><div class="value">{value}</div><div>{note}</div></div>'


def _left_out(recording: Recording, drawn: Recording) -> str:
    if drawn is recording:
        return ""
    left = len(recording.channels) - len(drawn.channels)
    return f"<p>Drawn are the first {len(drawn.channels)} channels; {left} more are in the numbers and tables only.</p>"


def _channel_table(summary: Mapping[str, Any], recording: Recording) -> str:
    """Error over persistence's, and coverage, at the steps that are looked at."""
    ratios = {step: words.ratios(summary, step) for step in recording.steps}
    inside = {step: words.inside(summary, step) for step in recording.steps}
    ahead = "".join(f"<th>{step} ahead</th>" for step in recording.steps)
    rows = []
    for c, name in enumerate(recording.channels):
        cells = "".join(_ratio(ratios[step].get(name)) for step in recording.steps)
        cells += "".join(_share(inside[step].get(name), recording.coverage) for step in recording.steps)
        rows.append(f'<tr data-channel="{c}"><th scope="row">{html.escape(name)}</th>{cells}</tr>')
    count = len(recording.steps)
    return (
        f'<table><thead><tr><th rowspan="2">channel</th><th colspan="{count}">error, last value = 1</th>'
        f'<th colspan="{count}">inside the {words.share(recording.coverage)} interval</th></tr>'
        f"<tr>{ahead}{ahead}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _against_table(summary: Mapping[str, Any], recording: Recording) -> str:
    """streamd and the others in the same measure, mean of the channels."""
    against = {name: one for name, one in summary.get("against", {}).items() if "settled" in one}
    if not against:
        return ""
    ahead = "".join(f"<th>{step} ahead</th>" for step in recording.steps)
    rows = []
    for name, one in {"streamd": summary, **against}.items():
        found = [words.ratios(one, step) for step in recording.steps]
        cells = "".join(_ratio(sum(each.values()) / len(each) if each else None) for each in found)
        speed = "" if one["readings_per_s"] is None else f"{one['readings_per_s']:,.0f}"
        broken = sum(one.get("not_finite", {}).values())
        cells += f"<td>{speed}</td><td>{f'{broken:,}' if broken else ''}</td>"
        rows.append(f'<tr><th scope="row">{html.escape(name)}</th>{cells}</tr>')
    return (
        f'<table><thead><tr><th rowspan="2">method</th><th colspan="{len(recording.steps)}">error, last value = 1</th>'
        '<th rowspan="2">readings per second</th><th rowspan="2">forecasts that were no number</th></tr>'
        f"<tr>{ahead}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _incident_table(recording: Recording, *, clock: bool) -> str:
    if not recording.incidents:
        return "<p>There was none.</p>"
    listed = figures.strongest(recording, LISTED_INCIDENTS)
    rows = "".join(_incident(one, figures.Axis(clock), float(recording.time[-1]), clock=clock) for one in listed)
    cut = len(recording.incidents) - len(listed)
    more = f"<p>The {len(listed)} with the highest scores; {cut:,} more are left out.</p>" if cut else ""
    return (
        f'{more}<div class="long"><table><thead><tr><th>began</th><th>lasted</th><th>highest score</th>'
        f"<th>terms</th><th>channels to blame</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _incident(incident: Incident, axis: figures.Axis, last: float, *, clock: bool) -> str:
    """One line; a click on it brings the incident into the picture."""
    end = last if incident.end is None else incident.end
    edges = " ".join(f"{1000 * edge if axis.clock else edge:.0f}" for edge in (incident.start, end))
    if incident.end is None:
        lasted = "still open"
    else:
        lasted = words.span(end - incident.start) if clock else f"{end - incident.start:.0f} rows"
    blame = sorted(incident.channels.items(), key=lambda pair: -pair[1])
    bars = "".join(
        f'<span class="blame"><span style="width:{100 * part:.0f}%"></span></span>'
        f"{html.escape(name)} {words.share(part)} "
        for name, part in blame[:3]
        if part >= 0.01
    )
    return (
        f'<tr data-range="{edges}"><td>{words.when(incident.start, clock=clock)}</td><td>{lasted}</td>'
        f"<td>{incident.score:.3g}</td><td>{figures.told_terms(incident)}</td><td>{bars}</td></tr>"
    )


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return "<td></td>"
    return f'<td class="{"good" if ratio < 0.995 else "bad" if ratio > 1.005 else ""}">{ratio:.3g}</td>'


def _share(covered: float | None, promised: float) -> str:
    if covered is None:
        return "<td></td>"
    return f'<td class="{"good" if abs(covered - promised) <= 0.02 else "bad"}">{words.share(covered)}</td>'
