"""What a gate decided, as pictures: changes against their margins, and values against their limits.

Margins have the units of their scores, so that changes are drawn as shares of them: 0 is the baseline, 1 the margin. A
value that has a fixed limit has no such scale; it is drawn in its own units, one axis for each rule.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from diffeval.gate.terminal import WORD, status_word
from diffeval.gate.verdict import ORDER, RuleOutcome, Status
from diffeval.report.figures.base import AMBER, GREEN, GREY, ORANGE, PURPLE, faint, figure, label
from diffeval.report.figures.panels import panel_height, panel_layout, suffix
from diffeval.report.view import Figure
from diffeval.runs.words import interval_text, number, shortened

STYLE = {
    "pass": (GREEN, "circle"),
    "fail": (ORANGE, "x"),
    "inconclusive": (AMBER, "diamond"),
    "no-evidence": (GREY, "square"),
    "error": (PURPLE, "triangle-up"),
}
# Margins that the picture reaches to either side at most; what lies beyond is drawn at its edge, and said.
LEAST, MOST = -3.0, 4.0
# Pixels of a rule, and of what stands above and below them; of a letter, and of the longest name.
ROW, AROUND = 34, 110
LETTER, LONGEST = 7.2, 40
# Panels of fixed limits in a row, and pixels of one.
COLUMNS, TALL = 2, 40


def title_of(one: RuleOutcome) -> str:
    """A rule as a reader calls it: its name, and the class that decides."""
    name = one.name.removesuffix(".classes").removesuffix(".regression")
    by = " by class" if one.name.endswith(".classes") else ""
    return f"{name}{by}" + (f", class {one.where}" if one.where else "")


def margin_plot(outcomes: Sequence[RuleOutcome], identifier: str) -> Figure | None:
    """Each change with what it may be, as shares of its margin; None where no rule is about one."""
    shown = [one for one in outcomes if one.kind == "regression" and one.limit and one.bound is not None]
    if not shown:
        return None
    low = max(LEAST, min(-1.25, *(_shares(one)[0] - 0.15 for one in shown)))
    high = min(MOST, max(1.75, *(_shares(one)[2] + 0.15 for one in shown)))
    traces = [
        trace
        for status in reversed(ORDER)
        for level in ("error", "warn")
        if (trace := _trace(shown, status, level, (low, high))) is not None
    ]
    height = AROUND + ROW * len(shown)
    table = ("rule", "ends", "change", "at least", "at most", "margin", "share of the margin"), tuple(map(_row, shown))
    return figure(
        identifier,
        "Changes against their margins",
        _sentence(shown),
        traces,
        _layout(shown, low, high),
        table,
        height=height,
        static=True,
    )


def _shares(one: RuleOutcome) -> tuple[float, float, float]:
    """The least that a change may be, the change, and the most, as shares of the margin."""
    assert one.limit, "it was chosen for that"
    assert one.change is not None, "a rule about the baseline has one"
    assert one.bound is not None, "it was chosen for that"
    assert one.other_bound is not None, "it comes with the other"
    return one.other_bound / one.limit, one.change / one.limit, one.bound / one.limit


def _trace(
    shown: Sequence[RuleOutcome], status: Status, level: str, ends: tuple[float, float]
) -> dict[str, Any] | None:
    """The rules of one status and level: markers with their intervals, cut where the picture ends."""
    places = [place for place, one in enumerate(shown) if (one.status, one.level) == (status, level)]
    if not places:
        return None
    colour, symbol = STYLE[status]
    low, high = ends
    cut = [[min(max(share, low), high) for share in _shares(shown[place])] for place in places]
    word = WORD[status].lower() + (", only a warning" if level == "warn" else "")
    return {
        "type": "scatter", "mode": "markers", "name": word, "cliponaxis": False,
        "x": [x for _, x, _ in cut], "y": places,
        "marker": {"symbol": symbol + ("-open" if level == "warn" else ""), "size": 12, "color": colour},
        "error_x": {
            "type": "data", "array": [most - x for _, x, most in cut],
            "arrayminus": [x - least for least, x, _ in cut], "color": colour, "thickness": 3, "width": 0,
        },
        "customdata": [[label(title_of(shown[place])), label(_said(shown[place]))] for place in places],
        "hovertemplate": "%{customdata[0]}: %{customdata[1]}<extra></extra>",
    }  # fmt: skip


def _layout(shown: Sequence[RuleOutcome], low: float, high: float) -> dict[str, Any]:
    names = [label(shortened(title_of(one), LONGEST)) for one in shown]
    rows = [-0.6, len(shown) - 0.4]
    whole = [share for share in range(int(low) - 1, int(high) + 2) if low <= share <= high]
    return {
        "margin": {"l": 20 + int(LETTER * max(map(len, names))), "r": 150, "t": 40, "b": 60},
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        "showlegend": True,
        "xaxis": {
            "title": {"text": "better ←  change as a share of the margin  → worse"}, "range": [low, high],
            "tickvals": whole, "ticktext": [_tick(share) for share in whole], "zeroline": False,
        },
        "yaxis": {
            "range": rows[::-1], "tickvals": list(range(len(shown))), "ticktext": names, "showgrid": False,
            "zeroline": False,
        },
        "shapes": [
            {
                "type": "rect", "x0": low, "x1": 1, "y0": rows[0], "y1": rows[1], "layer": "below",
                "fillcolor": faint(GREEN, 0.08), "line": {"width": 0},
            },
            _vertical(0, rows, GREY, "dot", 1.5),
            _vertical(1, rows, ORANGE, "solid", 2),
        ],
        "annotations": [note for place, one in enumerate(shown) for note in _beside(place, one, low, high)],
    }  # fmt: skip


def _vertical(x: float, rows: Sequence[float], colour: str, dash: str, width: float) -> dict[str, Any]:
    line = {"color": colour, "width": width} | ({"dash": dash} if dash != "solid" else {})
    return {"type": "line", "x0": x, "x1": x, "y0": rows[0], "y1": rows[1], "line": line}


def _tick(share: int) -> str:
    return {0: "baseline", 1: "margin"}.get(share, f"{share}×".replace("-", "−"))


def _beside(place: int, one: RuleOutcome, low: float, high: float) -> Iterator[dict[str, Any]]:
    """How the rule ended, to the right of it; and how far a change lies outside of the picture."""
    share = _shares(one)[1]
    beyond = f", {number(share)}× →" if share > high else f", {number(share)}× ←" if share < low else ""
    yield {
        "text": f"{status_word(one)}{beyond}", "xref": "paper", "x": 1.01, "y": place, "xanchor": "left",
        "yanchor": "middle", "showarrow": False, "font": {"size": 12, "color": STYLE[one.status][0]},
    }  # fmt: skip


def _sentence(shown: Sequence[RuleOutcome]) -> str:
    """How many rules ended how, and the change that decides, with its numbers."""
    words = [status_word(one) for one in sorted(shown, key=lambda one: (one.level == "warn", ORDER.index(one.status)))]
    ended = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
    deciding = [one for one in shown if one.level == "error"] or list(shown)
    worst = max(deciding, key=lambda one: (-ORDER.index(one.status), _shares(one)[2]))
    most = _shares(worst)[2]
    reach = f"; it may reach {number(most)} times its margin" if most > 0 else ""
    which = "The nearest to its margin" if worst.status == "pass" else "The worst"
    return (
        f"Of {len(shown)} rules about a change: {ended}. {which}, {title_of(worst)}, {_said(worst)}{reach}. "
        "A rule passes where the whole line lies left of the margin, and is "
        "beyond it where the whole line lies right of it (one-sided 95% bounds to either side)."
    )


def _said(one: RuleOutcome) -> str:
    assert one.change is not None, "a rule about the baseline has one"
    assert one.bound is not None, "it was chosen for that"
    assert one.other_bound is not None, "it comes with the other"
    if not one.change and not one.bound and not one.other_bound:
        return f"is the same, {number(one.limit or 0.0)} is allowed"
    way = "is worse by" if one.change > 0 else "is better by" if one.change < 0 else "differs by"
    ends = interval_text((-one.bound, -one.other_bound) if one.change < 0 else (one.other_bound, one.bound))
    return f"{way} {number(abs(one.change))} ({ends}), {number(one.limit or 0.0)} is allowed"


def _row(one: RuleOutcome) -> tuple[str, ...]:
    least, share, most = _shares(one)
    return (
        title_of(one),
        status_word(one),
        *(number(value or 0.0) for value in (one.change, one.other_bound, one.bound, one.limit)),
        f"{number(share)} ({interval_text((least, most))})",
    )


def limit_plot(outcomes: Sequence[RuleOutcome], identifier: str) -> Figure | None:
    """Each value with what it may be, against its fixed limits, in its own units; None without such a rule."""
    shown = [one for one in outcomes if one.kind in ("max", "min", "window") and one.bound is not None]
    if not shown:
        return None
    titles = [label(f"{shortened(title_of(one), LONGEST)}: {allowed(one)} – {status_word(one)}") for one in shown]
    layout = panel_layout(titles, COLUMNS, tall=TALL)
    traces: list[dict[str, Any]] = []
    for place, one in enumerate(shown):
        traces += _limited(one, place)
        layout[f"xaxis{suffix(place)}"] |= {"range": _around(one), "zeroline": False}
        layout[f"yaxis{suffix(place)}"] |= {"range": [-1, 1], "tickvals": [], "zeroline": False, "showgrid": False}
    sentence = "; ".join(
        f"{title_of(one)} is {number(one.value or 0.0)} ({interval_text(_span(one))}), {allowed(one)} is allowed"
        for one in shown[:3]
    )
    more = f"; and {len(shown) - 3} more" if len(shown) > 3 else ""
    columns = ("rule", "ends", "value", "at least", "at most", "allowed")
    rows = tuple(
        (
            title_of(one),
            status_word(one),
            number(one.value or 0.0),
            *(number(end) for end in _span(one)),
            allowed(one),
        )
        for one in shown
    )
    return figure(
        identifier,
        "Values against fixed limits",
        f"By rule, {sentence}{more}. Limits are dashed, what is allowed is green; each in its own units.",
        traces,
        layout,
        (columns, rows),
        height=panel_height(len(shown), COLUMNS, tall=TALL),
    )


def allowed(one: RuleOutcome) -> str:
    """The limits of a value, as a phrase."""
    if one.limit is None:
        return ""
    if one.other_limit is not None:
        return interval_text((min(one.limit, one.other_limit), max(one.limit, one.other_limit)))
    return f"at {'most' if one.kind == 'max' else 'least'} {number(one.limit)}"


def _limits(one: RuleOutcome) -> tuple[float | None, float | None]:
    if one.other_limit is not None and one.limit is not None:
        return min(one.limit, one.other_limit), max(one.limit, one.other_limit)
    return (None, one.limit) if one.kind == "max" else (one.limit, None)


def _span(one: RuleOutcome) -> tuple[float, float]:
    assert one.bound is not None, "it was chosen for that"
    assert one.other_bound is not None, "it comes with the other"
    return min(one.bound, one.other_bound), max(one.bound, one.other_bound)


def _around(one: RuleOutcome) -> list[float]:
    """Ends of an axis that holds the value, its bounds and its limits, with some room."""
    known = [*_span(one), one.value or 0.0, *(end for end in _limits(one) if end is not None)]
    room = 0.15 * (max(known) - min(known)) or 0.1 * abs(known[0]) or 1.0
    return [min(known) - room, max(known) + room]


def _limited(one: RuleOutcome, place: int) -> Iterator[dict[str, Any]]:
    """What is allowed, the limits, and the value with its bounds, in a panel of their own."""
    axes = {"xaxis": f"x{suffix(place)}", "yaxis": f"y{suffix(place)}"}
    colour, symbol = STYLE[one.status]
    (least, most), (begin, end), (low, high) = _limits(one), _around(one), _span(one)
    value = one.value or 0.0
    inside = [begin if least is None else least, end if most is None else most]
    quiet = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False, **axes}
    yield {**quiet, "x": inside, "y": [-1, -1], "line": {"width": 0}}
    yield {**quiet, "x": inside, "y": [1, 1], "line": {"width": 0}, "fill": "tonexty", "fillcolor": faint(GREEN, 0.1)}
    for limit in (least, most):
        if limit is not None:
            yield {**quiet, "x": [limit, limit], "y": [-1, 1], "line": {"color": ORANGE, "dash": "dash", "width": 2}}
    yield {
        "type": "scatter", "mode": "markers", "name": label(title_of(one)), "x": [value], "y": [0], **axes,
        "marker": {"symbol": symbol + ("-open" if one.level == "warn" else ""), "size": 12, "color": colour},
        "error_x": {
            "type": "data", "array": [high - value], "arrayminus": [value - low], "color": colour, "thickness": 3,
            "width": 0,
        },
    }  # fmt: skip
