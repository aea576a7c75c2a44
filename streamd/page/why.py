"""Why one incident was raised, for the page: the words of `streamd explain`, and the numbers to draw.

Earlier incidents are looked through one by one, so that a commit of the journal never waits for more than one of them.
Knows the archive and who is asked what; the explaining itself is done elsewhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import msgspec

from streamd import explaining, portrait
from streamd.explaining import Explanation
from streamd.page.plain import exact, short
from streamd.records import Incident
from streamd.store.archive import Archive, Kept

OTHERS: Final = 40  # earlier incidents of the group that are compared with it


Read: TypeAlias = Callable[[Callable[[Archive], Any]], Awaitable[Any]]  # has the archive asked elsewhere, in turn


class Around(msgspec.Struct, frozen=True):
    """The frames around an incident, by columns; channels in the order of the blame."""

    channels: list[str]
    time: list[Any]  # [N]
    values: list[Any]  # [N][C]
    mean: list[Any]
    lower: list[Any]
    upper: list[Any]
    scores: dict[str, list[Any]]  # score and terms by name, [N]


class Why(msgspec.Struct, frozen=True):
    group: str
    incident: Incident
    verdict: str
    sentences: list[str]
    peak: list[tuple[str, ...]]  # rows of a table
    peak_head: tuple[str, ...]
    like: list[tuple[str, ...]]
    like_head: tuple[str, ...]
    compared: int  # earlier incidents that were looked at
    around: Around | None


async def explain(read: Read, group: str, incident: str) -> Why | None:
    """All there is to say of an incident; None: the archive does not have it."""
    kept = await _whole(read, group, incident)
    if kept is None:
        return None
    latest: list[Kept] = await read(lambda archive: archive.latest(4 * OTHERS))
    others: list[Kept] = []
    for one in latest:
        if len(others) < OTHERS and one.group == group and one.told[0].start < kept.told[0].start:
            other = await _whole(read, group, one.told[-1].id)
            others += [] if other is None else [other]
    return _told(explaining.explained(kept, others), len(others))


async def _whole(read: Read, group: str, incident: str) -> Kept | None:
    """An incident with its frames."""
    found: list[Kept] = await read(lambda archive: archive.find(incident))
    return next((one for one in found if one.group == group), None)


def _told(found: Explanation, compared: int) -> Why:
    return Why(
        group=found.group,
        incident=found.incident,
        verdict=found.verdict,
        sentences=[portrait.headline(found), *portrait.sentences(found)],
        peak=[*portrait.at_the_peak(found)],
        peak_head=portrait.PEAK_HEAD,
        like=[portrait.like_row(one) for one in found.like],
        like_head=portrait.LIKE_HEAD,
        compared=compared,
        around=_around(found),
    )


def _around(found: Explanation) -> Around | None:
    if found.frames is None:
        return None
    drawn = portrait.picture(found)
    return Around(
        channels=[*drawn.channels],
        time=exact(drawn.times),
        values=short(drawn.values),
        mean=short(drawn.mean),
        lower=short(drawn.lower),
        upper=short(drawn.upper),
        scores={name: short(one, 4) for name, one in drawn.scores.items()},
    )
