"""Which class image i shows: a function of i alone."""

import numpy as np
import numpy.typing as npt

# Names the rule in the protocol; a change of the rule needs a new name.
LABEL_RULE = "balanced-blocks/1"


def balanced_labels(start: int, stop: int, classes: int) -> npt.NDArray[np.int64]:
    """Labels of images ``start`` to ``stop`` - 1, int64 in [0, classes).

    Every block of ``classes`` consecutive images holds each class once, in an order that is fixed for the block. So
    classes are balanced in every prefix to within one image, whatever the seed, the batch or the number of devices.
    """
    blocks = range(start // classes, -(-stop // classes))
    rows = [np.random.Generator(np.random.Philox(key=[block, classes])).permutation(classes) for block in blocks]
    if not rows:
        return np.empty(0, dtype=np.int64)
    offset = (start // classes) * classes
    return np.concatenate(rows)[start - offset : stop - offset].astype(np.int64)
