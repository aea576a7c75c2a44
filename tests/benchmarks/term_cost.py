"""CPU time per reading of each of the score's terms, and of what makes a score and incidents of them.

Knows the parts by name; the terms deviation and surprise are made together, by the whitener and the tails.
"""

from __future__ import annotations

from typing import Any, Final

from tests.benchmarks import expert_cost

PARTS: Final = (*expert_cost.JUDGE, "silence", "incidents", "together", "feedback")
STREAMS, CHANNELS, HORIZON = 200, 6, 12


def run(seconds: float = 5.0) -> dict[str, float]:
    """Median µs per reading of each part there is, and of all of `engine.apply`."""
    costs = expert_cost.measure(STREAMS, CHANNELS, HORIZON, seconds)
    return {name: costs[name] for name in (*PARTS, "engine.apply")}


def show(costs: dict[str, Any]) -> None:
    print(f"\nCost: CPU us per reading of {CHANNELS} channels, {STREAMS} streams at once, training off")
    for name, cost in costs.items():
        print(f"  {name:<14}{cost:>8.2f}")
