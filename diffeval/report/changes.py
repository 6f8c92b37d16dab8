"""What became of a score since the baseline: the difference with its interval, and whether it is told apart."""

from dataclasses import dataclass

from diffeval.compare.difference import Difference, FewerImagesError, difference_of
from diffeval.compare.protocols import MAKING, SOURCE, Keys, allowed, differing, named
from diffeval.compare.ranking import LEVEL
from diffeval.compare.side import Side
from diffeval.errors import DiffevalError, NoEvidenceError
from diffeval.report.story import Story, Told
from diffeval.report.view import Mark
from diffeval.runs.words import number

# No hyphen.
MINUS = "−"


@dataclass(frozen=True, slots=True)
class Change:
    """A score of a run beside the baseline's.

    Attributes:
        mark: better, worse, not told apart, or why it cannot be said.
        difference: of the run less the baseline; None where none may be given.
    """

    mark: Mark
    difference: Difference | None = None


def change_of(told: Told, story: Story, title: str) -> Change | None:
    """What became of a score; None without a baseline, and of the baseline itself."""
    if story.baseline is None or told.side is None or is_baseline(told, story):
        return None
    try:
        other = story.baseline.side_with(title)
        ours = told.side.score(title)
        wrong = allowed(
            differing(told.side.results.protocol, other.results.protocol, ours),
            told.side.results.protocol,
            other.results.protocol,
            story.may_differ,
        )
        if wrong:
            return Change(Mark("not-applicable", f"other protocol: {apart(wrong)}"))
        return changed(difference_of(told.side, other, title, may_differ=story.may_differ))
    except FewerImagesError:
        return Change(Mark("none", "the baseline has another n"))
    except NoEvidenceError:
        return Change(Mark("none", "not known of the baseline"))
    except DiffevalError as error:
        return Change(Mark("none", str(error).partition(": ")[2] or str(error)))


def changed(found: Difference) -> Change:
    """A difference in words: told apart where its p-value is below 5%, by itself."""
    if found.found.above == found.found.below == 0 and not found.value:
        return Change(Mark("same", "the same as the baseline"), found)
    if found.p_value >= LEVEL:
        return Change(Mark("same", f"not told apart, {signed(found.value)}"), found)
    if found.regression.value > 0:
        return Change(Mark("worse", f"worse, {signed(found.value)}"), found)
    return Change(Mark("better", f"better, {signed(found.value)}"), found)


def apart(keys: Keys) -> str:
    """Settings that differ, as a phrase; beside ready-made images, how the others were made is none of them."""
    rest, source = by_source(keys)
    if source is None:
        return named(keys)
    return f"{SOURCE} ({' and '.join(source)})" + (f", {named(rest)}" if rest else "")


def by_source(keys: Keys) -> tuple[Keys, tuple[str, str] | None]:
    """Settings that differ without those that ready-made images do not know, and what either side is instead."""
    both = keys.get("sampler")
    if both is None or (both[0] is None) is (both[1] is None):
        return keys, None
    left, right = ("ready-made images" if one is None else "sampled ones" for one in both)
    return {key: pair for key, pair in keys.items() if key not in (*MAKING, SOURCE)}, (left, right)


def is_baseline(told: Told, story: Story) -> bool:
    """Whether a run is what others are held against."""
    return any(told.run.path.resolve() == one.run.path.resolve() for one in story.baseline_runs)


def signed(value: float) -> str:
    """A difference with its sign."""
    text = number(float(f"{abs(value):.3g}"))
    return text if value == 0 else f"{'+' if value > 0 else MINUS}{text}"


def beside(told: Told, story: Story) -> Side | None:
    """The baseline's run that holds the scores of a run, or else its first one with scores; None without.

    Checks are held against nothing: each has limits of its own.
    """
    if story.baseline is None or told.side is None or not told.titles or is_baseline(told, story):
        return None
    for title in told.titles:
        try:
            return story.baseline.side_with(title)
        except DiffevalError:
            continue
    return next((side for side in story.baseline.sides if side.titles), None)
