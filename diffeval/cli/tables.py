"""Results as text: aligned columns that read the same on a terminal and in a log."""

from collections.abc import Sequence

from diffeval.runs.records import Results, Score
from diffeval.runs.words import first_score, interval_text, number, score_title, settings_line


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text, each column as wide as its widest cell, right-aligned but for first and last, which are words."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = (
        "  ".join(
            cell.ljust(width) if index in (0, len(row) - 1) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
    return "\n".join(lines)


def results_table(results: Results) -> str:
    """One row per score and count, under a line that says what the numbers stand on."""
    rows: list[tuple[str, ...]] = [("score", "n", "value", "std error", "95% interval", "real images", "")]
    places = {title: place for place, title in enumerate(dict.fromkeys(map(score_title, results.scores)))}
    # What the run is about goes before all others: as a rule the number that estimates the distance.
    first = first_score(results)
    rows += [
        _row(score)
        for score in sorted(
            results.scores, key=lambda score: (score.name != first, places[score_title(score)], score.n)
        )
    ]
    return f"{settings_line(results)}\n\n{columns(rows)}"


def _row(score: Score) -> tuple[str, ...]:
    if score.value is None:
        return (score_title(score), str(score.n), "-", "", "", "", f"not computed: {score.error}")
    null = "" if score.null is None else f"{number(score.null.value)} (n={score.null.n})"
    mark = "biased" if score.params.get("biased") else ""
    error = "" if score.std_error is None else number(score.std_error)
    return (score_title(score), str(score.n), number(score.value), error, interval_text(score.ci95), null, mark)
