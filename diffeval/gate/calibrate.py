"""How much scores move where nothing but the seed does, and which margins that affords."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10, sqrt
from pathlib import Path
from statistics import NormalDist, fmean, stdev

from diffeval.compare.protocols import differing, named
from diffeval.compare.side import Side
from diffeval.compare.uncertain import stored
from diffeval.errors import DiffevalError, NoEvidenceError
from diffeval.gate.calibration import Calibration, Noise
from diffeval.gate.evidence import read_runs
from diffeval.gate.question import ALPHA

# How often a model that is no worse shall pass: all rules together, at least.
PASSING = 0.98
POWER = 0.8
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Proposal:
    """A margin for one score, and what it does to runs of other seeds.

    Attributes:
        score: its name.
        margin: proposed, rounded upwards to two digits.
        passes: how often a model that is no worse passes.
        fails: how often it fails.
        caught: the least regression that fails 4 times in 5.
    """

    score: str
    margin: float
    passes: float
    fails: float
    caught: float


def calibrate(runs: Sequence[Path | str]) -> Calibration:
    """Measures the noise of every score that has an error.

    Args:
        runs: of one checkpoint, protocol and n; of other seeds, so that the seeds' own spread is seen. Of a single run
            the standard errors are taken that it stored (delete-group jackknife for distances).

    Raises:
        DiffevalError: if the runs differ in more than their seeds.
        NoEvidenceError: if they share no score with an error.
    """
    sides = [side for path in runs for side in read_runs([Path(path)]).sides]
    _require_alike(sides)
    names = [name for name in sides[0].titles if all(side.counts(name) for side in sides)]
    noises = {name: noise for name in names if (noise := _noise(sides, name)) is not None}
    if not noises:
        raise NoEvidenceError(f"gate: {' and '.join(side.name for side in sides)} share no score that has an error")
    first = sides[0].results
    return Calibration(
        first.provenance.checkpoint,
        first.provenance.checkpoint_sha256,
        first.protocol,
        "seeds" if len(sides) > 1 else "terms",
        noises,
    )


def propose(noise: Noise, rules: int = 1) -> Proposal:
    """The least margin that a model that is no worse passes nearly always, with other seeds than the baseline's.

    Args:
        noise: of the score.
        rules: that a gate is to have; a model that is no worse then passes all of them so often.
    """
    passing = 1 - (1 - PASSING) / rules
    margin = rounded_up((_reach(1 - ALPHA) + _reach(passing)) * apart(noise.sd))
    return rates(noise.score, margin, apart(noise.sd))


def rates(score: str, margin: float, error: float) -> Proposal:
    """What a margin does where the difference of two runs has this standard error."""
    if not error:
        return Proposal(score, margin, 1.0, 0.0, margin)
    reach, room = _reach(1 - ALPHA), margin / error
    return Proposal(
        score,
        margin,
        passes=_NORMAL.cdf(room - reach),
        fails=_NORMAL.cdf(-room - reach),
        caught=margin + (reach + _reach(POWER)) * error,
    )


def apart(error: float) -> float:
    """Standard error of the difference of two independent runs."""
    return sqrt(2) * error


def rounded_up(value: float) -> float:
    """Upwards to two digits."""
    if value <= 0:
        return 0.0
    digits = 1 - floor(log10(value))
    # What is a round number already stays one, whatever its last bit says.
    return round(ceil(value * 10.0**digits - 1e-9) / 10.0**digits, max(digits, 0))


def spread(noise: Noise) -> float | None:
    """How far the spread over seeds may be off itself, as a share; None for a single run."""
    return None if noise.over_seeds is None else 1 / sqrt(2 * (noise.runs - 1))


def disagrees(noise: Noise) -> bool:
    """Whether seeds move a score clearly more than its stored errors say."""
    share = spread(noise)
    return share is not None and noise.over_seeds is not None and noise.over_seeds > noise.stored * (1 + 3 * share)


def _reach(confidence: float) -> float:
    return _NORMAL.inv_cdf(confidence)


def _noise(sides: Sequence[Side], name: str) -> Noise | None:
    scores = [side.score(name) for side in sides]
    known = [found for score in scores if (found := stored(score)) is not None]
    if len(known) < len(scores):
        return None
    values = [found.value for found in known]
    return Noise(
        name,
        fmean(values),
        stdev(values) if len(values) > 1 else None,
        sqrt(fmean(max(found.below, found.above) ** 2 for found in known)),
        scores[0].n,
        len(scores),
    )


def _require_alike(sides: Sequence[Side]) -> None:
    """Refuses runs that differ in more than their seeds, and seeds that came twice."""
    first = sides[0]
    for side in sides[1:]:
        ours, theirs = first.results, side.results
        apart_in = named(differing(ours.protocol, theirs.protocol))
        if side.sha256 != first.sha256:
            apart_in = f"the checkpoint, {first.sha256[:8]} and {side.sha256[:8]}"
        elif ours.provenance.n != theirs.provenance.n:
            apart_in = f"n, {ours.provenance.n} and {theirs.provenance.n}"
        if apart_in:
            raise DiffevalError(
                f"gate: {first.name} and {side.name} differ in {apart_in}; calibrate with runs that differ in their "
                "seeds alone"
            )
    seeds = [side.seed for side in sides]
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        raise DiffevalError(f"gate: two runs have the seed {twice}; calibrate with runs of different --seed")
    if len(sides) > 1 and not all(side.sampled for side in sides):
        raise DiffevalError("gate: ready-made images have no seeds; calibrate with one run of them")
