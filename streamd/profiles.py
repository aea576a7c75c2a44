"""Which profile a start gives each group: full where the known streams fit into `memory_mb`, else compact.

Knows what a stream takes, and what a checkpoint says of its groups; no engine, and not how a state changes its profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamd.config import Config, Group
from streamd.store import checkpoint

KEPT_COMPACT: Final = 0.5  # of the budget: a compact group stays so as long as full ones would take more


@dataclass(frozen=True, slots=True)
class Kept:
    """What there is of a group."""

    known: int  # streams ever seen
    channels: int
    compact: bool  # its profile so far


def full_bytes(kept: Mapping[str, Kept], groups: Mapping[str, Group]) -> int:
    """What the streams that may be in memory would take if all groups were full."""
    from streamd.engine import layout  # which needs torch: `check` must not wait for it where nothing is kept

    return sum(
        min(kept[name].known, settings.max_resident_streams) * layout.row_bytes(settings, kept[name].channels)
        for name, settings in groups.items()
        if name in kept
    )


def is_compact(settings: Group, was: bool, full: int, budget: float) -> bool:
    """Whether a group is to be compact.

    Back to full only where that would take less than half of the budget: a start is not to undo what the last one did.

    Args:
        was: whether it has been so far.
        full: see `full_bytes`.
        budget: bytes.
    """
    if settings.profile != "auto":
        return settings.profile == "compact"
    return full > (KEPT_COMPACT if was else 1.0) * budget


def told(config: Config) -> dict[str, str]:
    """For each group, the profile that a start would give it and why, in a few words; by what is on disk."""
    groups, folder = config.groups(), Path(config.state.folder)
    auto = any(settings.profile == "auto" for settings in groups.values())
    try:
        kept = _kept(folder, groups) if auto and folder.is_dir() else {}
    except OSError as error:
        return dict.fromkeys(groups, f"{folder} can't be read: {error}")
    known = sum(one.known for one in kept.values())
    full, budget = full_bytes(kept, groups) if known else 0, config.state.memory_mb * 1e6
    words = {}
    for name, settings in groups.items():
        was = name in kept and kept[name].compact
        profile = "compact" if is_compact(settings, was, full, budget) else "full"
        if settings.profile != "auto":
            reason = "as the config says"
        elif not known:
            reason = f"auto: {folder} knows no stream yet"
        else:
            stays = "; it was compact, and goes back where they take less than half of that" if was else ""
            reason = f"auto: the {known:,} streams of the newest checkpoint would take {full / 1e6:,.1f} MB in full, "
            reason += f"state.memory_mb is {config.state.memory_mb:,.6g}{stays}"
        words[name] = f"{profile} ({reason})"
    return words


def _kept(folder: Path, groups: Mapping[str, Group]) -> dict[str, Kept]:
    """What the newest checkpoint says of these groups."""
    meta = checkpoint.newest_meta(folder) or {}
    there, settings = meta.get("groups", {}), meta.get("settings", {})
    return {
        name: Kept(there[name]["known"], len(there[name]["channels"]), settings[name]["profile"] == "compact")
        for name in groups
        if name in there and "profile" in settings.get(name, {})
    }
