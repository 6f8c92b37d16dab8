"""Paired errors against what differences in fact scatter by, and how often their intervals hold the truth."""

import dataclasses
from collections.abc import Callable
from math import sqrt

import numpy as np
import numpy.typing as npt
import pytest
from made_runs import PROTOCOL, score, side

from diffeval.compare import Side, difference_of
from diffeval.metrics.debias import debiased_frechet
from diffeval.metrics.frechet import Moments
from diffeval.metrics.kid import kid
from diffeval.metrics.manifold import manifold
from diffeval.metrics.metric import Estimate, FeatureSet
from diffeval.metrics.variance import terms_from
from diffeval.runs.records import Protocol

Array = npt.NDArray[np.float64]
# Half the width of a 99.9% interval of a share of 300 that is 0.95 in truth.
ROOM = 3.3 * sqrt(0.95 * 0.05 / 300)


def _random(key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key))


def _terms_side(name: str, terms: Array, labels: npt.NDArray[np.int64] | None = None, seed: int = 0) -> Side:
    """A run whose score is the mean of its terms, as ``class_accuracy`` stores them."""
    n = len(terms)
    found = score("class_accuracy", float(terms.mean()), float(terms.std(ddof=1)) / sqrt(n), n=n, higher=True)
    arrays = {"class_accuracy.term": terms, **({} if labels is None else {"labels": labels})}
    return side(name, [found], arrays, seed=seed, n=n)


def test_the_paired_error_is_that_of_the_differences_and_the_unpaired_one_of_both() -> None:
    """Terms with a common part of variance 9 and own parts of 1 differ by variance 2 / n when paired, 20 / n else."""
    random = _random(1)
    common, own = 3 * random.standard_normal(20_000), random.standard_normal((2, 20_000))
    one, other = _terms_side("one", common + own[0]), _terms_side("other", common + own[1])
    paired = difference_of(one, other, "class_accuracy")
    assert paired.paired
    assert paired.how == "paired by seed"
    assert paired.std_error == pytest.approx(sqrt(2 / 20_000), rel=0.03)
    unpaired = difference_of(one, _terms_side("other", common + own[1], seed=1), "class_accuracy")
    assert not unpaired.paired
    assert unpaired.how == "independent: seeds 0 and 1"
    assert unpaired.std_error == pytest.approx(sqrt(20 / 20_000), rel=0.03)


def test_classes_of_fixed_shares_are_no_part_of_the_error() -> None:
    """One run is better by 1 in one class and worse by 1 in the other: within classes nothing varies but 1 / n."""
    random, labels = _random(2), np.arange(10_000) % 2
    noise = random.standard_normal((2, 10_000)) * sqrt(0.5)
    one = _terms_side("one", noise[0] + labels, labels)
    other = _terms_side("other", noise[1] + 1 - labels, labels)
    assert difference_of(one, other, "class_accuracy").std_error == pytest.approx(1 / 100, rel=0.03)


def test_runs_that_agree_on_every_image_are_not_certain_to_be_equal() -> None:
    """Tango's bound: where no image differs it is z^2 / (n + z^2)."""
    right = np.ones(98)
    found = difference_of(_terms_side("one", right), _terms_side("other", right.copy()), "class_accuracy")
    # The same checkpoint and seed: these are the same images.
    assert (found.value, found.std_error, found.ci95) == (0.0, 0.0, (0.0, 0.0))
    other = side("other", [score("class_accuracy", 1.0, 0.0, n=98)], {"class_accuracy.term": right}, n=98, sha256="b")
    apart = difference_of(_terms_side("one", right), other, "class_accuracy")
    assert (apart.value, apart.std_error) == (0.0, 0.0)
    assert apart.bound(0.95, upper=True) == pytest.approx(1.644854**2 / (98 + 1.644854**2), rel=1e-6)


@pytest.mark.parametrize(("correlated", "seed"), [(0.0, 1), (0.0, 0), (0.9, 0)])
def test_intervals_of_means_hold_the_truth_as_often_as_they_say(correlated: float, seed: int) -> None:
    random, held = _random(3), 0
    for _ in range(300):
        common = sqrt(correlated) * random.standard_normal(60)
        one, other = (common + sqrt(1 - correlated) * random.standard_normal(60) for _ in range(2))
        found = difference_of(_terms_side("one", one + 0.3), _terms_side("other", other, seed=seed), "class_accuracy")
        held += found.ci95[0] <= 0.3 <= found.ci95[1]
    assert abs(held / 300 - 0.95) < ROOM


@pytest.mark.parametrize("seed", [0, 1])
def test_intervals_of_shares_near_one_hold_the_truth(seed: int) -> None:
    """Of 0.99 and 0.97 at 200 images, where plus-minus two standard errors would hold it in fewer than 9 of 10."""
    random, held = _random(4), 0
    for _ in range(300):
        hits = [(random.random(200) < share).astype(np.float64) for share in (0.99, 0.97)]
        sides = []
        for name, right, own in (("one", hits[0], 0), ("other", hits[1], seed)):
            share, z = float(right.mean()), 1.959964**2 / 200
            half = 1.959964 * sqrt(share * (1 - share) / 200 + z / 800)
            ends = (share + z / 2 - half) / (1 + z), (share + z / 2 + half) / (1 + z)
            known = score("class_accuracy", share, sqrt(share * (1 - share) / 200), ci95=ends, n=200, higher=True)
            sides.append(side(name, [known], {"class_accuracy.term": right}, seed=own, n=200, sha256=name))
        found = difference_of(*sides, "class_accuracy")
        held += found.ci95[0] <= 0.02 <= found.ci95[1]
    assert held / 300 > 0.95 - ROOM


