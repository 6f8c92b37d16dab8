"""Differences between runs: exactly nothing for the same, paired where seeds are shared, refused across references."""

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from diffeval.compare import difference
from diffeval.errors import DiffevalError, NoEvidenceError
from diffeval.evaluate import evaluate as evaluate_any
from diffeval.metrics.debias import debiased_frechet
from diffeval.metrics.frechet import Moments
from diffeval.metrics.metric import FeatureSet
from diffeval.metrics.variance import Terms, paired_error, pairs_variance, terms_from, unpaired_error
from diffeval.plan import Settings

# What ``diffeval fid`` computes.
evaluate = partial(evaluate_any, metrics=("fid", "kid"), task="fid")

FAST = Settings(n=200, steps=2, device="cpu", batch=50)


def test_identical_runs_differ_by_exactly_nothing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / name)
    found = difference(tmp_path / "one", tmp_path / "other")
    assert (found.value, found.std_error, found.ci95) == (0.0, 0.0, (0.0, 0.0))
    assert found.paired
    assert found.n == (200, 200)


def test_shared_seeds_are_paired_and_others_are_not(tiny_checkpoint: Path, tmp_path: Path) -> None:
    evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "base")
    evaluate(tiny_checkpoint, settings=dataclasses.replace(FAST, steps=4), out=tmp_path / "steps")
    evaluate(tiny_checkpoint, settings=dataclasses.replace(FAST, seed=1), out=tmp_path / "seed")
    evaluate(tiny_checkpoint, settings=dataclasses.replace(FAST, n=250), out=tmp_path / "more")
    steps = difference(tmp_path / "base", tmp_path / "steps")
    assert steps.paired
    seed = difference(tmp_path / "base", tmp_path / "seed")
    assert not seed.paired
    assert seed.std_error > steps.std_error > 0
    assert not difference(tmp_path / "base", tmp_path / "more").paired
    back = difference(tmp_path / "steps", tmp_path / "base")
    assert (back.value, back.std_error) == (-steps.value, pytest.approx(steps.std_error))


def test_other_references_are_refused_by_name(tiny_checkpoint: Path, tmp_path: Path) -> None:
    evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "train")
    evaluate(tiny_checkpoint, settings=FAST, ref="digits@heldout", out=tmp_path / "heldout")
    with pytest.raises(DiffevalError, match=r"differ for fid_debiased in reference digits@train and digits@heldout"):
        difference(tmp_path / "train", tmp_path / "heldout")


def test_missing_evidence_is_said(tiny_checkpoint: Path, tmp_path: Path) -> None:
    evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "one")
    with pytest.raises(DiffevalError, match="there is no"):
        difference(tmp_path / "one", tmp_path / "nothing")
    with pytest.raises(NoEvidenceError, match="has no recall"):
        difference(tmp_path / "one", tmp_path / "one", "recall")
    evaluate(tiny_checkpoint, settings=dataclasses.replace(FAST, steps=4), out=tmp_path / "other")
    (tmp_path / "one" / "terms.npz").unlink()
    with pytest.raises(DiffevalError, match=r"^compare: .*one/terms\.npz is missing; copy the whole folder"):
        difference(tmp_path / "one", tmp_path / "other")


def _pair(random: np.random.Generator, shared: float) -> tuple[FeatureSet, FeatureSet]:
    """Two samples of one law whose images i share a part."""
    common = random.standard_normal((150, 8)) * np.sqrt(shared)
    own = [random.standard_normal((150, 8)) * np.sqrt(1 - shared) for _ in range(2)]
    return FeatureSet(1.3 * (common + own[0])), FeatureSet(1.3 * (common + own[1]))


@pytest.mark.parametrize(("shared", "independent"), [(0.0, False), (0.9, False), (0.9, True)])
def test_differences_of_equals_scatter_as_their_error_says(shared: float, independent: bool) -> None:
    random = np.random.Generator(np.random.Philox(21))
    known = FeatureSet(np.empty((0, 8)))
    known.once("moments", lambda: Moments(np.zeros(8), np.eye(8), 10**9))
    scores, ratio = [], []
    for _ in range(150):
        reference = FeatureSet(random.standard_normal((150, 8))) if independent else known
        one, other = (debiased_frechet(some, reference, independent) for some in _pair(random, shared))
        paired, unpaired = (error(one.terms, other.terms).std_error for error in (paired_error, unpaired_error))
        scores.append((one.value - other.value) / (paired if shared else unpaired))
        ratio.append(paired / unpaired)
    # The spread of 150 standard normal values is 1 with a standard error of 0.058.
    assert 0.8 < np.std(scores, ddof=1) < 1.2
    assert abs(np.mean(scores)) < 4 / np.sqrt(150)
    assert bool(np.mean(ratio) < 0.7) is (shared > 0)


def test_terms_survive_the_file() -> None:
    random = np.random.Generator(np.random.Philox(22))
    terms = Terms(
        (random.standard_normal(20), random.standard_normal(30)),
        (random.standard_normal((1, 20, 20)), None),
        random.standard_normal((1, 20, 30)),
        (random.standard_normal(20), random.standard_normal(30)),
    )
    read = terms_from(terms.arrays())
    np.testing.assert_array_equal(read.moves[0], terms.moves[0])
    np.testing.assert_array_equal(read.pseudo[1], terms.pseudo[1])
    assert read.sampled[1] is None
    assert read.variance().at(1.0) == pytest.approx(terms.variance().at(1.0), rel=1e-6)


@pytest.mark.parametrize("count", [8, 30])
def test_the_variance_from_pairs_of_groups(count: int) -> None:
    """The mean of x_g x_h over pairs, for independent x of unit variance, varies by 2 / G^2 to leading order."""
    random = np.random.Generator(np.random.Philox(23))
    found = []
    for _ in range(400):
        x = random.standard_normal(count)
        # theta = mean(x)^2, so theta_(gh) - theta_(g) - theta_(h) + theta has the pair's part 2 x_g x_h / (G - 2)^2.
        pair = 2 * np.outer(x, x) / (count - 2) ** 2
        found.append(pairs_variance(count, pair[None]))
    assert np.mean(found) == pytest.approx(2 / count**2, rel=0.15)


def test_what_removing_the_bias_adds_counts_where_distances_are_paired() -> None:
    """Pseudo-values of the plain distance have half the spread of those of the one without bias."""
    random = np.random.Generator(np.random.Philox(24))
    plain = random.standard_normal(50)
    one, other = Terms((plain,), (None,), None, (2 * plain,)), Terms((np.zeros(50),), (None,), None, (np.zeros(50),))
    assert paired_error(one, other).std_error == pytest.approx(2 * float(plain.std(ddof=1)) / np.sqrt(50))
    without = Terms((np.zeros(50),), (None,), None)
    assert paired_error(one, without).std_error == pytest.approx(float(plain.std(ddof=1)) / np.sqrt(50))
    assert one.variance().at(1.0) == pytest.approx(float(plain.var(ddof=1)) / 50)
