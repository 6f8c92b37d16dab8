"""FID against the number of images, plain and debiased, of one run; and the debiased one of several side by side."""

from collections.abc import Sequence
from typing import Any

from diffeval.report.figures.base import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    RUNS,
    STYLES,
    Table,
    across,
    banded,
    faint,
    figure,
    label,
    layout,
)
from diffeval.report.view import Figure
from diffeval.runs.records import Param, Results, Score
from diffeval.runs.words import advice_sentence, interval_text, number

# How far beyond the measured counts the bias of plain FID is drawn: its leading term is known, what follows is not.
BEYOND = 4
# Curves on one pair of axes, at most.
MOST = len(RUNS)


def fid_against_n(results: Results, identifier: str) -> Figure | None:
    """Plain and debiased FID against the number of images, with bands; None without both."""
    plain, debiased = (_known(results, name) for name in ("fid", "fid_debiased"))
    if not plain or not debiased:
        return None
    counts = [score.n for score in debiased]
    made = layout("images n", "Fréchet distance", log_x=True)
    several = len(counts) > 1
    traces = [
        *(banded(counts, *_ends(debiased), BLUE) if several else ()),
        {**_line("fid_debiased, 95% interval", debiased, STYLES[0]), **({} if several else _bars(debiased, BLUE))},
        *(banded([score.n for score in plain], *_ends(plain), ORANGE) if several else ()),
        {**_line("fid (plain), ± 2 standard errors", plain, STYLES[1]), **({} if several else _bars(plain, ORANGE))},
    ]
    expected = _expected(plain[-1], debiased[-1], counts)
    if expected is not None:
        traces.append(expected)
    ticks = sorted({*counts, *((counts[0] // 2, counts[-1] * BEYOND) if expected else ())})
    made["xaxis"] |= {"tickvals": ticks, "ticktext": [f"{tick:,}" for tick in ticks]}
    _floor(made, results, debiased[-1])
    rows = tuple(
        (score.name, f"{score.n:,}", number(score.value or 0.0), number(score.std_error or 0.0),
         interval_text(score.ci95) or "–")
        for score in (*debiased, *plain)
    )  # fmt: skip
    columns = ("score", "n", "value", "std error", "95% interval")
    title = "Plain and debiased"
    return figure(identifier, title, _sentence(results, plain, debiased), traces, made, (columns, rows), static=True)


def _known(results: Results, name: str) -> list[Score]:
    return sorted((one for one in results.scores if one.name == name and one.value is not None), key=lambda one: one.n)


def _ends(scores: Sequence[Score]) -> tuple[list[float], list[float]]:
    """Ends of each interval: 95% where there is one, else two standard errors."""
    intervals = []
    for score in scores:
        value, error = score.value or 0.0, score.std_error or 0.0
        intervals.append(score.ci95 or (value - 2 * error, value + 2 * error))
    return [low for low, _ in intervals], [high for _, high in intervals]


def _bars(scores: Sequence[Score], colour: str) -> dict[str, Any]:
    lows, highs = _ends(scores)
    values = [score.value or 0.0 for score in scores]
    bars = {
        "type": "data", "symmetric": False, "color": colour, "thickness": 2, "width": 6,
        "array": [high - value for high, value in zip(highs, values, strict=True)],
        "arrayminus": [value - low for low, value in zip(lows, values, strict=True)],
    }  # fmt: skip
    return {"error_y": bars, "mode": "markers"}


def _line(name: str, scores: Sequence[Score], style: tuple[str, str, str]) -> dict[str, Any]:
    colour, dash, symbol = style
    return {
        "type": "scatter", "mode": "lines+markers", "name": name,
        "x": [score.n for score in scores], "y": [score.value for score in scores],
        "line": {"color": colour, "dash": dash, "width": 2}, "marker": {"symbol": symbol, "size": 9, "color": colour},
    }  # fmt: skip


def _expected(plain: Score, debiased: Score, counts: Sequence[int]) -> dict[str, Any] | None:
    """What plain FID reads at other counts, by the leading term of its bias: debiased + b / n."""
    if plain.n != debiased.n or plain.value is None or debiased.value is None or plain.value <= debiased.value:
        return None
    bias = (plain.value - debiased.value) * plain.n
    first, last = counts[0] // 2, counts[-1] * BEYOND
    n = sorted({round(first * (last / first) ** (step / 40)) for step in range(41)})
    return {
        "type": "scatter", "mode": "lines", "name": "plain fid at other n, expected (debiased + b/n)",
        "x": n, "y": [float(f"{debiased.value + bias / one:.5g}") for one in n],
        "line": {"color": PURPLE, "dash": "dot", "width": 1.5},
    }  # fmt: skip


def _floor(made: dict[str, Any], results: Results, last: Score) -> None:
    """What held-out real images read, as a line, with its interval where that is known."""
    if last.null is None:
        return
    shape, said = across(last.null.value, f"floor: held-out real images, debiased (n={last.null.n:,})")
    made["shapes"], made["annotations"] = [shape], [said]
    for row in results.tables.get("floor", ()):
        low, high = row.get("low"), row.get("high")
        if row["score"] == "fid_debiased" and isinstance(low, float) and isinstance(high, float):
            band = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "y0": low, "y1": high, "layer": "below"}
            made["shapes"].insert(0, {**band, "fillcolor": faint(GREEN, 0.12), "line": {"width": 0}})


def _sentence(results: Results, plain: Sequence[Score], debiased: Sequence[Score]) -> str:
    last = debiased[-1]
    interval = f" (95% interval {interval_text(last.ci95)})" if last.ci95 else ""
    said = [
        f"At n={last.n:,} fid_debiased is {number(last.value or 0.0)}{interval}, plain fid "
        f"{number(plain[-1].value or 0.0)}. Lower is better.",
        "Plain fid falls with n because its bias does; the debiased value should stay where it is.",
    ]
    if last.null is not None:
        said.append(
            f"As low as real images come is the green line: {number(last.null.value)} ({last.null.n:,} held-out ones)."
        )
    advice = advice_sentence(results)
    return " ".join([*said, *((f"{advice}.",) if advice is not None else ())])


def fid_side_by_side(runs: Sequence[tuple[str, Results]], identifier: str) -> Figure | None:
    """Debiased FID of several runs of one protocol; None for fewer than two.

    It is drawn against n where a run was read at several counts, else run below run.

    Args:
        runs: name and results of each, the first ``MOST`` of which are drawn.
        identifier: of the figure.
    """
    read = [(name, _known(results, "fid_debiased")) for name, results in runs]
    read = [(name, scores) for name, scores in read if scores]
    if len(read) < 2:
        return None
    shown = read[:MOST]
    against = any(len(scores) > 1 for _, scores in shown)
    drawn = _curves(shown) if against else _dots(shown)
    made = layout("images n", "fid_debiased", log_x=True) if against else layout("fid_debiased, 95% interval", "")
    if against:
        ticks = sorted({score.n for _, scores in shown for score in scores})
        made["xaxis"] |= {"tickvals": ticks, "ticktext": [f"{tick:,}" for tick in ticks]}
    else:
        names = [label(name) for name, _ in reversed(shown)]
        made["yaxis"] |= {"type": "category", "categoryorder": "array", "categoryarray": names}
        made["xaxis"]["rangemode"] = "tozero"
    lasts = sorted(((scores[-1].value or 0.0, name, scores[-1]) for name, scores in read), key=lambda one: one[0])
    (low, best, _), (high, worst, _) = lasts[0], lasts[-1]
    sentence = (
        f"Lowest, which is best: {best} at {number(low)}; highest: {worst} at {number(high)}. Intervals are of each "
        f"run alone; whether two differ is said by the comparison, which knows what they share."
    )
    if len(read) > MOST:
        sentence += f" Drawn are the first {MOST} of {len(read)}; the table has all."
    height = 380 if against else 110 + 34 * len(shown)
    title = "Debiased FID of all runs of this protocol"
    return figure(identifier, title, sentence, drawn, made, _table(read), height=height, static=True)


Read = Sequence[tuple[str, Sequence[Score]]]


def _curves(read: Read) -> list[dict[str, Any]]:
    traces: list[dict[str, Any]] = []
    for place, (name, scores) in enumerate(read):
        colour = RUNS[place][0]
        traces += banded([score.n for score in scores], *_ends(scores), colour) if len(scores) > 1 else []
        line = _line(label(name), scores, RUNS[place])
        traces.append(line if len(scores) > 1 else {**line, **_bars(scores, colour)})
    return traces


def _dots(read: Read) -> list[dict[str, Any]]:
    """One line for each run, with its interval along x."""
    traces = []
    for place, (name, scores) in enumerate(read):
        colour, _, symbol = RUNS[place]
        error = _bars(scores[-1:], colour)["error_y"]
        traces.append(
            {
                "type": "scatter", "mode": "markers", "name": label(name), "showlegend": False,
                "x": [scores[-1].value], "y": [label(name)], "error_x": error,
                "marker": {"color": colour, "symbol": symbol, "size": 10},
            }
        )  # fmt: skip
    return traces


def _table(read: Read) -> Table:
    rows = tuple(
        (name, f"{score.n:,}", number(score.value or 0.0), interval_text(score.ci95) or "–")
        for name, scores in read
        for score in scores
    )
    return ("run", "n", "fid_debiased", "95% interval"), rows


def kid_sentence(results: Results) -> str | None:
    """KID beside FID, as a number: it has no bias in n to be drawn; None where it was not measured."""
    known = _known(results, "kid")
    if not known:
        return None
    last = known[-1]
    interval = f", 95% interval {interval_text(last.ci95)}" if last.ci95 else ""
    real = f"; real images read {number(last.null.value)}" if last.null else ""
    return f"kid at n={last.n:,}: {number(last.value or 0.0)}{interval}{real}. {_chance(last.params.get('p_value'))}"


def _chance(p: Param) -> str:
    """Whether a kernel distance is told from none."""
    if not isinstance(p, float):
        return "Lower is better; it has no bias in n."
    told = "is told from" if p < 0.05 else "is not told from"
    return f"Lower is better; it has no bias in n, and {told} 0 (permutation test, p = {number(p)})."
