"""Health checks: each with how it ended, what to do, its curves and its pictures."""

from collections.abc import Iterator, Sequence

import numpy as np

from diffeval.report.copies import NAME as COPIES
from diffeval.report.copies import copies_gallery
from diffeval.report.figures.checks import check_figures
from diffeval.report.images import tiles
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block, CheckCard, Gallery, Mark, Rows
from diffeval.runs.records import CheckResult, Results

# Pictures of the check that follows the sampler, and the seeds of which checkpoints are shown below each other.
TRAJECTORY, SEEDS = "pictures_trajectory", 4
# What does not pass is read first.
ORDER = ("fail", "warn", "inconclusive", "pass", "not-applicable")


@section("checks", "Health checks", 110, "diffeval check {checkpoint}")
def checks(story: Story) -> list[Block]:
    """The checks of all runs at a glance; of each run, the worst first; then the same seeds of several checkpoints."""
    return [*matrix(story.runs), *story.by_run(_of_run), *side_by_side(story.runs)]


def matrix(runs: Sequence[Told]) -> Iterator[Rows]:
    """Check by run, where several runs were checked: the checks that end worst anywhere stand first."""
    checked = [one for one in runs if one.results is not None and one.results.checks]
    if len(checked) < 2:
        return
    ended = [{check.name: check.status for check in one.results.checks} for one in checked if one.results is not None]
    names = dict.fromkeys(name for one in ended for name in one)
    worst = {name: min(ORDER.index(one[name]) for one in ended if name in one) for name in names}
    rows = tuple(
        (name, *(Mark(one[name], one[name]) if name in one else "–" for one in ended))
        for name in sorted(names, key=lambda name: (worst[name], name))
    )
    told = "; ".join(
        f"{one.name}: {sum(status == 'fail' for status in held.values())} of {len(held)} fail"
        for one, held in zip(checked, ended, strict=True)
    )
    yield Rows("All checks", f"{told}. – was not run.", ("check", *(one.name for one in checked)), rows)


def _of_run(told: Told) -> Iterator[Block]:
    results = told.results
    if results is None:
        return
    for one in sorted(results.checks, key=lambda one: (ORDER.index(one.status), one.name)):
        yield _card(told, results, one)


def _card(told: Told, results: Results, found: CheckResult) -> CheckCard:
    return CheckCard(
        name=found.name,
        status=found.status,
        summary=found.summary,
        fix=found.fix,
        ruled_out="; ".join(found.ruled_out),
        figures=check_figures(
            found.name, results.tables, told.place, found.status, static=found.status in {"fail", "warn"}
        ),
        gallery=_gallery(told, found.name),
    )


def _gallery(told: Told, name: str) -> Gallery | None:
    arrays = told.run.arrays(f"pictures_{name}")
    if arrays is None:
        return None
    pairs = copies_gallery(told, arrays) if name == COPIES else None
    if pairs is not None:
        return pairs
    images = arrays["images"]
    rows, columns = (tuple(map(str, arrays[one])) for one in ("rows", "columns"))
    captions = [f"{row}: {column}" for row in rows for column in columns]
    flat = images.reshape(-1, *images.shape[2:])
    return Gallery("Pictures", str(arrays["sentence"]), tiles(flat, captions), len(columns), columns, rows)


def side_by_side(runs: Sequence[Told]) -> Iterator[Gallery]:
    """The same seeds on their way to an image, checkpoint below checkpoint; none where fewer than two show them.

    Checkpoints of one training are shown so, or any that were sampled from the same seeds and classes alike.
    """
    shown = [(one, arrays) for one in runs if (arrays := one.run.arrays(TRAJECTORY)) is not None]
    if len(shown) < 2 or any(list(one[1]["rows"]) != list(shown[0][1]["rows"]) for one in shown):
        return
    # At other timesteps, pictures below each other would not be of the same noise level.
    if any(list(one[1]["columns"]) != list(shown[0][1]["columns"]) for one in shown):
        return
    names = tuple(one.subject for one, _ in shown)
    columns = tuple(map(str, shown[0][1]["columns"]))
    for row, seed in enumerate(map(str, shown[0][1]["rows"][:SEEDS])):
        captions = [f"{name}, {seed}: {column}" for name in names for column in columns]
        pixels = np.concatenate([arrays["images"][row] for _, arrays in shown])
        sentence = f"From top to bottom: {', '.join(names)}."
        yield Gallery(f"Side by side: {seed}", sentence, tiles(pixels, captions), len(columns), columns, names)
