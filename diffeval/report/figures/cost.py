"""What runs cost: seconds by stage, stacked."""

from collections.abc import Sequence

from diffeval.report.figures.base import AMBER, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, figure, label, layout
from diffeval.report.view import Figure
from diffeval.runs.records import Results
from diffeval.runs.words import number

# Of stages, in their order; what lies beyond is grey.
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER)
# Stages of their own, and runs, at most: what takes least of all is put together.
MOST, RUNS = 6, 12
OTHER = "all other stages"


def seconds_by_stage(runs: Sequence[tuple[str, Results]], identifier: str) -> Figure | None:
    """A bar for each run; None where no time was taken down."""
    known = [(name, results) for name, results in runs if results.provenance.seconds]
    if not known:
        return None
    shown = known[:RUNS]
    totals: dict[str, float] = {}
    for _, results in known:
        for stage, seconds in results.provenance.seconds.items():
            totals[stage] = totals.get(stage, 0.0) + seconds
    kept = sorted(totals, key=lambda stage: -totals[stage])[:MOST]
    names = [label(name) for name, _ in shown]
    stages = [*kept, *([OTHER] if len(totals) > len(kept) else [])]
    bases, traces = [0.0] * len(shown), []
    for stage, colour in zip(stages, (*COLOURS, GREY), strict=False):
        spent = [_spent(results, stage, kept) for _, results in shown]
        traces.append(
            {
                "type": "bar", "orientation": "h", "name": label(stage), "x": [round(one, 3) for one in spent],
                "y": names, "base": [round(one, 3) for one in bases], "marker": {"color": colour},
                "customdata": [number(one) for one in spent],
                "hovertemplate": "%{y}: %{customdata} s<extra>" + label(stage) + "</extra>",
            }
        )  # fmt: skip
        bases = [one + more for one, more in zip(bases, spent, strict=True)]
    made = layout("seconds", "")
    made |= {"barmode": "overlay", "showlegend": True}
    made["xaxis"]["rangemode"] = "tozero"
    made["yaxis"] |= {"type": "category", "categoryorder": "array", "categoryarray": names[::-1]}
    rows = tuple(
        (name, stage, f"{seconds:.1f}", _rate(results, stage))
        for name, results in known
        for stage, seconds in results.provenance.seconds.items()
    )
    columns = ("run", "stage", "seconds", "images per second")
    height = 120 + 34 * len(shown)
    title = "Seconds by stage"
    sentence = _sentence(known, kept[0])
    return figure(identifier, title, sentence, traces, made, (columns, rows), height=height)


def _spent(results: Results, stage: str, kept: Sequence[str]) -> float:
    seconds = results.provenance.seconds
    if stage == OTHER:
        return sum(spent for name, spent in seconds.items() if name not in kept)
    return seconds.get(stage, 0.0)


def _rate(results: Results, stage: str) -> str:
    """Images per second of sampling: other stages do not grow with the images alone."""
    seconds = results.provenance.seconds.get(stage, 0.0)
    return number(results.provenance.n / seconds) if stage == "sampling" and seconds > 0 else "–"


def _sentence(known: Sequence[tuple[str, Results]], largest: str) -> str:
    name, results = known[0]
    total = sum(results.provenance.seconds.values())
    said = f"{name}: {total:.1f} s on {results.provenance.device}; {largest} takes most"
    sampling = results.provenance.seconds.get("sampling", 0.0)
    swept = results.protocol.task.startswith("sweep")
    rate = f", {number(results.provenance.n / sampling)} images per second" if sampling and not swept else ""
    return f"{said}{rate}. Wall time, summed over continued runs; less is better, on the same machine."
