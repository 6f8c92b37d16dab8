"""Reads weights files without running anything that is in them."""

import argparse
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from diffeval.errors import DiffevalError
from diffeval.runs.paths import regular

SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")

_NUMPY_SCALAR = np.float64(0).__reduce__()[0]
# Training scripts leave their arguments and the best loss beside the weights. These hold values and run nothing.
_HARMLESS = [
    argparse.Namespace,
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    (_NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(name)) for name in ("float32", "float64", "int32", "int64", "bool")),
]
_CONVERT = "where it was made, save model.state_dict() alone, as .safetensors or with torch.save"
# What a pickle of plain tensors names.
_USUAL = re.compile(r"torch\._.*|torch\.\w+Storage|(collections|numpy|_codecs|argparse)\..*")


def read_weights(path: Path) -> Any:
    """What a weights file holds, tensors on the CPU: a dict of tensors, or whatever nest of them was saved.

    Raises:
        DiffevalError: if it is damaged, or is a pickle that wants to run code, which is named and not run.
    """
    allowed = getattr(torch.serialization, "safe_globals", None)
    try:
        regular(path)
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(), allowed(_HARMLESS) if allowed else nullcontext():
            # What torch warns of here, we refuse or do not mind.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DiffevalError(_refusal(path, error)) from error


def _refusal(path: Path, error: Exception) -> str:
    """One line out of the page that torch writes on a file it does not read."""
    message = " ".join(str(error).split())
    if "TorchScript" in message:
        return f"checkpoint: {path} is a TorchScript archive, which is code, and is not run; {_CONVERT}"
    wanted = re.search(r"(?:GLOBAL|global:?) ([A-Za-z_][\w.]*\.\w+)", message)
    if isinstance(error, SafetensorError | OSError | EOFError) or "zip archive" in message:
        return f"checkpoint: cannot read {path}: {message[:160] or 'it is empty'}; is the file whole?"
    names = [wanted.group(1)] if wanted else [name for name in _named(path) if not _USUAL.fullmatch(name)]
    if names:
        return f"checkpoint: {path} is a pickle that wants to run {names[0]}, which is refused; {_CONVERT}"
    # A text is read as a pickle's opcodes, and the error is the first that there is none of.
    reason = "it is nothing that torch saved" if len(message) < 8 else message[:160]
    return f"checkpoint: {path} is no weights file that can be read safely: {reason}; {_CONVERT}"


def _named(path: Path) -> list[str]:
    """The functions and classes that a pickle names, read without unpickling; empty if it is none."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                stream = next(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
        else:
            stream = path.read_bytes()
        return list(dict.fromkeys(_globals(stream)))
    except (OSError, ValueError, KeyError, StopIteration, zipfile.BadZipFile):
        return []


def _globals(stream: bytes) -> Iterator[str]:
    strings: list[str] = []
    for code, argument, _ in pickletools.genops(stream):
        if code.name == "GLOBAL":
            yield str(argument).replace(" ", ".")
        elif code.name == "STACK_GLOBAL" and len(strings) > 1:
            yield ".".join(strings[-2:])
        elif isinstance(argument, str):
            strings.append(argument)
