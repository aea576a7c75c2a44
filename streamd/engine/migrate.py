"""A state that was made with other settings, fitted to the present ones; what can be kept is kept, the rest is told.

Knows what belongs together in a state; no engine: what comes out is for `Engine.load_state_dict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from streamd.config import Group
from streamd.engine import horizons, layout
from streamd.engine.feedback import refit
from streamd.engine.fit import Change, change
from streamd.engine.memory import Memory
from streamd.engine.rows import Rows
from streamd.engine.upgrade import network_changed, upgrade
from streamd.model import network
from streamd.model.training import fresh_optimizer
from streamd.records import Array

WEIGHT_SETS = ("weights", "generation_weights", "first", "second")


def migrate(
    arrays: Mapping[str, Array], meta: Mapping[str, Any], settings: Group
) -> tuple[dict[str, Array], dict[str, Any], list[str]]:
    """Fit a state to settings.

    Args:
        arrays, meta: as `Engine.state_dict` gave them; they are left as they are.
        settings: of the group, now.

    Returns:
        the state that fits (sharing what needs no change), and sentences that say what was not kept; none of them
        where the state fits as it is.

    Raises:
        ValueError: the state is of a layout that a newer streamd writes, or contradicts itself.
    """
    layout.check(meta)
    have = tuple(meta["channels"])
    want = have if settings.channels == "auto" else settings.channels
    arrays = upgrade(arrays, meta["layout"])
    todo = change(arrays, have, want, layout.axes(settings, len(want)), anew=network_changed(meta["layout"]))
    fitted, changed = dict(arrays), dict(meta)
    changed["layout"] = layout.LAYOUT
    notes = _columns(fitted)
    if todo.needed or notes:
        notes += _describe(todo)
        fitted |= todo.streams(arrays)
        fitted |= todo.windows(arrays)
        fitted |= todo.pooled(arrays)
        notes += _fit_learner(fitted, changed, todo, settings)
        notes += _fit_feedback(fitted, changed, todo)
    changed["channels"] = list(want)
    notes += _fit_memory(fitted, changed, settings.training.memory_windows, forget=todo.foreign or todo.anew)
    return fitted, changed, notes


def _columns(arrays: dict[str, Array]) -> list[str]:
    """Drop arrays that this layout does not have; tell of them, and of those that it has and the state has not."""
    kinds: dict[str, type[Rows]] = {**layout.PARTS, "memory": Memory, **layout.COMMON}
    known = {f"{part}.{key}" for part, kind in kinds.items() for key in kind.columns}
    here = {name for name in arrays if not name.startswith(("learner.", "feedback."))}
    for name in here - known:
        del arrays[name]
    notes = []
    if dropped := sorted(here - known):
        notes.append(f"no longer kept by this version, so dropped: {', '.join(dropped)}")
    if fresh := sorted(known - here):
        notes.append(f"new in this version, so fresh: {', '.join(fresh)}")
    return notes


def _describe(todo: Change) -> list[str]:
    """What becomes of the streams' state and of the windows."""
    old, new = todo.old, todo.new
    if todo.foreign:
        return [
            f"none of the channels {', '.join(todo.have)} is in the config any more: every stream and the network "
            "start afresh; the streams' sequence numbers, last times and open incidents were kept"
        ]
    notes = []
    if gone := [name for name in todo.have if name not in todo.want]:
        notes.append(f"no longer in the config, so what was learnt of them was dropped: channels {', '.join(gone)}")
    if more := [name for name in todo.want if name not in todo.have]:
        notes.append(f"new in the config, so fresh: channels {', '.join(more)}")
    if todo.kept != tuple(name for name in todo.have if name in todo.want):
        notes.append("the channels stand in another order now: what was learnt moved along")
    if todo.profile_changed:
        compact = new["F"] < old["F"]
        notes.append(
            f"the profile was {'full and is compact' if compact else 'compact and is full'}: of the steps ahead, "
            f"{', '.join(map(str, horizons.of(new).tolist()))} are judged, and those that were judged before keep what "
            "was learnt of them; the regressions begin afresh"
        )
    if old["W"] != new["W"]:
        kept = min(old["W"], new["W"])
        notes.append(
            f"the horizon was {old['W']} steps and is {new['W']}: what was learnt of the first {kept} was kept, "
            "forecasts that wait for their values were dropped"
        )
    if old["Q"] != new["Q"]:
        notes.append(f"there were {old['Q']} coverages and are {new['Q']}: their intervals are calibrated afresh")
    if todo.anew:
        notes.append(
            "this version's network takes other inputs: it, its optimizer, its windows and hidden states start afresh"
        )
    elif todo.network_anew:
        notes.append(
            f"the network had {old['L']} layers of {old['K']} cells and has {new['L']} of {new['K']}: it and its "
            f"optimizer start afresh, and hidden states are made anew from each stream's last {new['R']} frames; "
            "scales, scores and the widths of intervals were kept"
        )
    if (old["R"], old["S"]) != (new["R"], new["S"]):
        notes.append(
            f"training windows had {old['R']} frames and have {new['R']}: those at hand were cut, or filled up with "
            "frames that nothing is learned from"
        )
    return notes


