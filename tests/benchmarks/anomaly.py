"""What `make bench-anomaly` prints: what scores and incidents are worth, with the default config, cold, in one pass.

    python tests/benchmarks/anomaly.py DATA [--sets nab,skab,...] [--half even | --every 4] [--keep DIR] [--jobs 2]

Labelled data (nab, skab, skab-shifted, smd) go through `streamd backtest --out`, file by file; DATA holds their
folders. `--together` sends a set's files through one engine at once: many times as fast and for trials only. The other
sets are made here, by a seed: `normal` counts incidents where nothing is wrong, `faults` those that are noticed,
`attribution` the channels that get the blame. `cost` wants a quiet machine and `--jobs 1`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, Literal

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `tests` is, also when this file is run as a script
from streamd.config import Group, Training
from streamd.records import F64
from tests.benchmarks import attribution, corpora, labelled, normal, passes, recall, signals, term_cost
from tests.benchmarks.corpora import Part

LABELLED: Final = ("nab", "skab", "skab-shifted", "smd")
SETS: Final = (*LABELLED, "normal", "faults", "attribution", "cost")
PROFILES: Final[tuple[Literal["full", "compact"], ...]] = ("full", "compact")


@dataclass(frozen=True, slots=True)
class Asked:
    """How the runs are made."""

    data: Path
    keep: Path
    network: bool = True
    profile: Literal["full", "compact"] = "full"
    together: bool = False
    rows: int | None = None  # of an SMD machine
    seed: int = 0  # of what is made here
    every: int = 1  # kinds of streams
    cases: int = 5  # of each fault, size and base

    @property
    def settings(self) -> Group:
        return Group(profile=self.profile, training=Training(enabled=self.network))

    def kept(self, part: Part) -> Path:
        """Where a piece's scores lie: for NAB as its own tree of files."""
        return self.keep / part.set / f"{part.name}.npz"


@dataclass(frozen=True, slots=True)
class Job:
    """What one process does at a time."""

    set: str
    about: str
    size: int  # the largest are begun first
    work: Callable[..., Any]
    arguments: tuple[Any, ...]


def score(pieces: Sequence[Part], asked: Asked) -> None:
    """Run these pieces and keep their scores."""
    with tempfile.TemporaryDirectory(prefix="bench-anomaly-") as folder:
        files = [corpora.file_of(part, asked.data, Path(folder), asked.rows) for part in pieces]
        if asked.together:
            found = passes.together(files, asked.settings)
        else:
            found = [passes.alone(file, asked.settings) for file in files]
    for part, arrays in zip(pieces, found, strict=True):
        passes.save(asked.kept(part), arrays)


def chosen(which: str, data: Path, half: str | None, every: int) -> list[Part]:
    """The pieces of a set: each second one by its name, or each k-th."""
    pieces = corpora.parts(which, data)
    if half is not None:
        pieces = pieces[half == "odd" :: 2]
    return pieces[::every]


def jobs(which: str, pieces: Sequence[Part], asked: Asked) -> list[Job]:
    """What has to be done for a set."""
    match which:
        case "normal":
            return _normal(asked)
        case "faults":
            return [
                Job(which, f"{base}, {name}", 1, work, (base, of, asked.seed, asked.cases))
                for name, work in recall.WORK.items()
                for base in recall.BASES
                for of in [asked.settings if name == "streamd" else name]
            ]
        case "attribution":
            return [
                Job(which, base, 1, attribution.run, (base, asked.settings, asked.seed)) for base in attribution.BASES
            ]
        case "cost":
            return [Job(which, "all", 1, term_cost.run, ())]
    if asked.together:
        return [Job(which, "together", 1, score, (pieces, asked))]
    sources = [_source(part, asked.data) for part in pieces]
    return [
        Job(which, part.name, source.stat().st_size, score, ([part], asked))
        for part, source in zip(pieces, sources, strict=True)
    ]


def _normal(asked: Asked) -> list[Job]:
    kinds = list(signals.KINDS)[:: asked.every]
    groups = [[kind] for kind in kinds]
    if asked.together:
        single = [kind for kind in kinds if kind not in signals.SEVERAL_CHANNELS]
        groups = [*([single] if single else []), *([kind] for kind in kinds if kind in signals.SEVERAL_CHANNELS)]
    return [
        Job("normal", f"{'+'.join(group)}, {plan}", len(group), normal.run, (group, plan, asked.settings, asked.seed))
        for plan in normal.PLANS
        for group in groups
    ]


def _source(part: Part, data: Path) -> Path:
    match part.set:
        case "nab":
            return data / "nab" / "data" / f"{part.name}.csv"
        case "smd":
            return data / "smd" / f"{part.name}.npz"
        case _:
            return data / "skab" / f"{part.name}.csv"


