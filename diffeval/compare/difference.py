"""The difference of one score between two runs, with its error; paired where seeds and classes, or prompts, agree."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diffeval.compare.errors import paired, same_images, same_prompts, unpaired
from diffeval.compare.protocols import MAKING, MEASURES, allowed, differing, named
from diffeval.compare.side import Side, read_side, title
from diffeval.compare.uncertain import Uncertain, limited, stored
from diffeval.errors import DiffevalError, NoEvidenceError
from diffeval.runs.records import Score

# Every setting of how images are made: with these a difference is given whatever differs but what measures it.
ANY = (*MAKING, "source")


class FewerImagesError(NoEvidenceError):
    """A score that depends on the number of images stands on fewer of them than it must.

    Args:
        message: one line.
        needed: images that it must stand on.
    """

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed


@dataclass(frozen=True, slots=True)
class Difference:
    """A score of one run less the same score of another.

    Attributes:
        score: its title, e.g. ``recall``.
        higher_is_better: its direction.
        values: of both.
        counts: images that each stands on.
        found: the difference, with its error.
        paired: whether the runs share seeds and classes, or prompts, so that only what differs counts as error.
        how: by what it is paired, or why not, as a phrase.
    """

    score: str
    higher_is_better: bool
    values: tuple[float, float]
    counts: tuple[int, int]
    found: Uncertain
    paired: bool
    how: str

    @property
    def value(self) -> float:
        """Of the first less that of the second."""
        return self.found.value

    @property
    def std_error(self) -> float:
        """Of ``value``; exactly 0 for identical runs."""
        return self.found.std_error

    @property
    def ci95(self) -> tuple[float, float]:
        """95% confidence interval of ``value``."""
        return self.found.interval()

    @property
    def n(self) -> tuple[int, int]:
        """Images of each."""
        return self.counts

    @property
    def regression(self) -> Uncertain:
        """By how much the first run is worse than the second: positive is worse, whatever the score's direction."""
        return self.found.turned() if self.higher_is_better else self.found

    @property
    def p_value(self) -> float:
        """Two-sided, of no difference."""
        if not self.value:
            return 1.0
        return min(1.0, 2 * min(self.found.p_above(0.0), self.found.turned().p_above(0.0)))

    def bound(self, confidence: float = 0.95, *, upper: bool) -> float:
        """One-sided bound of ``value``; that of a regression is ``regression.bound``."""
        return self.found.bound(confidence, upper=upper)

    def p_beyond(self, margin: float) -> float:
        """One-sided p-value; small where the regression is proven to be greater than the margin."""
        return self.regression.p_above(margin)

    def p_within(self, margin: float) -> float:
        """One-sided p-value; small where the regression is proven to be less than the margin."""
        return self.regression.p_below(margin)

    def needed(self, margin: float = 0.0, *, expected: float | None = None) -> int | None:
        """About how many images of each run would tell the regression from the margin, 4 times in 5; None: no number.

        Args:
            margin: positive is worse.
            expected: the regression in truth; by default as it was measured. 0 asks what a gate needs so that a model
                that is no worse passes.
        """
        return self.regression.needed(margin, truth=expected)


def difference(
    one: Path | str, other: Path | str, score: str = "fid_debiased", *, may_differ: Collection[str] = ANY
) -> Difference:
    """The difference between two run directories at their largest counts.

    Args:
        one: a run directory.
        other: another.
        score: of both.
        may_differ: settings that the runs may differ in, by their names in the protocol; by default all but those that
            define what is measured.

    Raises:
        DiffevalError: if the runs differ in other settings.
        NoEvidenceError: if one of them lacks the score, or its error.
    """
    return difference_of(read_side(one), read_side(other), score, may_differ=may_differ)


