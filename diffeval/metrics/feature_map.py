"""Where the images of both sides lie among features: a map of two dimensions, counted in bins."""

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA

from diffeval.metrics.metric import Array

# Bins along each axis, and reference images from which the axes are found: more would not turn them.
BINS, MOST = 30, 5000


def feature_map(generated: Array, reference: Array) -> dict[str, npt.NDArray[np.generic]]:
    """Both sides by the reference's first two principal components; nothing where these make no plane.

    What lies beyond the middle 99.6% of either axis is left out: a single stray image would shrink all others.

    Args:
        generated: float64 [n, d].
        reference: float64 [m, d].

    Returns:
        ``map_real`` and ``map_generated``: counts, int64 [BINS, BINS], first axis along x. ``map_x`` and ``map_y``:
        edges of the bins, float64 [BINS + 1].
    """
    if min(reference.shape) < 2 or len(generated) < 2 or not np.isfinite(generated.sum() + reference.sum()):
        return {}
    if not np.ptp(reference, axis=0).any():
        return {}
    axes = PCA(2, random_state=0).fit(reference[:: -(-len(reference) // MOST)])
    real, ours = axes.transform(reference), axes.transform(generated)
    both = np.concatenate([real, ours])
    ends = np.quantile(both, (0.002, 0.998), axis=0)
    edges = [np.linspace(float(ends[0, axis]), float(ends[1, axis]), BINS + 1) for axis in (0, 1)]
    if any(len(np.unique(one)) < 2 for one in edges):
        return {}
    counts = [np.histogram2d(one[:, 0], one[:, 1], edges)[0].astype(np.int64) for one in (real, ours)]
    return {"map_real": counts[0], "map_generated": counts[1], "map_x": edges[0], "map_y": edges[1]}
