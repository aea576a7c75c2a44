"""Which forecasts and scores of a group go out: those of each frame, or fewer, as its `publish` settings ask.

Also what is left out when the daemon can't keep up. Knows outcomes, not payloads; reads no clock. What was told last it
knows as long as the process lasts: after a start each stream is told of anew. Incidents are not its matter: all go out.
"""

from __future__ import annotations

import math
from collections.abc import Container

from streamd.config import Publish
from streamd.records import Outcome
from streamd.wire.outcomes import Wanted

WORTH = 0.1  # a score that changed by so much is told again


class Telling:
    """Of one group.

    Args:
        settings: how much is wanted.
    """

    def __init__(self, settings: Publish) -> None:
        self.settings = settings
        self._every_s = settings.forecast_every_s
        self._on_change = settings.score == "change"
        self._foretold: dict[str, float] = {}  # stream -> time of its frame whose forecast went out last, s
        self._scored: dict[str, tuple[float, bool, bool]] = {}  # stream -> score, alarm, warm, as told last

    def choose(self, outcome: Outcome, outdated: Container[str] = ()) -> Wanted | None:
        """The rows to be told; None: all of them.

        Args:
            outdated: streams with a newer frame behind this one already, whose forecasts nobody waits for.
        """
        everything = range(len(outcome.streams))
        if not self._every_s and not self._on_change and not outdated:
            return None
        forecasts = [row for row in everything if outcome.streams[row] not in outdated]
        if self._every_s:
            forecasts = self._due(outcome, forecasts)
        return Wanted(forecasts, self._changed(outcome) if self._on_change else everything)

    def _due(self, outcome: Outcome, rows: list[int]) -> list[int]:
        due = []
        times = outcome.times.tolist()
        for row in rows:
            stream, time = outcome.streams[row], times[row]
            if time - self._foretold.get(stream, -math.inf) >= self._every_s:
                self._foretold[stream] = time
                due.append(row)
        return due

    def _changed(self, outcome: Outcome) -> list[int]:
        changed = []
        each = zip(
            outcome.streams, outcome.score.tolist(), outcome.warming.tolist(), outcome.drifted.tolist(), strict=True
        )
        for row, (stream, score, warming, drifted) in enumerate(each):
            told, alarm, warm = self._scored.get(stream, (math.nan, False, False))
            if drifted or (score >= 1.0, warming >= 1.0) != (alarm, warm) or not abs(score - told) < WORTH:
                self._scored[stream] = score, score >= 1.0, warming >= 1.0
                changed.append(row)
        return changed
