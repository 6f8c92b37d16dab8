"""diffeval: evaluates and diagnoses diffusion models.

The commands of the command line, as functions: ``load`` a checkpoint, ``evaluate`` it, ``report`` on the run. Nothing
here imports torch before it is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from diffeval.errors import DiffevalError

if TYPE_CHECKING:
    __version__: str
    from diffeval.checkpoints.checkpoint import load
    from diffeval.evaluate import evaluate, sample
    from diffeval.plan import Settings
    from diffeval.report.page import report
    from diffeval.training.train import train

__all__ = ["DiffevalError", "Settings", "__version__", "evaluate", "load", "report", "sample", "train"]

_WHERE = {
    "load": "diffeval.checkpoints.checkpoint",
    "evaluate": "diffeval.evaluate",
    "sample": "diffeval.evaluate",
    "Settings": "diffeval.plan",
    "report": "diffeval.report.page",
    "train": "diffeval.training.train",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from diffeval.runs.provenance import own_version

        return own_version()
    if name not in _WHERE:
        raise AttributeError(f"module 'diffeval' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
