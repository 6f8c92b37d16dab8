"""Frechet distance of the features, plain and without its bias."""

from math import ceil

import numpy as np

from diffeval.metrics.debias import Debiased, debiased_frechet
from diffeval.metrics.groups import LEAST_GROUPS
from diffeval.metrics.metric import METRICS, Estimate, FeatureSet, Metric

# Below so many images, or so many per dimension, the covariance is next to singular, and the value unreliable.
LEAST, LEAST_PER_DIMENSION = 20, 1.2
# Below so many images per dimension the interval was seen to cover less than it says, on heavy-tailed features.
COVERS_FROM = 2.5
# Below this many images plain FID is marked biased, whatever its estimated bias.
BIASED_BELOW = 5000
BIASED_SHARE = 0.05
# A share of copies among the images from which on the error, which takes them for independent, is called too small.
COPIES_SHARE = 0.01


def fid(generated: FeatureSet, reference: FeatureSet, independent: bool) -> tuple[Estimate, ...]:
    """Frechet distance of the features. Range: from 0; best value 0. Units: features squared.

    ``fid`` is what everybody reports. Its bias is positive, falls as 1/n and differs between models; it has an error,
    which says how it scatters at this n, and no interval: it estimates its own expectation at n images, not the
    distance.

    ``fid_debiased`` estimates the distance itself, and may be negative where that is next to 0. The estimand is the
    distance between the population behind the generated images and the population behind the reference; where the
    reference is held fixed, because the checkpoint was trained on it or only its moments are known, it is the distance
    to the reference's own moments. See ``metrics/debias.py`` for the estimator and its error, ``benchmarks/README.md``
    for what it was tried on.

    Raises nothing for small n; the caller refuses n below ``Metric.needs``.

    Source: Heusel et al. 2017; bias: Chong and Forsyth 2020.
    """
    found = debiased_frechet(generated, reference, independent)
    side = "debiased" if independent else "held fixed"
    bias = found.plain - found.value
    return (
        Estimate(
            "fid",
            found.plain,
            higher_is_better=False,
            std_error=found.std_error,
            params={
                "std_error_method": "jackknife",
                "biased": len(generated) < BIASED_BELOW or abs(bias) > BIASED_SHARE * abs(found.plain),
                "estimated_bias": bias,
                "reference_side": side,
            },
            comparable_across_n=False,
            terms={"influence": found.influence},
        ),
        Estimate(
            "fid_debiased",
            found.value,
            higher_is_better=False,
            std_error=found.std_error,
            ci95=found.ci95,
            params={
                "std_error_method": "jackknife",
                "groups": len(found.groups),
                "reference_side": side,
            },
            terms=found.terms.arrays(),
            needed=found.needed,
            warnings=_warnings(generated, found),
        ),
    )


def _warnings(generated: FeatureSet, found: Debiased) -> tuple[str, ...]:
    n, said = len(generated), []
    if n < COVERS_FROM * generated.dim:
        said.append(
            f"fid_debiased: {n} images are fewer than {COVERS_FROM:g} per dimension ({generated.dim} of them): some "
            f"bias remains, and the interval can be too narrow; use --n {ceil(COVERS_FROM * generated.dim)} or more"
        )
    copies = n - len(np.unique(generated.features, axis=0))
    if copies > COPIES_SHARE * n:
        said.append(
            f"fid_debiased: {copies} of {n} images have the features of another one; if they are copies, not draws of "
            f"their own, its bias is removed in part only and its error is too small"
        )
    if not found.groups.balanced:
        said.append(
            f"fid_debiased: {n} images, needs at least {LEAST_GROUPS} of every class to tell the variance within "
            f"classes from that between them; blocks are left out instead, which reads too low with too large an error"
        )
    return tuple(said)


METRICS.register("fid")(
    Metric(
        ("fid", "fid_debiased"),
        lambda dim: max(LEAST, ceil(LEAST_PER_DIMENSION * dim)),
        fid,
        from_moments=True,
        place=1,
    )
)
