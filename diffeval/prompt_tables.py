"""What a run keeps of its prompts beside the scores: every prompt in a table of its own, and pictures of the worst."""

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from diffeval.data.pixels import Shape
from diffeval.mode_pictures import Draw
from diffeval.runs.directory import RunDirectory
from diffeval.runs.files import replace_text
from diffeval.runs.records import Param

# The files in the run; the first holds every prompt, the results hold the worst of them.
TABLE, PICTURES = "prompts.csv", "prompt_pictures"
MOST = 200
# Prompts that are shown, and images of each.
PROMPTS, IMAGES = 12, 6

Rows = Sequence[Mapping[str, Param]]


def save_prompts(run: RunDirectory, rows: Rows) -> tuple[Mapping[str, Param], ...]:
    """Writes all of them, and returns the worst."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _inert(value) for name, value in row.items()} for row in rows)
    replace_text(run.path / TABLE, text.getvalue())
    return tuple(rows[:MOST])


def _inert(value: Param) -> Param:
    """A text that a spreadsheet would take for a formula is quoted."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


def prompt_pictures(
    run: RunDirectory, rows: Rows, terms: Mapping[str, npt.NDArray[np.generic]], draw: Draw, shape: Shape
) -> None:
    """Keeps images of the prompts that are followed least: uint8 [P, IMAGES, C, H, W], and how many, [P].

    Of each prompt its own worst ones.

    Args:
        run: where they are kept.
        rows: the table of prompts, the worst first.
        terms: score and prompt of every image.
        draw: makes images of any indices.
        shape: (C, H, W) of these.
    """
    ids = terms["clip_score.ids"].tolist()
    texts = terms["clip_score.text"]
    of = texts[terms["clip_score.prompt"].astype(np.int64)]
    scores = terms["clip_score.term"].astype(np.float64)
    shown = list(rows[:PROMPTS])
    images = np.zeros((len(shown), IMAGES, *shape), dtype=np.uint8)
    counts, values = np.zeros(len(shown), dtype=np.uint8), np.full((len(shown), IMAGES), np.nan)
    for place, row in enumerate(shown):
        mine = np.flatnonzero((of == texts[ids.index(row["id"])]) & np.isfinite(scores))
        chosen = mine[np.argsort(scores[mine], kind="stable")][:IMAGES]
        if len(chosen):
            images[place, : len(chosen)] = draw(chosen.tolist())
        counts[place] = len(chosen)
        values[place, : len(chosen)] = scores[chosen]
    run.save_arrays(PICTURES, {"images": images, "count": counts, "score": values})
