"""What `make bench-anomaly` prints: what scores and incidents are worth, with the default config, cold, in one pass.

    python tests/benchmarks/anomaly.py DATA [--sets nab,skab,...] [--half even | --every 4] [--keep DIR] [--jobs 2]

Labelled data (nab, skab, skab-shifted, smd) go through `streamd backtest --out`, file by file; DATA holds their
folders. `--together` sends a set's files through one engine at once: twenty times as fast and for trials only.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `tests` is, also when this file is run as a script
from streamd.config import Group, Training
from streamd.records import F64
from tests.benchmarks import corpora, labelled, passes
from tests.benchmarks.corpora import Part

LABELLED: Final = ("nab", "skab", "skab-shifted", "smd")
SETS: Final = LABELLED


@dataclass(frozen=True, slots=True)
class Asked:
    """How the runs are made."""

    data: Path
    keep: Path
    network: bool = True
    together: bool = False
    rows: int | None = None  # of an SMD machine

    @property
    def settings(self) -> Group:
        return Group() if self.network else Group(training=Training(enabled=False))

    def kept(self, part: Part) -> Path:
        """Where a piece's scores lie: for NAB as its own tree of files."""
        return self.keep / part.set / f"{part.name}.npz"


@dataclass(frozen=True, slots=True)
class Job:
    """What one process does at a time."""

    set: str
    size: int  # the largest are begun first
    work: Callable[..., Any]
    arguments: tuple[Any, ...]


def score(pieces: Sequence[Part], asked: Asked) -> float:
    """Run these pieces and keep their scores; gives the seconds that it took."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-anomaly-") as folder:
        files = [corpora.file_of(part, asked.data, Path(folder), asked.rows) for part in pieces]
        if asked.together:
            found = passes.together(files, asked.settings)
        else:
            found = [passes.alone(file, asked.settings) for file in files]
    for part, arrays in zip(pieces, found, strict=True):
        passes.save(asked.kept(part), arrays)
    return time.perf_counter() - begun


def chosen(which: str, data: Path, half: str | None, every: int) -> list[Part]:
    """The pieces of a set: each second one by its name, or each k-th."""
    pieces = corpora.parts(which, data)
    if half is not None:
        pieces = pieces[half == "odd" :: 2]
    return pieces[::every]


def jobs(which: str, pieces: Sequence[Part], asked: Asked) -> list[Job]:
    """Of a labelled set."""
    if asked.together:
        return [Job(which, 1 << 40, score, (pieces, asked))]
    sources = [_source(part, asked.data) for part in pieces]
    return [
        Job(which, source.stat().st_size, score, ([part], asked)) for part, source in zip(pieces, sources, strict=True)
    ]


def _source(part: Part, data: Path) -> Path:
    match part.set:
        case "nab":
            return data / "nab" / "data" / f"{part.name}.csv"
        case "smd":
            return data / "smd" / f"{part.name}.npz"
        case _:
            return data / "skab" / f"{part.name}.csv"


def figures(which: str, pieces: Sequence[Part], asked: Asked) -> dict[str, Any]:
    """Of a labelled set, from the scores that are kept."""
    found = _load(pieces, asked)
    match which:
        case "nab":
            return labelled.of_nab(found, asked.data)
        case "smd":
            return labelled.of_smd(found, asked.data, asked.rows)
        case "skab":
            return labelled.of_skab(found, asked.data)
        case _:
            whole = [one for part in pieces if asked.kept(one := Part("skab", part.name)).is_file()]
            return labelled.of_skab(found, asked.data, _load(whole, asked))


def show(which: str, found: Mapping[str, Any]) -> None:
    match which:
        case "nab":
            labelled.show_nab(found)
        case "smd":
            labelled.show_smd(found)
        case _:
            title = "SKAB" if which == "skab" else f"SKAB, 0 to {corpora.MOST_CUT} rows cut off each file's start"
            labelled.show_skab(title, found)
    sys.stdout.flush()


def _load(pieces: Sequence[Part], asked: Asked) -> dict[Part, dict[str, F64]]:
    return {part: passes.load(asked.kept(part)) for part in pieces}


def _words(text: str) -> list[str]:
    return text.split(",")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="holds nab/, skab/ and smd/")
    parser.add_argument("--sets", type=_words, default=list(SETS), help=f"of {', '.join(SETS)}")
    parser.add_argument("--half", choices=("even", "odd"), help="only every second file, by name")
    parser.add_argument("--every", type=int, default=1, help="only every k-th file, by name")
    parser.add_argument("--rows", type=int, help="thin each SMD machine to so many rows")
    parser.add_argument("--together", action="store_true", help="all files of a set through one engine: for trials")
    parser.add_argument("--network", choices=("on", "off"), default="on", help="off: for trials")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--keep", type=Path, help="folder for the scores; else they are deleted")
    parser.add_argument("--again", action="store_true", help="run nothing: measure what lies in the --keep folder")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    given = parser.parse_args()
    if unknown := set(given.sets) - set(SETS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SETS)}")
    if given.again and given.keep is None:
        parser.error("--again: say --keep, where the scores lie")
    with tempfile.TemporaryDirectory(prefix="bench-anomaly-") as folder:
        asked = Asked(given.data, given.keep or Path(folder), given.network == "on", given.together, given.rows)
        pieces = {
            which: chosen(which, given.data, given.half, given.every) for which in given.sets if which in LABELLED
        }
        if missing := [which for which, found in pieces.items() if not found]:
            parser.error(f"{given.data}: nothing of {missing[0]} there")
        work = [] if given.again else [job for which in pieces for job in jobs(which, pieces[which], asked)]
        results = _run(work, given, lambda which: figures(which, pieces[which], asked))
    if given.json is not None:
        given.json.write_text(json.dumps(results, indent=1))


def _run(work: Sequence[Job], given: argparse.Namespace, measure: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Do the jobs, the largest first, and show each set as soon as it is complete."""
    print(f"{'default config' if given.network == 'on' else 'network off'}, cold, one pass", end="")
    print("; a set's files together: for trials only" if given.together else "")
    results: dict[str, Any] = {}
    waiting = {which: sum(job.set == which for job in work) for which in given.sets}

    def done(which: str) -> None:
        results[which] = measure(which)
        show(which, results[which])

    for which in [which for which, count in waiting.items() if not count]:
        done(which)
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        order = sorted(work, key=lambda job: (given.sets.index(job.set), -job.size))
        tasks = {pool.submit(job.work, *job.arguments): job for job in order}
        for at, task in enumerate(as_completed(tasks)):
            which = tasks[task].set
            print(f"  {which}: {task.result():.0f} s; {at + 1} of {len(tasks)} jobs", file=sys.stderr)
            waiting[which] -= 1
            if not waiting[which]:
                done(which)
    return results


if __name__ == "__main__":
    main()
