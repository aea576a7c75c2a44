"""A daemon that is killed again and again, at every moment that has a name and at others.

    python -m tests.crash.kills --kills 1000 --seed 1 [--untimed] [--json]

Knows which moments, and how often. The seed gives the readings and the plan of kills; what the machine does between
two calls it does not give, so a failing seed is run again, not replayed to the microsecond.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import msgspec
from rich.progress import Progress

from tests.broker.mosquitto import Mosquitto
from tests.crash.faults import Fault, Moment
from tests.crash.nursery import Nursery
from tests.crash.trial import SHIPPED, Report, Trial

TRIES = 6  # lives that a planned kill may take until its call comes
# point -> the call that is struck at the latest, of those that a life makes
CALLS = {
    "apply": 40,
    "transaction": 5,
    "commit": 4,
    "acknowledge": 30,
    "publish": 60,
    "incident": 1,
    "train": 3,
    "install": 3,
    "write": 1,
    "rename": 1,
    "truncate": 1,
    "replay": 1,
    "replayed": 12,
}
WITHIN_S = {"transaction": 0.004, "write": 0.004, "truncate": 0.004, "train": 0.01, "install": 0.004, "replay": 0.1}
MOMENTS: tuple[Moment, ...] = ("before", "within", "after")
PLANNED = tuple((point, moment) for point in CALLS for moment in MOMENTS if moment != "within" or point in WITHIN_S)
AT_RANDOM = 6  # of this many plus the planned ones, at moments that have no name


def kill(trial: Trial, kills: int, seed: int) -> Iterator[int]:
    """So many kills; gives their number after each life."""
    chance = random.Random(seed)
    begun = time.perf_counter()
    trial.begin()
    for point, moment in _plan(chance):
        for _ in range(TRIES):
            if trial.report.kills >= kills:
                trial.report.seconds = time.perf_counter() - begun
                return
            struck = trial.live(_fault(chance, point, moment) if point else None)
            yield trial.report.kills
            if struck:
                break
        else:
            trial.report.missed.append(f"{moment} {point}")


def _plan(chance: random.Random) -> Iterator[tuple[str, Moment]]:
    """Every planned kill once, in any order, among some at random moments; and so on."""
    while True:
        kinds = [*PLANNED, *[("", MOMENTS[0])] * AT_RANDOM]
        chance.shuffle(kinds)
        yield from kinds


def _fault(chance: random.Random, point: str, moment: Moment) -> Fault:
    return Fault(point, moment, chance.randint(1, CALLS[point]), chance.uniform(0.0, WITHIN_S.get(point, 0.0)))


def run(kills: int, seed: int, folder: Path, *, timed: bool, progress: Progress | None = None) -> Report:
    """Kill a daemon so many times, and tell what came of it."""
    bar = None if progress is None else progress.add_task(f"seed {seed}", total=kills)
    with contextlib.ExitStack() as stack:
        broker = Mosquitto(folder / "broker", extra=SHIPPED).start()
        stack.callback(broker.stop)
        nursery = stack.enter_context(Nursery())
        trial = Trial(folder / "daemon", broker, nursery, seed, timed=timed)
        for number in kill(trial, kills, seed):
            if progress is not None and bar is not None:
                progress.update(bar, completed=number)
        return trial.finish()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--untimed", action="store_true", help="readings carry no time")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Progress(transient=True) as progress:
        report = run(asked.kills, asked.seed, Path(folder), timed=not asked.untimed, progress=progress)
    if asked.json:
        print(msgspec.json.encode(asdict(report)).decode())
    else:
        show(report)
    return 1 if report.wrong else 0


def show(report: Report) -> None:
    per_record = report.recovery_s / max(report.recovered_records, 1)
    print(
        f"{report.kills} kills survived in {report.seconds:.0f} s,"
        f" {sum(report.struck.values())} of them at {len(report.struck)} of {len(PLANNED)} named moments\n"
        f"{report.readings} readings acknowledged, {report.lost} lost, {report.doubled} doubled;"
        f" {report.repeated} outcomes repeated with the same content; {report.incidents} messages about incidents\n"
        f"{report.recoveries} recoveries of {report.recovered_records} records: {report.recovery_s:.2f} s,"
        f" {per_record * 1e3:.2f} ms per record, longest {report.longest_recovery_s:.2f} s"
    )
    for missed in report.missed:
        print(f"never struck: {missed}")
    for wrong in report.wrong:
        print(f"WRONG: {wrong}", file=sys.stderr)
    if report.wrong:
        again = f"python -m tests.crash.kills --kills {report.kills} --seed {report.seed}"
        print(f"again: {again}{'' if report.timed else ' --untimed'}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
