"""Many tests at once."""

import numpy as np
import numpy.typing as npt


def holm(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """p-values of any shape, corrected for their number; Holm 1979."""
    flat = p.ravel()
    order = np.argsort(flat)
    factors = np.arange(len(flat), 0, -1)
    adjusted = np.minimum(1.0, np.maximum.accumulate(flat[order] * factors))
    found = np.empty(len(flat))
    found[order] = adjusted
    return found.reshape(p.shape)