def figures(which: str, pieces: Sequence[Part], results: Mapping[str, Any], asked: Asked) -> Any:
    """Of a set: for a labelled one from the scores that are kept, else from what the jobs gave, by their names."""
    match which:
        case "normal":
            return {
                plan: [one for name, ones in results.items() if name.endswith(f", {plan}") for one in ones]
                for plan in normal.PLANS
            }
        case "faults":
            return recall.figures(results, asked.seed, asked.cases)
        case "attribution":
            return [one for base in attribution.BASES for one in results[base]]
        case "cost":
            return results["all"]
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


def show(which: str, found: Any) -> None:
    match which:
        case "normal":
            for plan, streams in found.items():
                normal.show(plan, streams)
        case "faults":
            recall.show(found)
        case "attribution":
            attribution.show(found)
        case "cost":
            term_cost.show(found)
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
    parser.add_argument("--every", type=int, default=1, help="only every k-th file or kind of stream")
    parser.add_argument("--rows", type=int, help="thin each SMD machine to so many rows")
    parser.add_argument("--together", action="store_true", help="all files of a set through one engine: for trials")
    parser.add_argument("--network", choices=("on", "off"), default="on", help="off: for trials")
    parser.add_argument("--profile", choices=(*PROFILES, "both"), default="full", help="both: one after the other")
    parser.add_argument("--seed", type=int, default=0, help="of the streams that are made here")
    parser.add_argument("--cases", type=int, default=5, help="of each fault, size and base")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--keep", type=Path, help="folder for the scores; else they are deleted")
    parser.add_argument("--again", action="store_true", help="run nothing: measure what lies in the --keep folder")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    given = parser.parse_args()
    if unknown := set(given.sets) - set(SETS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SETS)}")
    if given.again and (given.keep is None or set(given.sets) - set(LABELLED)):
        parser.error(f"--again: say --keep, where the scores lie, and --sets of {', '.join(LABELLED)}")
    with tempfile.TemporaryDirectory(prefix="bench-anomaly-") as folder:
        asked = Asked(
            data=given.data,
            keep=given.keep or Path(folder),
            network=given.network == "on",
            together=given.together,
            rows=given.rows,
            seed=given.seed,
            every=given.every,
            cases=given.cases,
        )
        pieces = {
            which: chosen(which, given.data, given.half, given.every) if which in LABELLED else []
            for which in given.sets
        }
        if missing := [which for which in given.sets if which in LABELLED and not pieces[which]]:
            parser.error(f"{given.data}: nothing of {missing[0]} there")
        if given.profile == "both":
            results: dict[str, Any] = {
                profile: _measured(replace(asked, profile=profile, keep=asked.keep / profile), pieces, given)
                for profile in PROFILES
            }
        else:
            results = _measured(replace(asked, profile=given.profile), pieces, given)
    if given.json is not None:
        given.json.write_text(json.dumps(results, indent=1))


def _measured(asked: Asked, pieces: Mapping[str, Sequence[Part]], given: argparse.Namespace) -> dict[str, Any]:
    """All sets in one profile, shown: each set's figures."""
    work = [] if given.again else [job for which in pieces for job in jobs(which, pieces[which], asked)]
    print(f"{'default config' if asked.network else 'network off'}, {asked.profile} profile, cold, one pass", end="")
    print("; a set's files together: for trials only" if asked.together else "", flush=True)
    return _run(work, list(pieces), given.jobs, lambda which, gave: figures(which, pieces[which], gave, asked))


def _run(
    work: Sequence[Job], sets: Sequence[str], processes: int, measure: Callable[[str, Mapping[str, Any]], Any]
) -> dict[str, Any]:
    """Do the jobs, set by set and the largest first, and show each set as soon as it is complete."""
    results: dict[str, Any] = {}
    given: dict[str, dict[str, Any]] = {which: {} for which in sets}
    waiting = {which: sum(job.set == which for job in work) for which in sets}

    def done(which: str) -> None:
        results[which] = measure(which, given[which])
        show(which, results[which])

    for which in [which for which, count in waiting.items() if not count]:
        done(which)
    begun = time.monotonic()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        order = sorted(work, key=lambda job: (sets.index(job.set), -job.size))
        tasks = {pool.submit(job.work, *job.arguments): job for job in order}
        for at, task in enumerate(as_completed(tasks)):
            job = tasks[task]
            given[job.set][job.about] = task.result()
            passed = time.monotonic() - begun
            print(f"  {at + 1} of {len(tasks)} after {passed:.0f} s: {job.set}, {job.about}", file=sys.stderr)
            waiting[job.set] -= 1
            if not waiting[job.set]:
                done(job.set)
    return results


if __name__ == "__main__":
    main()
