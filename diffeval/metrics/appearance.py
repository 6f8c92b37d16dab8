"""Pixels, not features: whether images are saturated, faint, dark or off-colour, next to real ones."""

from math import hypot, sqrt

from diffeval.metrics.groups import mean_error
from diffeval.metrics.metric import METRICS, Array, Estimate, FeatureSet, LackingError, Metric
from diffeval.runs.records import Null, Param

LEAST = 20
QUANTILE = 1.959964


def appearance(generated: FeatureSet, reference: FeatureSet, independent: bool) -> tuple[Estimate, ...]:
    """Extremes, colour, contrast and brightness of the pixels, next to those of real images.

    ``saturated_pixels`` is the share of values with |x| > 0.98 of x in [-1, 1] (a sampler's clipping moves none across
    that), ``colour_saturation`` the mean saturation of HSV; both from 0 to 1, and both right where they are what real
    images have. ``contrast_ratio`` is the standard deviation over an image's pixels and ``brightness_ratio`` its mean
    level above black, relative to real images, channel by channel and then averaged; best 1. None of them is better
    the higher or lower it is; the direction says what too much guidance does wrong. Unbiased but for the ratios'
    1/m. The errors are those of means, within classes where these are fixed.

    Source: the quantities that guidance is known to move, Ho and Salimans 2022; Saharia et al. 2022, section 2.3.

    Raises:
        LackingError: if the pixels of a side are not known, as with statistics.
    """
    ours, theirs = generated.appearance, reference.appearance
    if ours is None or theirs is None:
        raise LackingError("appearance needs the real images themselves; give images with --ref, not statistics")
    channels = (ours.shape[1] - 2) // 2
    contrast, bright = slice(2, 2 + channels), slice(2 + channels, None)
    return (
        _share("saturated_pixels", ours[:, 0], theirs[:, 0], generated, reference),
        _share("colour_saturation", ours[:, 1], theirs[:, 1], generated, reference),
        _ratio("contrast_ratio", ours[:, contrast], theirs[:, contrast], generated, reference),
        _ratio("brightness_ratio", ours[:, bright] + 1, theirs[:, bright] + 1, generated, reference),
    )


def _share(name: str, ours: Array, theirs: Array, generated: FeatureSet, reference: FeatureSet) -> Estimate:
    error = mean_error(ours, generated.labels)
    value = float(ours.mean())
    null = Null(float(theirs.mean()), mean_error(theirs, reference.labels), len(theirs))
    interval = max(0.0, value - QUANTILE * error), min(1.0, value + QUANTILE * error)
    return Estimate(name, value, False, error, interval, _params({}), null=null)


def _ratio(name: str, ours: Array, theirs: Array, generated: FeatureSet, reference: FeatureSet) -> Estimate:
    """Means of each channel over those of real images, averaged over the channels.

    Raises:
        ValueError: if the real images have none of it, e.g. are all black.
    """
    real = theirs.mean(axis=0)
    if not (real > 0).all():
        raise ValueError(f"{name}: a channel of the real images is constant")
    ratios = ours.mean(axis=0) / real
    # An image moves all its channels at once.
    mine = mean_error((ours / real).mean(axis=1), generated.labels)
    yours = mean_error((theirs * ratios / real).mean(axis=1), reference.labels)
    value, error = float(ratios.mean()), hypot(mine, yours)
    by_channel = {f"channel_{number}": float(one) for number, one in enumerate(ratios)} if len(ratios) > 1 else {}
    null = Null(1.0, sqrt(2) * yours / max(value, 1e-12), len(theirs))
    return Estimate(
        name,
        value,
        False,
        error,
        (max(0.0, value - QUANTILE * error), value + QUANTILE * error),
        _params(dict(by_channel)),
        null=null,
    )


def _params(more: dict[str, Param]) -> dict[str, Param]:
    return {"std_error_method": "mean over images", **more}


METRICS.register("appearance")(
    Metric(
        ("saturated_pixels", "colour_saturation", "contrast_ratio", "brightness_ratio"), lambda dim: LEAST, appearance
    )
)
