"""Prompts on the page: how well images follow theirs, beside what the prompts of others read, and those that fail."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diffeval.report.figures.base import BLUE, ORANGE, figure, label, layout
from diffeval.report.images import tiles
from diffeval.report.view import Figure, Gallery
from diffeval.runs.directory import RunDirectory
from diffeval.runs.records import Param, Results
from diffeval.runs.words import cells, number, prompts_of, shortened

Rows = Sequence[Mapping[str, Param]]
# Prompts that are drawn, and characters of each; bins of the histogram.
MOST, LONGEST, BINS = 30, 48, 60
COLUMNS = ("images", "clip_score", "std_error", "other_prompts")


def text_figures(run: RunDirectory, results: Results, index: int) -> tuple[Figure, ...]:
    """Scores of images with their own prompts and others', by prompt, by group, and where groups leak."""
    rows, groups = prompts_of(results), results.tables.get("clip_groups", ())
    leaks = results.tables.get("prompt_leakage", ())
    drawn = (
        _histogram(run, f"words-{index}"),
        _by(rows[:MOST], "prompt", "CLIP score by prompt, the worst on top", f"prompts-{index}") if rows else None,
        _by(groups, "group", "CLIP score by group of prompts", f"groups-{index}") if groups else None,
        _leakage(leaks, f"prompt-leakage-{index}") if leaks else None,
    )
    return tuple(one for one in drawn if one is not None)


def _histogram(run: RunDirectory, identifier: str) -> Figure | None:
    """Images by score, with their own prompt and with others."""
    held = run.arrays("terms") or {}
    if "clip_score.term" not in held:
        return None
    own, others = (held[f"clip_score.{name}"].astype(np.float64) for name in ("term", "others"))
    own, others = own[np.isfinite(own)], others[np.isfinite(others)]
    if not len(own) or not len(others):
        return None
    edges = np.linspace(min(own.min(), others.min()), max(own.max(), others.max()) + 1e-9, BINS + 1)
    sides = (("its own prompt", own, BLUE, "solid"), ("the mean of other prompts", others, ORANGE, "dot"))
    middles = ((edges[1:] + edges[:-1]) / 2).round(4).tolist()
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "name": name, "x": middles, "line": {"color": colour, "dash": dash,
            "shape": "hvh", "width": 2}, "y": (np.histogram(side, edges)[0] / len(side)).round(6).tolist(),
        }
        for name, side, colour, dash in sides
    ]  # fmt: skip
    below = int((own <= others).sum()) if len(own) == len(others) else 0
    sentence = (
        f"With its own prompt an image reads {number(float(own.mean()))} on average, with others "
        f"{number(float(others.mean()))}; {below} of {len(own)} fit their own no better than the others. "
        f"The further apart the curves, the better."
    )
    rows = tuple(
        (name, str(len(side)), *(number(float(one)) for one in np.quantile(side, (0.05, 0.5, 0.95))))
        for name, side, _, _ in sides
    )
    columns = ("held against", "images", "5%", "median", "95%")
    made = layout("CLIP score of an image", "share of images")
    title = "Does the text matter?"
    return figure(identifier, title, sentence, traces, made, (columns, rows), height=300, static=True)


