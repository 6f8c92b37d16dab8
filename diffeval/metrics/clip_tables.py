"""CLIP scores by prompt and by group, and what they say is wrong, in words."""

from collections.abc import Mapping, Sequence
from math import sqrt

import numpy as np
import numpy.typing as npt

from diffeval.metrics.clip_reading import Reading, diversities, texts_of
from diffeval.metrics.clustered import clustered_mean, fixed_error
from diffeval.metrics.metric import Array
from diffeval.metrics.prompted import Prompted, Rows
from diffeval.metrics.shares import share_interval
from diffeval.runs.records import Param

Row = Mapping[str, Param]
# Of images that fit their own prompt no better than the others: where more than this share of all do, it is said. Of
# right pairs next to none do; of wrong ones about half.
SUSPECT = 0.05
# Images that are listed by themselves.
IMAGES = 20
# How groups of prompts that were never seen in training begin.
HELD_OUT = "held-out"


def prompt_rows(prompted: Prompted, read: Reading) -> tuple[Row, ...]:
    """Every text that has an image, the worst first; of prompts with the same text the first gives id and group."""
    alike, of = diversities(prompted, read), texts_of(prompted)
    firsts = np.unique(of, return_index=True)[1]
    found: list[Row] = []
    order = np.argsort(of[read.rows], kind="stable")
    for mine in np.split(order, np.flatnonzero(np.diff(of[read.rows][order])) + 1):
        number = int(of[read.rows[mine[0]]])
        row, own = int(firsts[number]), read.own[mine]
        lost = read.best[mine][~read.found[mine] & (read.best[mine] >= 0)]
        found.append(
            {
                "id": prompted.ids[row],
                "prompt": prompted.prompts[row],
                "group": prompted.groups[row],
                "images": len(own),
                "clip_score": float(own.mean()),
                "std_error": float(own.std(ddof=1)) / sqrt(len(own)) if len(own) > 1 else None,
                "other_prompts": _mean(read.others[mine]),
                "fit_another_better": len(lost),
                "which_is": prompted.prompts[int(np.bincount(lost).argmax())] if len(lost) else None,
                "diversity": alike[number],
                "cut": bool(prompted.cut[row]),
            }
        )
    return tuple(sorted(found, key=lambda one: float(str(one["clip_score"]))))


def image_rows(prompted: Prompted, read: Reading) -> tuple[Row, ...]:
    """The images that fit their own prompt least beside the others, with the prompt that each fits best."""
    if np.isnan(read.others).any():
        return ()
    chosen = np.argsort(read.own - read.others, kind="stable")[:IMAGES]
    return tuple(
        {
            "index": int(read.kept[one]),
            "id": prompted.ids[read.rows[one]],
            "prompt": prompted.prompts[read.rows[one]],
            "clip_score": float(read.own[one]),
            "other_prompts": float(read.others[one]),
            "fits_best": prompted.prompts[read.rows[one] if read.found[one] else read.best[one]],
        }
        for one in chosen.tolist()
    )


def _mean(values: Array) -> float | None:
    return None if np.isnan(values).any() else float(values.mean())


def _groups(prompted: Prompted) -> tuple[Sequence[str], Rows]:
    """Names of the groups, in their order, and the group of each prompt; no names without groups."""
    names = list(dict.fromkeys(prompted.groups))
    return names if len(names) > 1 else (), np.array([names.index(one) for one in prompted.groups], dtype=np.int64)


def group_rows(prompted: Prompted, read: Reading, clusters: Rows) -> tuple[Row, ...]:
    """Every group, where there are several."""
    names, of = _groups(prompted)
    found: list[Row] = []
    for number, name in enumerate(names):
        mine = of[read.rows] == number
        if not mine.any():
            continue
        mean = clustered_mean(read.own[mine], clusters[mine])
        low, high = mean.ci95 or (None, None)
        found.append(
            {
                "group": name or "none",
                "prompts": len(np.unique(read.rows[mine])),
                "images": int(mine.sum()),
                "clip_score": mean.value,
                "std_error": mean.std_error,
                "low": low,
                "high": high,
                "other_prompts": _mean(read.others[mine]),
                "r_precision": float(read.found[mine].mean()) if (read.best[mine] >= 0).all() else None,
            }
        )
    return tuple(found)


def leakage_rows(prompted: Prompted, read: Reading) -> tuple[Row, ...]:
    """Images by the group of their prompt and that of the prompt they fit best: off the diagonal, concepts leak."""
    names, of = _groups(prompted)
    if not names or (read.best < 0).any():
        return ()
    asked, got = of[read.rows], of[np.where(read.found, read.rows, read.best)]
    table = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(table, (asked, got), 1)
    return tuple(
        {
            "asked": one or "none",
            "fits_best": other or "none",
            "images": int(table[row, column]),
            "share": float(table[row, column] / table[row].sum()),
        }
        for row, one in enumerate(names)
        for column, other in enumerate(names)
        if table[row].any()
    )


def warnings(prompted: Prompted, read: Reading, flat: npt.NDArray[np.bool_], clusters: Rows) -> tuple[str, ...]:
    """What is wrong with the pairs, in words."""
    found = []
    if flat.any():
        found.append(f"{int(flat.sum())} of {len(flat)} images are of a single colour, and have no CLIP score")
    if prompted.missing:
        found.append(f"{prompted.missing} prompts have no image: it could not be used, and was left out")
    if prompted.cut.any():
        found.append(
            f"{int(prompted.cut.sum())} of {len(prompted.cut)} prompts are longer than what {prompted.judge} reads, "
            f"and were cut (the end token kept)"
        )
    said = None if np.isnan(read.others).any() else _wrong_pairs(prompted, read, clusters)
    return (*found, *((said,) if said else ()))


def _wrong_pairs(prompted: Prompted, read: Reading, clusters: Rows) -> str | None:
    """Whether these very images fit their prompts better than others'; other prompts are no matter of this."""
    gain = read.own - read.others
    error = fixed_error(gain, clusters) or clustered_mean(gain, clusters).std_error or 0.0
    mean = float(read.own.mean())
    if float(gain.mean()) <= 2.0 * error:
        return (
            f"the words do not matter: images read {mean:.4g} with their own prompts and "
            f"{float(read.others.mean()):.4g} with others; they are paired with the wrong prompts, or what made them "
            f"ignores its prompt"
        )
    lost = int((gain <= 0.0).sum())
    if share_interval(lost, len(gain))[0] <= SUSPECT:
        return None
    named = ", ".join(str(row["id"])[:40] for row in image_rows(prompted, read)[:3])
    return (
        f"{lost} of {len(gain)} images fit their own prompt no better than the mean of the others: look whether they "
        f"are paired with the right prompts (ids {named} first)"
    )


def held_out(prompted: Prompted, read: Reading, clusters: Rows) -> dict[str, Param]:
    """By how much prompts that were never seen in training are followed less."""
    apart = np.array([group.startswith(HELD_OUT) for group in prompted.groups])[read.rows]
    if apart.all() or not apart.any():
        return {}
    seen, unseen = (clustered_mean(read.own[side], clusters[side]) for side in (~apart, apart))
    known = seen.std_error is not None and unseen.std_error is not None
    error = sqrt((seen.std_error or 0.0) ** 2 + (unseen.std_error or 0.0) ** 2) if known else None
    return {"held_out": unseen.value, "held_out_gap": seen.value - unseen.value, "held_out_gap_std_error": error}
