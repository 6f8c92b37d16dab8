"""All figures of scale, speed and survival: measures what is missing, and writes the tables where people read them.

    python benchmarks/figures.py                      what has no results is measured, then the tables are written
    python benchmarks/figures.py --again fuzz ranks   these are measured anew; --again all: everything
    python benchmarks/figures.py --list               studies, the minutes that they take, and what there is of them
    python benchmarks/figures.py --write              only writes the tables
    python benchmarks/figures.py --check              exits with 1 where a document does not say what the results do

Studies and their figures stand in ``studies/``. Each is a process of its own, so that what was measured stays when
this is stopped, and the same command without ``--again`` goes on. Leave the machine alone meanwhile. A table stands
between ``<!-- figures: NAME -->`` and ``<!-- end -->``; what people wrote around it stays. Two are made of all
results: ``goals``, what was asked for against what was measured, and ``machines``, what was measured where.
"""

import argparse
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from studies.goals import table as goals
from studies.registry import STUDIES
from studies.study import RESULTS, Claim, Figure, Measured, Study, Table, read

ROOT = Path(__file__).parents[1]
DOCUMENTS = (ROOT / "benchmarks/README.md", ROOT / "docs/scale.md")
MARKED = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def figures() -> list[tuple[Study, Figure]]:
    """Every figure, with the study that makes it."""
    return [(study, figure) for study in STUDIES for figure in study.figures]


def broken(figure: Figure) -> list[Claim]:
    """Claims that results which are there do not keep."""
    measured = figure.measured()
    return [] if measured is None else [claim for claim in figure.claims(measured.rows) if not claim.holds]


def block(study: Study, figure: Figure, document: Path) -> str:
    """A figure's table, and under it what made it, when, and on what machine."""
    measured = figure.measured()
    if measured is None:
        return f"Not measured yet; `{study.command}` does it.\n"
    every = os.path.relpath(RESULTS / f"{figure.name}.md", document.parent)
    origin = (
        f"`{measured.command or f'python benchmarks/{study.path.name}'}`: {measured.origin} ([all columns]({every}))."
    )
    return f"{figure.table(measured.rows).text()}\n\n{origin}\n"


def goals_block() -> str:
    """Goals, by the results that there are."""
    found = {figure.name: figure.measured() for _, figure in figures()}
    return goals({name: one.rows for name, one in found.items() if one is not None}).text() + "\n"


def machines_block() -> str:
    """Which results come from which machine, of all that there are."""
    places: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for one in filter(None, map(_any, sorted(RESULTS.glob("*.json")))):
        versions = (one.versions["Python"], one.versions.get("torch", ""))
        places[(one.machine, *versions, one.date or "not recorded")].append(f"`{one.name}`")
    rows = [(*place, ", ".join(names)) for place, names in sorted(places.items())]
    return Table(("machine", "Python", "torch", "date", "results"), rows).text() + "\n"


def _any(path: Path) -> Measured | None:
    """Results of any study; None for files that are its raw measurements."""
    try:
        return read(path)
    except KeyError:
        return None


def generated(document: Path) -> str:
    """What a document should say.

    Raises:
        KeyError: if it has marks of a figure that there is not.
    """
    blocks = {figure.name: block(study, figure, document) for study, figure in figures()}
    blocks |= {"goals": goals_block(), "machines": machines_block()}
    return MARKED.sub(lambda found: f"{found[1]}{blocks[found[2]]}{found[3]}", document.read_text(encoding="utf-8"))


def check() -> list[str]:
    """One line for each document that says something else, and for each claim that does not hold."""
    wrong = [
        f"{document.relative_to(ROOT)}: not what the results say; run python benchmarks/figures.py --write"
        for document in DOCUMENTS
        if generated(document) != document.read_text(encoding="utf-8")
    ]
    return wrong + [
        f"results/{figure.name}.json: does not hold: {claim.said}"
        for _, figure in figures()
        for claim in broken(figure)
    ]


def write() -> None:
    """Writes the tables."""
    for document in DOCUMENTS:
        document.write_text(generated(document), encoding="utf-8")


def measure(studies: Sequence[Study]) -> list[Study]:
    """Runs them one after the other; returns those that failed."""
    failed = []
    for study in studies:
        print(f"== {study.command}", flush=True)
        if subprocess.run([sys.executable, str(study.path), *study.arguments], cwd=ROOT, check=False).returncode:
            failed.append(study)
    return failed


def listing(studies: Iterable[Study]) -> str:
    """Studies and what there is of them."""
    rows = []
    for study in studies:
        found = [one for one in (figure.measured() for figure in study.figures) if one is not None]
        took = next((f"{one.seconds / 60:.0f}" for one in reversed(found) if one.seconds is not None), "")
        wrong = sum(len(broken(figure)) for figure in study.figures)
        state = "missing" if study.missing else f"{wrong} claims broken" if wrong else "there"
        latest = found[-1] if found else None
        date = (latest.date or "not recorded") if latest else ""
        rows.append((study.script, state, str(study.minutes), took, date, latest.machine if latest else ""))
    headings = ("study", "results", "minutes expected", "last", "date", "machine")
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (headings, *rows)
    )
    return "\n".join(line.rstrip() for line in lines)


def chosen(names: Sequence[str]) -> list[Study]:
    """Studies by their names; ``all`` is every one."""
    known = {study.script: study for study in STUDIES}
    unknown = [name for name in names if name not in known and name != "all"]
    if unknown:
        raise SystemExit(f"figures: no study {unknown[0]!r}; there are {', '.join(known)}")
    return [study for study in STUDIES if "all" in names or study.script in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", nargs="+", metavar="NAME", default=[], help="measure these anew")
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("--write", action="store_true", help="only write the tables")
    parser.add_argument("--check", action="store_true", help="only say whether they are right")
    options = parser.parse_args()
    again = chosen(options.again)
    if options.list:
        print(listing(STUDIES))
        return
    if options.check:
        wrong = check()
        print("\n".join(wrong) or "figures: documents say what the results do")
        raise SystemExit(bool(wrong))
    failed = []
    if not options.write:
        for study in again:
            study.forget()
        todo = [study for study in STUDIES if study.missing]
        print(
            f"{listing(todo)}\nabout {sum(study.minutes for study in todo)} minutes" if todo else "nothing is missing"
        )
        failed = measure(todo)
    write()
    wrong = [f"{study.path.name}: failed; see above" for study in failed] + check()
    print("\n".join(wrong) or "figures: written")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
