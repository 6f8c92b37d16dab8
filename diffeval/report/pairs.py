"""The same seeds of two runs beside each other: pairs from their first images, drawn from the same noise."""

from collections.abc import Iterator

import numpy as np

from diffeval.report.chosen import caption
from diffeval.report.story import Story, Told
from diffeval.report.view import Note, Tile, Versus
from diffeval.runs.words import number

# Pairs that are shown, and fewer than which say nothing; runs that are held against the first.
MOST, LEAST, RUNS = 32, 8, 3


def same_seeds(story: Story) -> Iterator[Versus | Note]:
    """Each evaluation against the baseline; without one, the others against the first."""
    evaluations = [one for one in story.evaluations if one.run.arrays("grid") is not None]
    if story.baseline is None and not story.baseline_runs:
        for other in evaluations[1 : RUNS + 1]:
            if _hindrance(evaluations[0], other) is None:
                yield _versus(evaluations[0], other)
        return
    against = [one for one in story.baseline_runs if one.is_evaluation]
    for one in evaluations[:RUNS]:
        reasons = [_hindrance(other, one) for other in against]
        if None in reasons:
            yield _versus(against[reasons.index(None)], one)
        else:
            reason = reasons[0] if reasons else "it is a file, or its run directory holds no evaluation"
            yield Note(f"No images of {one.name} beside those of the baseline from the same noise: {reason}.")


def _hindrance(one: Told, other: Told) -> str | None:
    """Why image i of one run is not drawn from the noise of image i of the other; None where it is."""
    first, second = one.run.arrays("grid"), other.run.arrays("grid")
    ours, theirs = one.protocol, other.protocol
    if first is None or second is None or "images" not in first or "images" not in second:
        return "one of the two keeps no first images"
    if ours is None or theirs is None or ours.sampler is None or theirs.sampler is None:
        return "ready-made images have no noise that is known"
    if one.state.seed != other.state.seed:
        return f"seed {other.state.seed} here, seed {one.state.seed} there"
    if first["images"].shape[1:] != second["images"].shape[1:]:
        sizes = ["x".join(map(str, images["images"].shape[1:])) for images in (second, first)]
        return f"images are {sizes[0]} here, {sizes[1]} there"
    count = min(len(first["images"]), len(second["images"]))
    if count < LEAST:
        return f"only {count} images of both"
    labels = [images["labels"][:count].tolist() if "labels" in images else None for images in (first, second)]
    if ours.labels != theirs.labels or labels[0] != labels[1]:
        return "the images are of other classes or prompts"
    return None


def _versus(one: Told, other: Told) -> Versus:
    """The first images of both, A of the earlier and B of the later."""
    grids = [told.run.arrays("grid") or {} for told in (one, other)]
    count = min(MOST, *(len(grid["images"]) for grid in grids))
    first, second = (grid["images"][:count] for grid in grids)
    gaps = np.sqrt(((first.astype(np.float64) - second) ** 2).reshape(count, -1).mean(axis=1))
    alike = int((gaps == 0).sum())
    labels = grids[0]["labels"].tolist() if "labels" in grids[0] else None
    words = [caption(one, place, "" if labels is None else f"class {labels[place]}") for place in range(count)]
    cause = "settings" if one.checkpoint == other.checkpoint else "checkpoints"
    sentence = (
        f"A is {one.name}, B is {other.name}: images 0 to {count - 1} of seed {one.state.seed}, each pair from the "
        f"same noise and of the same class or prompt, so that what differs is the work of the {cause}. They differ by "
        f"{number(float(np.median(gaps)))} of 255 grey levels (root mean square, median of the pairs); {alike} of "
        f"{count} are equal."
    )
    pairs = tuple(
        (Tile(left, f"A, {one.name}: {said}"), Tile(right, f"B, {other.name}: {said}"))
        for left, right, said in zip(first, second, words, strict=True)
    )
    return Versus(f"Same seeds: {one.name} and {other.name}", sentence, (one.name, other.name), pairs)