def difference_of(
    one: Side, other: Side, name: str, *, may_differ: Collection[str] = ANY, n: int | None = None
) -> Difference:
    """The difference between two runs that were read, at ``n`` images or their largest counts; see ``difference``."""
    ours, theirs = (one.score(name, n), other.score(name, n)) if n else _at_counts(one, other, name)
    protocols = one.results.protocol, other.results.protocol
    wrong = allowed(differing(*protocols, ours), *protocols, may_differ)
    if wrong:
        advice = "measure both alike" if set(wrong) & set(MEASURES) else "sample both alike, or say what may differ"
        raise DiffevalError(f"compare: {one.name} and {other.name} differ for {name} in {named(wrong)}; {advice}")
    assert ours.value is not None, "Side.score has looked"
    assert theirs.value is not None, "Side.score has looked"
    found, is_paired, how = _apart(name, ours, theirs, one, other)
    if moves_with_n(ours):
        found = found.together()
    if limited(ours) or limited(theirs):
        found = replace(found, fixed=1.0, squared=0.0, second=None)
    return Difference(
        title(ours), ours.higher_is_better, (ours.value, theirs.value), (ours.n, theirs.n), found, is_paired, how
    )


def same_thing(one: Side, other: Side) -> bool:
    """Whether both measured the same images: the same checkpoint, seed, number and protocol."""
    ours, theirs = one.results.provenance, other.results.provenance
    return (ours.checkpoint_sha256, ours.seed, ours.n) == (
        theirs.checkpoint_sha256,
        theirs.seed,
        theirs.n,
    ) and not differing(one.results.protocol, other.results.protocol)


def _at_counts(one: Side, other: Side, name: str) -> tuple[Score, Score]:
    """The scores to compare: the largest of each, or at the same n where the number of images moves them."""
    ours, theirs = one.score(name), other.score(name)
    if ours.n == theirs.n or not moves_with_n(ours):
        return ours, theirs
    n = largest_common(name, (one, other))
    if n is None:
        said = (
            f"compare: {name} depends on the number of images, and {one.name} has it at n={ours.n}, {other.name} at "
            f"n={theirs.n}; measure both at the same n"
        )
        raise FewerImagesError(said, theirs.n) if ours.n < theirs.n else NoEvidenceError(said)
    return one.score(name, n), other.score(name, n)


def moves_with_n(score: Score) -> bool:
    """Whether what a score is expected to read depends on the number of images."""
    return bool(score.params.get("depends_on_n"))


def largest_common(name: str, sides: Sequence[Side]) -> int | None:
    """The largest number of images at which all of some runs have a score; None where there is none."""
    return max(set.intersection(*(set(side.counts(name)) for side in sides)), default=None)


def _apart(name: str, ours: Score, theirs: Score, one: Side, other: Side) -> tuple[Uncertain, bool, str]:
    """The difference, whether it is paired, and by what."""
    assert ours.value is not None, "Side.score has looked"
    assert theirs.value is not None, "Side.score has looked"
    value = ours.value - theirs.value
    if not value and same_thing(one, other):
        return Uncertain(0.0, 0.0, 0.0, 0.0, None, ours.n), True, "the same images"
    why = _why_unpaired(ours.name, one, other)
    if (ours.n, theirs.n) == (one.results.provenance.n, other.results.provenance.n):
        found = paired(ours.name, value, one, other)
        if found is not None:
            return found[0], True, f"paired by {found[1]}"
        apart = unpaired(ours.name, value, one, other) if why else None
        if apart is not None:
            return apart, False, why
    errors = [stored(score) for score in (ours, theirs)]
    for side, error in zip((one, other), errors, strict=True):
        if error is None:
            raise NoEvidenceError(f"compare: {side.name} has no error of {name}, so no difference can be judged")
    left, right = errors
    assert left is not None, "looked at above"
    assert right is not None, "looked at above"
    return left.less(right), False, why or "errors as stored, which take the images for independent"


def _why_unpaired(name: str, one: Side, other: Side) -> str:
    """Why images are taken for independent, as a phrase; empty where they belong together."""
    if same_images(one, other) or (same_prompts(one, other) and "by_prompt" in one.terms(name)):
        return ""
    if not (one.sampled and other.sampled):
        return "independent: of ready-made images no seeds are known"
    for side in (one, other):
        if not side.arrays:
            return f"independent: {side.name} lacks terms.npz"
    ours, theirs = one.results.provenance, other.results.provenance
    if ours.seed != theirs.seed:
        return f"independent: seeds {ours.seed} and {theirs.seed}"
    if ours.n != theirs.n:
        return f"independent: n={ours.n} and {theirs.n}"
    return "independent: the classes are in another order"
