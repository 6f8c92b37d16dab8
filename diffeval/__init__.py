"""diffeval: evaluates and diagnoses diffusion models.

The commands of the command line, as functions: ``load`` a checkpoint, ``evaluate`` it, ``report`` on the run. Nothing
here imports torch before it is used.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from diffeval.errors import DiffevalError

if TYPE_CHECKING:
    __version__: str
    from diffeval.checkpoints.checkpoint import load
    from diffeval.checkpoints.declaration import Declaration
    from diffeval.checkpoints.options import LoadOptions
    from diffeval.compare.comparison import compare
    from diffeval.evaluate import evaluate, sample
    from diffeval.examine import check
    from diffeval.gate.judge import gate
    from diffeval.plan import Settings
    from diffeval.prompting import Prompting
    from diffeval.report.page import report
    from diffeval.sweeps.sweep import sweep, sweep_scales
    from diffeval.training.train import train

__all__ = [
    "Declaration",
    "DiffevalError",
    "LoadOptions",
    "Prompting",
    "Settings",
    "__version__",
    "check",
    "compare",
    "evaluate",
    "gate",
    "load",
    "report",
    "sample",
    "sweep",
    "sweep_scales",
    "train",
]

_WHERE = {
    "Declaration": "diffeval.checkpoints.declaration",
    "LoadOptions": "diffeval.checkpoints.options",
    "Prompting": "diffeval.prompting",
    "load": "diffeval.checkpoints.checkpoint",
    "evaluate": "diffeval.evaluate",
    "sample": "diffeval.evaluate",
    "check": "diffeval.examine",
    "compare": "diffeval.compare.comparison",
    "gate": "diffeval.gate.judge",
    "Settings": "diffeval.plan",
    "report": "diffeval.report.page",
    "sweep": "diffeval.sweeps.sweep",
    "sweep_scales": "diffeval.sweeps.sweep",
    "train": "diffeval.training.train",
}


class _Package(ModuleType):
    """This package, with the functions of the command line as attributes.

    Some share their name with the module or folder that holds them (``evaluate``, ``report``). Importing one of those
    would put the module in the function's place; as properties of the class the functions keep theirs.
    """

    @property
    def __version__(self) -> str:
        from diffeval.runs.provenance import own_version

        return own_version()


def _function(name: str) -> property:
    def find(package: ModuleType) -> Any:
        return getattr(importlib.import_module(_WHERE[name]), name)

    def keep(package: ModuleType, submodule: Any) -> None:
        """What the import system sets after importing a submodule of this name; it stays in ``sys.modules``."""

    return property(find, keep)


for _name in _WHERE:
    setattr(_Package, _name, _function(_name))
sys.modules[__name__].__class__ = _Package
