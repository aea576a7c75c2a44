"""What a full and a compact state are made of: the lengths of the axes that differ between them.

A full state spends its memory on a long look back, on what was taught and waits, and on a forecast of every step; where
there are thousands of streams, most of that is better left out. Which steps of a compact one are judged is told by
`horizons`. Knows lengths; not when which of them is used.
"""

from __future__ import annotations

from typing import Final

from streamd.engine import mix, pending, periods
from streamd.engine.backlog import KEPT
from streamd.engine.lags import BACK, FEATURES, FEWER, FEWER_BACK, FEWER_MEANS, MEANS_FRAMES, NEAR

# E experts, M forecasts that wait for their values, F features, G of them slow means, A that the adaptive regression
# looks at, B frames that they look back, U frames that teach at once, N frames that a period is looked for in
FULL: Final = {
    "E": len(mix.EXPERTS),
    "M": len(pending.MADE),
    "F": FEATURES,
    "G": len(MEANS_FRAMES),
    "A": NEAR,
    "B": BACK,
    "U": KEPT,
    "N": periods.SPAN,
}
COMPACT: Final = {
    "E": mix.FEW,
    "M": mix.FEW + len(pending.MADE) - len(mix.EXPERTS),
    "F": FEWER,
    "G": len(FEWER_MEANS),
    "A": 0,
    "B": FEWER_BACK,
    "U": 4,  # solving more often costs little with so few features, and each frame that is kept has all of them
    "N": 192,
}
