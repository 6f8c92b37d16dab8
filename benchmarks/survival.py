"""What may befall a command: killed at random moments, full and read-only disks, damaged files, company, no memory.

    python benchmarks/survival.py [--rounds 50] [--seed 0] [--only KIND] [--keep FILE]

Mishaps lie in ``surviving/``, one file for each kind; ``tests/test_survival_study.py`` kills every command twice, and
plays one of each of the others, with every change. A round begins in a folder of its own with a cache of its own.
Afterwards the same command must make, bit by bit, what it makes where nothing befalls it: scores, tables, checks,
terms and pictures, weights and losses, the page. "told" are rounds that end with one clear line, where that is what
can be done. Rounds that are done are kept in ``results/survival.partial.jsonl``, and the same command goes on where it
was stopped. About an hour on one core. Commands are children of one process that has imported everything, so that they
are struck at work. Small file systems are mounted for full and read-only disks, which takes root.
"""

import argparse
import dataclasses
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from record import FOLDER, save
from surviving import damage, disks, kills, others
from surviving.outcomes import Case, Outcome
from surviving.subjects import SUBJECTS, Subject

PARTIAL = FOLDER / "survival.partial.jsonl"
CASES = (*kills.CASES, *disks.CASES, *damage.CASES, *others.CASES)
ENDS = ("right", "told", "wrong", "crashed")


class Stage:
    """Where rounds are played: unbroken outputs of every command, and what is right of them.

    Args:
        folder: for all of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._expected: dict[str, str] = {}

    def expected(self, subject: Subject) -> str:
        """The digest of what the command makes where nothing befalls it, made once."""
        if subject.name not in self._expected:
            place = self.folder / "whole" / subject.name
            place.mkdir(parents=True)
            self._furnish(subject, place)
            self._expected[subject.name] = kills.measure(subject, place)
            out = place / subject.output
            disks.SIZES[subject.name] = disks.size_of(out) if out.is_dir() else out.stat().st_size
        return self._expected[subject.name]

    def play(self, case: Case, subject: Subject, seed: str) -> Outcome:
        """One round in a folder of its own, which is removed."""
        expected = self.expected(subject)
        place = self.folder / "round"
        place.mkdir()
        try:
            self._furnish(subject, place)
            return case.play(subject, expected, place, Random(f"{seed} {case.name} {subject.name}"))
        finally:
            shutil.rmtree(place)

    def _furnish(self, subject: Subject, place: Path) -> None:
        """A finished run, for a command that reads one."""
        if subject.needs:
            self.expected(SUBJECTS["fid"])
            shutil.copytree(self.folder / "whole" / "fid" / "run", place / "finished")


def rounds(wanted: int, only: str) -> Iterator[tuple[Case, Subject, int]]:
    """Every round, those of all cases by turns, so that a stopped study has seen some of each."""
    for number in range(wanted):
        for case in CASES:
            if only in case.name and number < max(1, round(case.share * wanted)) and case.why_not() is None:
                yield from ((case, SUBJECTS[name], number) for name in case.subjects)


def kept(place: Path) -> list[dict[str, Any]]:
    """The rounds that are done."""
    return [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []


def table(done: list[dict[str, Any]]) -> list[dict[str, object]]:
    """A row for each case and command, and their sum."""
    rows: list[dict[str, object]] = []
    for case in CASES:
        for name in case.subjects:
            mine = [one for one in done if (one["case"], one["command"]) == (case.name, name)]
            if mine:
                rows.append({"case": case.name, "command": name, **_counted(mine)})
    return [*rows, {"case": "all", "command": "", **_counted(done)}]


def _counted(mine: list[dict[str, Any]]) -> dict[str, object]:
    ends = Counter(one["ended"] for one in mine)
    struck = Counter(one["struck"] for one in mine)
    told = "; ".join(f"{what} {count}" for what, count in struck.most_common(6)) if len(struck) < 30 else ""
    return {
        "rounds": len(mine), "mishaps": sum(one["mishaps"] for one in mine), **{end: ends[end] for end in ENDS},
        "struck": told,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50, help="kills of each command; other mishaps fewer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument(
        "--keep", type=Path, default=PARTIAL, help="file of the rounds; no table is written of another"
    )
    options: SimpleNamespace = SimpleNamespace(**vars(parser.parse_args()))
    for case in CASES:
        if (why := case.why_not()) is not None:
            print(f"not played: {case.name}: {why}", flush=True)
    FOLDER.mkdir(exist_ok=True)
    there = {(one["case"], one["command"], one["seed"]) for one in kept(options.keep)}
    with tempfile.TemporaryDirectory(prefix="diffeval-survival-") as folder:
        stage = Stage(Path(folder))
        for case, subject, number in rounds(options.rounds, options.only):
            seed = f"{options.seed}/{number}"
            if (case.name, subject.name, seed) in there:
                continue
            outcome = stage.play(case, subject, seed)
            line = {"case": case.name, "command": subject.name, "seed": seed, **dataclasses.asdict(outcome)}
            with options.keep.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
    done = kept(options.keep)
    if options.keep == PARTIAL:
        save("survival", table(done), libraries=("torch", "diffusers", "numpy"))
    lost = [one for one in done if one["ended"] in ("wrong", "crashed")]
    assert not lost, f"{len(lost)} rounds did not survive; see {options.keep}"


if __name__ == "__main__":
    main()
