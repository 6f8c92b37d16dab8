"""The samples that are most like a training image, each beside it, to look at."""

import numpy as np

from diffeval.checks.check import Pictures, Row
from diffeval.checks.copies import Compared
from diffeval.data.pixels import Images
from diffeval.data.source import ImageSource

SHOWN = 16


def closest_pairs(
    samples: Images, source: ImageSource, compared: Compared, ratio: float
) -> tuple[Pictures, tuple[Row, ...]]:
    """Pictures and a table of the pairs with the smallest ratios, worst first.

    Args:
        samples: uint8 [n, C, H, W].
        source: the training images.
        compared: both.
        ratio: below which an image is a copy.
    """
    order = np.argsort(compared.ratios.min(axis=0), kind="stable")[:SHOWN]
    shown, names = [], []
    table: list[Row] = []
    for place in map(int, order):
        look = int(compared.ratios[:, place].argmin())
        row, found = int(compared.rows[look, place]), float(compared.ratios[look, place])
        (training,) = source.pixels.read([row])
        apart, flipped = _grey_levels(samples[place], training)
        shown.append(np.stack([samples[place], training]))
        called = source.pixels.name(row)
        names.append(
            f"sample {place}: ratio {found:.2f} by {compared.looks[look]}, {apart:.1f} grey levels from {called}"
            f"{' mirrored' if flipped else ''}"
        )
        table.append(
            {
                "sample": place, "training_image": called, "ratio": found, "by": compared.looks[look],
                "grey_levels": apart, "mirrored": flipped, "copy": found < ratio,
            }
        )  # fmt: skip
    sentence = (
        "The samples that are nearest to a training image, for how far the next training images are, worst first. A "
        f"ratio below {ratio:.2f} counts as a copy. Grey levels: root mean square difference of the two, of 255."
    )
    return Pictures(np.stack(shown), tuple(names), ("sample", "nearest training image"), sentence), tuple(table)


def _grey_levels(one: Images, other: Images) -> tuple[float, bool]:
    """Root mean square difference of two images, and whether it is that of the one mirrored, where that is less."""
    plain, mirrored = (
        float(np.sqrt(((one.astype(np.float64) - seen) ** 2).mean())) for seen in (other, other[..., ::-1])
    )
    return min(plain, mirrored), mirrored < plain
