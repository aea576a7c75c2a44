"""CPU time per reading of each of the score's terms, and of what makes a score and incidents of them.

Knows the names of the engine's parts; a term is one of them under its own name. Where a term has no part of its own, it
is not in the table: its time is in that of `score` then.
"""

from __future__ import annotations

from typing import Any, Final

from streamd.config import Group
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.engine.rows import Rows
from streamd.engine.score import TERMS
from tests.benchmarks import expert_cost

AFTER: Final = ("calibration", "score", "rules", "feedback", "incidents")
STREAMS, CHANNELS, HORIZON = 200, 6, 12


def run(seconds: float = 5.0) -> dict[str, float]:
    """Median µs per reading of each part there is, and of all of `engine.apply`."""
    engine = Engine(Group(channels=("value",)), InlineTrainer())
    parts = [name for name in (*TERMS, *AFTER) if isinstance(getattr(engine, name, None), Rows)]
    costs = expert_cost.measure(STREAMS, CHANNELS, HORIZON, seconds, parts)
    return {name: costs[name] for name in (*parts, "engine.apply")}


def show(costs: dict[str, Any]) -> None:
    print(f"\nCost: CPU us per reading of {CHANNELS} channels, {STREAMS} streams at once, training off")
    for name, cost in costs.items():
        print(f"  {name:<14}{cost:>8.2f}")
