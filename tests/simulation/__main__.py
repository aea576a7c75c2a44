"""Runs worlds, seed by seed, and says which of them broke a promise; exit code 1 if one did.

Knows how to run and count; the worlds know the rest. `python -m tests.simulation --help` from the root of the tree.
"""

from __future__ import annotations

import logging
import shlex
import sys
import time
from contextlib import nullcontext
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from streamd.engine.engine import Engine
from streamd.model.training import train
from tests.simulation.bugs import PLANTED
from tests.simulation.world import REAL, Result, World

HOURS = 40.0  # of weather in each world


def run(seed: int, hours: float = HOURS, *, bug: str | None = None, real: bool = False) -> Result:
    """One world, with a planted bug or none, and with the real engine or one that is nothing but its history."""
    with nullcontext() if bug is None else PLANTED[bug]():
        if real:
            return World(seed, hours, Engine, train, REAL).run()
        return World(seed, hours).run()


def again(seed: int, hours: float, bug: str | None, real: bool) -> str:
    """The command that runs a world again."""
    options: list[Any] = ["--seed", seed]
    options += ["--hours", f"{hours:g}"] if hours != HOURS else []
    options += ["--bug", bug] if bug else []
    options += ["--real"] if real else []
    return f"make simulate ARGS={shlex.quote(shlex.join(map(str, options)))}"


def main(
    seeds: Annotated[int, typer.Option(min=1, help="How many worlds.")] = 200,
    first: Annotated[int, typer.Option(help="The seed of the first one.")] = 0,
    seed: Annotated[int | None, typer.Option(help="Only this one, with the daemon's log.")] = None,
    hours: Annotated[float, typer.Option(min=0.1, help="Of weather in each, by virtual time.")] = HOURS,
    bug: Annotated[str | None, typer.Option(help=f"Plant one: {', '.join(PLANTED)}.")] = None,
    real: Annotated[bool, typer.Option("--real", help="With the real engine, small; slow.")] = False,
) -> None:
    """Live through hours of bad weather, many times over."""
    if bug is not None and bug not in PLANTED:
        raise typer.BadParameter(f"{bug}: expected one of {', '.join(PLANTED)}")
    if seed is not None:
        logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(name)s %(message)s")
        logging.getLogger("streamd").setLevel(logging.INFO)
    begun = time.perf_counter()
    results: list[Result] = []
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        chosen = range(first, first + seeds) if seed is None else (seed,)
        for number in progress.track(chosen, description="worlds"):
            results.append(run(number, hours, bug=bug, real=real))
            if broken := results[-1].broken:
                progress.console.print(
                    f"seed {number}: {broken}\n  again: {again(number, hours, bug, real)}", markup=False
                )
    failures = sum(bool(result.broken) for result in results)
    _tell(results, failures, time.perf_counter() - begun)
    raise typer.Exit(1 if failures else 0)


def _tell(results: list[Result], failures: int, seconds: float) -> None:
    hours = sum(result.hours for result in results)
    readings = sum(result.readings for result in results)
    records = sum(result.records for result in results)
    deaths = sum(result.deaths for result in results)
    print(
        f"{len(results)} seeds, {failures} failed; {hours:,.0f} virtual hours in {seconds:,.0f} s "
        f"({60 * hours / seconds:,.0f} per minute); {readings:,} readings, {records:,} records committed, "
        f"{sum(result.lives for result in results):,} lives, {deaths:,} of them ended by a kill or the power"
    )


if __name__ == "__main__":
    typer.run(main)
