"""What images look like before any network has seen them: extremes, colour, contrast, brightness."""

import math

import numpy as np
import numpy.typing as npt

from diffeval.data.pixels import Images

# |x| above this, of x in [-1, 1], is an extreme: clipping at +-1 moves no pixel across it.
EXTREME = 0.98
# Columns that come before those of the channels.
SATURATED, COLOUR, CHANNELS = 0, 1, 2
# Values that are worked on at once: they stay in a CPU's caches, and memory does not grow with the batch.
VALUES = 1 << 18


def appearance(images: Images) -> npt.NDArray[np.float32]:
    """Of each image, float32 [n, 2 + 2 C].

    The share of its values with |x| > 0.98; the mean colour saturation of its pixels (HSV; 0 for grey images); then,
    for each channel, the standard deviation over pixels, and for each the mean, both of x in [-1, 1].
    """
    group = max(1, VALUES // max(1, math.prod(images.shape[1:])))
    parts = [_appearance(images[at : at + group]) for at in range(0, max(1, len(images)), group)]
    return np.concatenate(parts)


def _appearance(images: Images) -> npt.NDArray[np.float32]:
    x = images.astype(np.float32) / 127.5 - 1.0
    most, least = images.max(axis=1).astype(np.float32), images.min(axis=1).astype(np.float32)
    colour = np.divide(most - least, most, out=np.zeros_like(most), where=most > 0)
    columns = (
        (np.abs(x) > EXTREME).mean(axis=(1, 2, 3))[:, None],
        colour.mean(axis=(1, 2))[:, None],
        x.std(axis=(2, 3)),
        x.mean(axis=(2, 3)),
    )
    return np.concatenate(columns, axis=1).astype(np.float32)