def _fit_learner(arrays: dict[str, Array], meta: dict[str, Any], todo: Change, settings: Group) -> list[str]:
    """Weights, optimizer and schedule."""
    old, new = layout.network_shape(todo.old), layout.network_shape(todo.new)
    learner = meta["learner"] = dict(meta["learner"])
    if todo.network_anew or not todo.have:
        weights = network.init(new, settings.seed)
        optimizer = fresh_optimizer(weights)
        sets = dict(zip(WEIGHT_SETS, (weights, weights, optimizer.first, optimizer.second), strict=True))
        learner["optimizer_step"] = 0
    else:
        sources, targets = [todo.have.index(name) for name in todo.kept], [todo.want.index(name) for name in todo.kept]
        sets = {}
        for name in WEIGHT_SETS:
            prefix = f"learner.{name}."
            own = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
            sets[name] = network.select(network.from_arrays(own), old, new, sources, targets, todo.steps)
    if todo.network_anew or len(todo.kept) < len(todo.have):  # no hidden state is of these weights
        learner["generation"] += 1
        sets["generation_weights"] = sets["weights"]
    for name, weights in sets.items():
        arrays |= {f"learner.{name}.{key}": array for key, array in network.to_arrays(weights).items()}
    jobs = [name for name in arrays if name.startswith("learner.job.")]
    for name in jobs:
        del arrays[name]
    learner |= {"job_batches": None, "job_rates": None, "due_at": 0}
    return ["the training job under way was dropped"] if jobs else []


def _fit_feedback(arrays: dict[str, Array], meta: dict[str, Any], todo: Change) -> list[str]:
    """What people taught."""
    lessons = meta.get("feedback", [])
    if todo.foreign or not lessons:
        arrays.pop("feedback.patterns", None)
        meta.pop("feedback", None)
        return [f"what was remembered of {len(lessons)} incidents was dropped with their channels"] if lessons else []
    places = np.array([todo.have.index(name) if name in todo.have else -1 for name in todo.want], np.int64)
    old, new = todo.old["K"], todo.new["K"]
    arrays["feedback.patterns"] = refit(arrays["feedback.patterns"], len(todo.have), places, old, new)
    if old == new:
        return []
    return [
        f"what the network saw in {len(lessons)} remembered incidents was dropped; what was taught of them was kept"
    ]


def _fit_memory(arrays: dict[str, Array], meta: dict[str, Any], windows: int, *, forget: bool) -> list[str]:
    """The replay memory's rows: a ring and a reservoir of other sizes."""
    had, added = meta["memory_windows"], meta["memory_added"]
    meta["memory_windows"] = windows
    if forget:
        meta["memory_added"] = 0
    if forget or had == windows:
        return []
    ring = had // 2
    newest = (added - 1 - np.arange(min(added, ring))) % ring
    rows = np.concatenate([newest, np.arange(ring, min(added, had))])[:windows]
    if len(rows) < windows:
        added = len(rows)  # as if no more had ever been put in: the rest of the rows is empty
    meta["memory_added"] = added
    ring = windows // 2
    kept = np.empty_like(rows)
    kept[(added - 1 - np.arange(min(len(rows), ring))) % ring] = rows[:ring]
    kept[ring:] = rows[ring:]
    for key in Memory.columns:
        arrays[f"memory.{key}"] = arrays[f"memory.{key}"][kept]
    return [f"the replay memory held up to {had} windows and holds {windows}: {len(rows)} were kept, the newest first"]
