"""What each stage found, in a line or two with the numbers."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from diffeval.runs.records import Results, Score
from diffeval.runs.words import number, score_title

SHADES = " .:-=+*#%@"


def score_lines(results: Results) -> Iterator[str]:
    """The first scores, at all images, beside what real ones read; then the modes."""
    read = {score_title(one): one for one in results.scores if one.n == results.provenance.n}
    distance = read["fid_debiased"]
    yield f"{_valued(distance)}{_real(distance)} · {_setting(results)}"
    others = [read[name] for name in ("precision", "recall", "class_accuracy") if name in read]
    if others:
        yield " · ".join(f"{_valued(one)}{_real(one)}" for one in others)
    modes = [
        f"{number(known.value or 0.0)} over {known.params['count']} {noun}"
        for kind, noun in (("labels", "classes"), ("clusters", "clusters"))
        if (known := read.get(f"mode_coverage ({kind})")) is not None
    ]
    if modes:
        yield f"mode_coverage {', '.join(modes)} (1: none is missing)"


def check_lines(results: Results) -> Iterator[str]:
    """The checks that say something, what to do, and how many passed beside them."""
    told = [one for one in results.checks if one.status != "not-applicable"]
    shown = told if len(told) <= 3 else [one for one in told if one.status != "pass"]
    for one in shown:
        yield f"{one.status}: {one.name}: {one.summary}"
        if one.status == "fail" and one.fix:
            yield f"what to do: {one.fix}"
    passed = sum(one.status == "pass" for one in told)
    if len(shown) < len(told):
        yield f"{passed} of {len(told)} checks that apply pass"


def sweep_lines(results: Results) -> Iterator[str]:
    """The curve of the first score, and what is best by which rule."""
    rows = [row for row in results.tables["curve"] if row["score"] == "fid_debiased"]
    points = [
        f"w={number(float(str(row['w'])))}: {number(float(str(row['value'])))} ± {float(str(row['std_error'])):.1g}"
        for row in rows
        if row["value"] is not None and row["std_error"] is not None
    ]
    yield f"fid_debiased at n={results.provenance.n} each: {', '.join(points)}"
    for row in results.tables["choices"]:
        if row["curve"] in ("fid_debiased", "precision") and isinstance(row["w"], float):
            yield f"{row['rule']}: w={number(row['w'])} (95% set: {row['likely']})"


def preview(images: npt.NDArray[np.uint8]) -> str:
    """Images, uint8 [n, 1, height, width], side by side in characters."""
    rows = []
    for row in range(images.shape[2]):
        cells = ["".join(SHADES[int(value) * len(SHADES) // 256] * 2 for value in image[0, row]) for image in images]
        rows.append(" ".join(cells).rstrip())
    return "\n".join(rows)


def _valued(score: Score) -> str:
    error = "" if score.std_error is None else f" ± {score.std_error:.2g}"
    return f"{score.name} {number(score.value or 0.0)}{error}"


def _real(score: Score) -> str:
    return "" if score.null is None else f" (real digits {number(score.null.value)})"


def _setting(results: Results) -> str:
    protocol, origin = results.protocol, results.provenance
    extractor = (protocol.extractor or "").split("/")[0]
    return (
        f"n={origin.n}, w={protocol.w:g}, {protocol.sampler}, {protocol.steps} steps, seed {origin.seed}, "
        f"extractor {extractor}"
    )
