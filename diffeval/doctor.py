"""What works on this machine. Everything is tried in a way that survives a broken or missing torch."""

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from diffeval.builtin import FOLDER
from diffeval.cache import cache_folder

Status = Literal["pass", "warn", "fail"]
LEAST_PYTHON = (3, 11)
LEAST_FREE_DISK, LEAST_FREE_MEMORY = 1e9, 2e9
NEEDED = (
    "diffusers",
    "sklearn",
    "timm",
    "torch_fidelity",
    "open_clip",
    "plotly",
    "jinja2",
    "safetensors",
    "accelerate",
)
BUILTIN = ("digits/unet/diffusion_pytorch_model.safetensors", "digits/diffeval.json", "digits_extractor.safetensors")
INSTALL = "pip install --force-reinstall -e . in diffeval's folder"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what.
        status: pass, warn (diffeval works, with less) or fail.
        found: what there is.
        fix: what to do; empty where nothing is wrong.
    """

    name: str
    status: Status
    found: str
    fix: str = ""


def examine() -> list[Finding]:
    """Looks at everything; what itself breaks while it is looked at is a finding, too."""
    return [_guarded(name, look) for name, look in LOOKS.items()]


def _guarded(name: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except Exception as error:  # the doctor must outlive whatever is broken
        return Finding(name, "fail", f"{type(error).__name__}: {error}", f"reinstall it: {INSTALL}")


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < LEAST_PYTHON:
        return Finding("python", "fail", found, "install Python 3.11 or newer")
    return Finding("python", "pass", found)


def _torch() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("torch", "fail", "not installed", "pip install torch torchvision")
    import torch

    float(torch.ones(2, 2).mm(torch.ones(2, 2)).sum())
    return Finding("torch", "pass", f"{torch.__version__}, {torch.get_num_threads()} threads")


def _torchvision() -> Finding:
    if importlib.util.find_spec("torchvision") is None:
        return Finding("torchvision", "fail", "not installed", "pip install torchvision, of the build that torch is")
    try:
        import torchvision
    except (ImportError, RuntimeError, OSError) as error:
        fix = "torch and torchvision are of different builds; install both from the same index"
        return Finding("torchvision", "fail", str(error).splitlines()[0], fix)
    return Finding("torchvision", "pass", str(torchvision.__version__))


def _gpu() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("gpu", "warn", "unknown without torch", "install torch first")
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return Finding(
            "gpu", "pass", f"{name}, CUDA {torch.version.cuda}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free"
        )
    if torch.backends.mps.is_available():
        return Finding("gpu", "pass", "Apple MPS")
    if torch.version.cuda is None:
        return Finding("gpu", "warn", "this torch is built for the CPU only", "with a GPU: install torch's CUDA build")
    fix = "with an NVIDIA GPU: check that nvidia-smi works and its driver is new enough"
    return Finding("gpu", "warn", f"none that torch (CUDA {torch.version.cuda}) can use; the CPU is used", fix)


def _libraries() -> Finding:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return Finding("libraries", "fail", f"missing: {', '.join(missing)}", INSTALL)
    return Finding("libraries", "pass", f"diffusers {metadata.version('diffusers')}, and all others")


def _memory() -> Finding:
    import psutil

    free = psutil.virtual_memory().available
    found = f"{free / 1e9:.1f} GB available"
    if free < LEAST_FREE_MEMORY:
        return Finding("memory", "warn", found, "close other programs, or use a smaller --batch")
    return Finding("memory", "pass", found)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    found = f"{free / 1e9:.1f} GB free here"
    if free < LEAST_FREE_DISK:
        return Finding("disk", "warn", found, "free some, or choose another --out")
    return Finding("disk", "pass", found)


def _weights() -> Finding:
    missing = [name for name in BUILTIN if not (FOLDER / name).is_file()]
    if missing:
        return Finding("weights", "fail", f"missing: {', '.join(missing)}", INSTALL)
    return Finding("weights", "pass", "digits model and extractor")


def _writable(name: str, folder: Path, fix: str) -> Finding:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding(name, "warn", f"{folder}: {error.strerror}", fix)
    return Finding(name, "pass", f"{folder} is writable")


def _cache() -> Finding:
    return _writable("cache", cache_folder(), "set DIFFEVAL_CACHE to a folder that you can write")


def _runs() -> Finding:
    return _writable("runs", Path.cwd() / "runs", "work in a folder that you can write, or give --out")


def _offline() -> Finding:
    said = [name for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(name)]
    return Finding("network", "pass", f"not needed ({', '.join(said)} set)" if said else "not needed, not tried")


LOOKS: dict[str, Callable[[], Finding]] = {
    "python": _python,
    "torch": _torch,
    "torchvision": _torchvision,
    "gpu": _gpu,
    "libraries": _libraries,
    "memory": _memory,
    "disk": _disk,
    "weights": _weights,
    "cache": _cache,
    "runs": _runs,
    "network": _offline,
}
