"""Whether what is said of a cluster is said of its images again, when clusters are found anew."""

import numpy as np
import numpy.typing as npt

from diffeval.metrics.metric import FeatureSet
from diffeval.metrics.modes import LEAST_OF_CLUSTER, Modes, by_cluster, sides
from diffeval.metrics.occupancy import Occupancy, occupancy

# Other seeds, each with another number of clusters, as a share of the first.
AGAIN = ((1, 1.0), (2, 1.0), (3, 0.7), (4, 1.4))


def unstable(modes: Modes, counted: Occupancy, generated: FeatureSet, reference: FeatureSet) -> npt.NDArray[np.bool_]:
    """Modes that differ, and whose real images lie in no such mode half of the times, [K].

    Classes are not found, and are never unstable. Of a cluster that is missing or thin, half of its real images or
    more must lie in clusters that are, too; the same for one that is over-produced.
    """
    found = np.zeros(len(modes), dtype=np.bool_)
    differing = [mode for mode in range(len(modes)) if counted.status(mode) != "ok"]
    if modes.kind != "clusters" or not differing:
        return found
    repeated = np.zeros(len(modes))
    for seed, share in AGAIN:
        most = len(reference) // 2 // LEAST_OF_CLUSTER
        again = by_cluster(generated, reference, min(max(2, round(share * len(modes))), max(2, most)), seed)
        signs = _signs(occupancy(*sides(again, generated, reference), len(again)), len(again))
        for mode in differing:
            sign = 1 if counted.status(mode) == "over" else -1
            repeated[mode] += np.mean(signs[again.real[modes.real == mode]] == sign) >= 0.5
    found[differing] = repeated[differing] < len(AGAIN) / 2
    return found


def _signs(counted: Occupancy, count: int) -> npt.NDArray[np.int64]:
    """-1 for modes that are missing or thin, 1 for over-produced ones, 0 for others."""
    kinds = {"missing": -1, "thin": -1, "over": 1, "ok": 0}
    return np.array([kinds[counted.status(mode)] for mode in range(count)], dtype=np.int64)