def test_independent_distances_need_images_each_by_its_own_count() -> None:
    """What falls with the images of a run of 80 does so from 80, and with those of one of 240 from 240."""
    random = _random(7)
    known = FeatureSet(random.standard_normal((240, 4)))
    apart = [
        _run(name, _frechet(FeatureSet(1.5 * random.standard_normal((n, 4)) + shift), known), n, seed)
        for name, n, shift, seed in (("one", 80, 0.8, 0), ("other", 240, 0.0, 1))
    ]
    found = difference_of(*apart, "fid_debiased").found
    parts = [terms_from(one.terms("fid_debiased")).variance() for one in apart]
    target = (found.value / (2 * (1.644854 + 0.841621))) ** 2

    def variance(counts: tuple[float, float]) -> float:
        return sum(
            (part.own + part.across) * n / many + (part.pairs + part.caution) * (n / many) ** 2
            for part, n, many in zip(parts, (80, 240), counts, strict=True)
        )

    both, held = (found.needed(found.value / 2, held=one) for one in (False, True))
    assert both is not None
    assert held is not None
    assert variance((80, 240)) == pytest.approx(found.above**2)
    assert variance((both, both)) == pytest.approx(target, rel=0.03)
    assert variance((held, 240)) == pytest.approx(target, rel=0.03)
    assert held < both


def _run(name: str, estimate: Estimate, n: int, seed: int = 0) -> Side:
    """A run with what a metric found."""
    assert estimate.value is not None
    known = score(estimate.name, estimate.value, estimate.std_error, ci95=estimate.ci95, n=n)
    arrays = {f"{estimate.name}.{term}": array for term, array in estimate.terms.items()}
    return side(name, [known], arrays, seed=seed, n=n, sha256=name)


def _frechet(images: FeatureSet, reference: FeatureSet) -> Estimate:
    found = debiased_frechet(images, reference, False)
    return Estimate("fid_debiased", found.value, False, found.std_error, found.ci95, terms=found.terms.arrays())


def _kid(images: FeatureSet, reference: FeatureSet) -> Estimate:
    return kid(images, reference, False)[0]


def _precision(images: FeatureSet, reference: FeatureSet) -> Estimate:
    return manifold(images, reference, False)[0]


@pytest.mark.parametrize(
    ("read", "repeats", "rather_wide"), [(_frechet, 100, False), (_kid, 100, False), (_precision, 60, True)]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_differences_of_gaussians_scatter_as_their_errors_say(
    read: Callable[[FeatureSet, FeatureSet], Estimate], repeats: int, rather_wide: bool, seed: int
) -> None:
    """N(m, 1.5^2) against N(m', 1.5^2) in 4 dimensions, at the same distance from N(0, 1): they differ by nothing."""
    random = _random(5)
    known = FeatureSet(random.standard_normal((240, 4)))
    if read is _frechet:
        known = FeatureSet(np.empty((0, 4)))
        known.once("moments", lambda: Moments(np.zeros(4), np.eye(4), 10**9))
    found = []
    for _ in range(repeats):
        common = random.standard_normal((120, 4))
        sides = []
        for name, own, shift in (("one", 0, 0), ("other", seed, 1)):
            noise = common if not seed else random.standard_normal((120, 4))
            mixed = sqrt(0.8) * noise + sqrt(0.2) * random.standard_normal((120, 4))
            images = FeatureSet(1.5 * mixed + 0.7 * np.eye(4)[shift])
            sides.append(_run(name, read(images, known), 120, own))
        apart = difference_of(*sides, sides[0].titles[0])
        assert apart.paired is (seed == 0)
        found.append(apart.value / apart.std_error)
    spread = float(np.std(found, ddof=1))
    # The spread of 100 standard normal values is 1 with a standard error of 0.07; halves err on the large side.
    assert (0.5 if rather_wide else 0.75) < spread < 1.25


def _prompted(name: str, values: Array, seed: int) -> Side:
    """A run whose prompts have these means, all prompts with as many images."""
    terms = {"clip_score.by_prompt": values}
    error = float(np.nanstd(values, ddof=1)) / sqrt(len(values))
    known = score("clip_score", float(np.nanmean(values)), error, higher=True, judge="clip")
    return side(name, [known], terms, seed=seed, protocol=_with_prompts("cc"))


def _with_prompts(prompts: str) -> Protocol:
    return dataclasses.replace(PROTOCOL, judge="clip", prompts=prompts)


def test_prompts_pair_whatever_the_seeds() -> None:
    """Prompts differ by 5, the images of one prompt by 0.5: of 50 prompts the difference has 0.5 (2 / 50)^1/2."""
    random = _random(6)
    errors = []
    for _ in range(100):
        prompts = 5 * random.standard_normal(50)
        one, other = (prompts + 0.5 * random.standard_normal(50) for _ in range(2))
        found = difference_of(_prompted("one", one, 0), _prompted("other", other, 7), "clip_score")
        assert found.how == "paired by prompt"
        errors.append(found.std_error)
    assert float(np.mean(errors)) == pytest.approx(0.5 * sqrt(2 / 50), rel=0.05)


def test_prompts_that_one_run_lacks_do_not_pair() -> None:
    values = np.arange(8.0)
    lacking = np.where(values == 3, np.nan, values)
    found = difference_of(_prompted("one", values, 0), _prompted("other", lacking, 7), "clip_score")
    assert not found.paired
