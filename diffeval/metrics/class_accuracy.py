"""Class accuracy: whether an image that was asked for as a class is recognised as one."""

import numpy as np

from diffeval.metrics.groups import mean_error
from diffeval.metrics.metric import METRICS, Array, Estimate, FeatureSet, LackingError, Metric

LEAST = 20
QUANTILE = 1.959964


def hits(images: FeatureSet) -> Array:
    """1 where the extractor's classifier names the class that the image was made as, 0 where another, [n].

    Raises:
        LackingError: without labels, without a classifier, or if it does not know these classes.
    """
    if images.labels is None:
        raise LackingError("class_accuracy needs images made class by class, and these have no such labels")
    if images.logits is None:
        raise LackingError("class_accuracy needs an extractor with a classifier, and this one has none")
    index = {name: place for place, name in enumerate(images.logit_classes)}
    unknown = [name for name in images.classes if name not in index]
    if unknown or not images.classes:
        raise LackingError(
            f"class_accuracy: the extractor's classifier does not know the class {(*unknown, 'names')[0]!r}, "
            f"only {', '.join(images.logit_classes[:3])} and so on"
        )
    wanted = np.array([index[name] for name in images.classes])[images.labels]
    found: Array = (images.logits.argmax(axis=1) == wanted).astype(np.float64)
    return found


def class_accuracy(generated: FeatureSet, reference: FeatureSet, independent: bool) -> tuple[Estimate, ...]:
    """Share of images that the extractor's classifier takes for the class they were made as. Range: 0 to 1.

    Unbiased. It is a ceiling on nothing but that classifier's taste: images that are easier than real ones
    (guidance makes such) score above held-out real images, which stand beside it. A classifier fitted to the reference
    knows the reference's own images too well to be asked about them.

    The interval is Wilson's, for images drawn independently; classes in fixed shares make it a little too wide.

    Source: Ravuri and Vinyals 2019 ask the opposite question (a classifier trained on samples); this one is common
    with class-conditional models, e.g. Ho and Salimans 2021.

    Raises:
        LackingError: without labels, or without a classifier that knows the classes.
    """
    hit = hits(generated)
    value = float(hit.mean())
    return (
        Estimate(
            "class_accuracy",
            value,
            higher_is_better=True,
            std_error=mean_error(hit, generated.labels),
            ci95=wilson(value, len(hit)),
            params={"std_error_method": "binomial within classes"},
            terms={"term": hit.astype(np.float32)},
        ),
    )


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share of n."""
    z = QUANTILE**2 / n
    middle, half = share + z / 2, QUANTILE * np.sqrt(share * (1 - share) / n + z / (4 * n))
    return float(max(0.0, (middle - half) / (1 + z))), float(min(1.0, (middle + half) / (1 + z)))


METRICS.register("class_accuracy")(
    Metric(("class_accuracy",), lambda dim: LEAST, class_accuracy, higher_is_better=True, place=5)
)