def _by(rows: Rows, kind: str, title: str, identifier: str) -> Figure:
    """Scores with two standard errors, and what other prompts read, row by row."""
    names = [label(f"{place + 1}. {shortened(str(row[kind]), LONGEST)}") for place, row in enumerate(rows)]
    values = [_value(row["clip_score"]) for row in rows]
    others = [(name, _value(row["other_prompts"])) for name, row in zip(names, rows, strict=True)
              if row["other_prompts"] is not None]  # fmt: skip
    traces = [
        {
            "type": "scatter", "mode": "markers", "name": "own prompts, ± 2 standard errors", "x": values, "y": names,
            "error_x": {"type": "data", "array": list(map(_bar, rows)), "color": BLUE},
            "marker": {"color": BLUE, "size": 9},
        },
        {
            "type": "scatter", "mode": "markers", "name": "prompts of others", "x": [one for _, one in others],
            "y": [name for name, _ in others], "marker": {"color": ORANGE, "symbol": "x", "size": 8},
        },
    ]  # fmt: skip
    made = layout("CLIP score", "")
    made["yaxis"] = {
        **made["yaxis"],
        "type": "category",
        "categoryorder": "array",
        "categoryarray": names[::-1],
        "dtick": 1,
    }
    about = "Errors are of the images of a prompt" if kind == "prompt" else "Errors are clustered by prompt"
    first = rows[values.index(min(values))]
    sentence = f"The least is {number(min(values))}, of {shortened(str(first[kind]), LONGEST)!r}. {about}."
    table = cells([{kind: shortened(str(row[kind])), **{name: row[name] for name in COLUMNS}} for row in rows])
    return figure(identifier, title, sentence, traces, made, table, height=150 + 26 * len(rows))


def _bar(row: Mapping[str, Param]) -> float | None:
    """Two standard errors; none where there is no error, as of a single image."""
    return None if row["std_error"] is None else 2 * _value(row["std_error"])


def _leakage(rows: Rows, identifier: str) -> Figure:
    """Group asked for against group of the prompt that fits best."""
    asked, got = (list(dict.fromkeys(str(row[name]) for row in rows)) for name in ("asked", "fits_best"))
    shares = {(str(row["asked"]), str(row["fits_best"])): _value(row["share"]) for row in rows}
    trace = {
        "type": "heatmap", "x": list(map(label, got)), "y": list(map(label, asked)),
        "z": [[shares.get((one, other), 0.0) for other in got] for one in asked], "colorscale": "Cividis",
        "zmin": 0, "zmax": 1, "colorbar": {"title": {"text": "share"}},
        "hovertemplate": "asked for %{y}, fits %{x} best: %{z:.3~g}<extra></extra>",
    }  # fmt: skip
    made = layout("group of the prompt that fits best", "group asked for")
    made["xaxis"] = {**made["xaxis"], "type": "category"}
    made["yaxis"] = {**made["yaxis"], "type": "category", "autorange": "reversed"}
    off = sorted((row for row in rows if row["asked"] != row["fits_best"]), key=lambda row: -_value(row["share"]))
    named = ", ".join(
        f"{row['asked']} as {row['fits_best']} ({number(100 * _value(row['share']))}%)"
        for row in off[:3]
        if row["images"]
    )
    sentence = (
        f"A bright diagonal is good. Images that fit a prompt of another group better than their own: "
        f"{named or 'none'}."
    )
    return figure(identifier, "Where concepts leak", sentence, [trace], made, cells(off or rows), height=360)


def _value(value: Param) -> float:
    return float(value) if isinstance(value, float | int) else 0.0


def prompt_galleries(run: RunDirectory, results: Results) -> tuple[Gallery, ...]:
    """The prompts that are followed least, each with its own worst images."""
    held, rows = run.arrays("prompt_pictures"), prompts_of(results)
    if held is None or len(held["images"]) > len(rows):
        return ()
    galleries = []
    for place, row in enumerate(rows[: len(held["images"])]):
        count = int(held["count"][place])
        said = f"CLIP score {number(_value(row['clip_score']))}"
        better = f"; {row['fit_another_better']} of {row['images']} fit another prompt better"
        which = f", most often {shortened(str(row['which_is']))!r}" if row["which_is"] else ""
        scores = [number(float(one)) for one in held["score"][place][:count]]
        captions = [f"prompt {shortened(str(row['id']), 40)}, CLIP score {one}" for one in scores]
        galleries.append(
            Gallery(
                shortened(str(row["prompt"]), 100),
                f"{said}{better if row['fit_another_better'] else ''}{which}. Its worst images, the worst first.",
                tiles(held["images"][place][:count], captions),
                max(count, 1),
            )
        )
    return tuple(galleries)
