"""Tables of a run that have columns: what the results hold by class, or by image."""

from collections.abc import Mapping, Sequence

from diffeval.report.view import Rows
from diffeval.report.words import number, shortened
from diffeval.runs.records import Param, Results

# Name in the results, title, and what it says.
SHOWN = (
    (
        "choices",
        "What follows",
        "Each by its rule; there is no best point as such. The 95% set holds the points that the errors do not tell "
        "apart, by leaving groups of seeds out of every point alike.",
    ),
    ("pathologies", "What goes wrong, and where it starts", ""),
    ("cost", "What each point costs", "Network evaluations are those of one image; seconds are this machine's."),
    (
        "windows",
        "Windows of the published protocol",
        "Either side counts: a score that is too good is as suspicious as one that is too bad.",
    ),
    (
        "per_class",
        "By class",
        "A broken class hides in a mean. The worst stands first; p is the probability of so bad a reading of a good "
        "class, corrected for having looked at all of them (Holm).",
    ),
    (
        "prompts",
        "Prompts that are followed least",
        "Errors are of the images of a prompt; other prompts are those that ask for something else. All of them lie "
        "in prompts.csv.",
    ),
    (
        "follow_least",
        "Images that follow their prompt least",
        "By how much less they fit their own prompt than the mean of the others. Where the prompt that fits best is "
        "the right one, the pair is wrong.",
    ),
    ("clip_groups", "By group of prompts", "Errors are clustered by prompt."),
    (
        "raises_fid",
        "Images that raise FID most",
        "Influence is what leaving the image out would take from plain FID, to first order. Look at these first.",
    ),
)
# Rows that are shown at most, and characters of a cell.
MOST, LONGEST = 20, 400


def lists(results: Results) -> tuple[Rows, ...]:
    """Those that the results hold."""
    return tuple(
        _rows(title, sentence, results.tables[name][:MOST])
        for name, title, sentence in SHOWN
        if results.tables.get(name)
    )


def _rows(title: str, sentence: str, rows: Sequence[Mapping[str, Param]]) -> Rows:
    columns = tuple(rows[0])
    return Rows(
        title,
        sentence,
        tuple(name.replace("_", " ") for name in columns),
        tuple(tuple(_cell(row.get(name)) for name in columns) for row in rows),
    )


def _cell(value: Param) -> str:
    if value is None:
        return "–"
    return number(value) if isinstance(value, float) else shortened(str(value), LONGEST)
