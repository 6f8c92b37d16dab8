"""Reads the tensors of a TorchScript archive, and nothing else of it.

``torch.jit.load`` brings the archive's own code with it. Here the objects become passive records, and whatever is
neither a record nor a tensor is refused.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# Lists and dictionaries with a type tag: the tag tells nothing about the values.
TAGS = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist", "restore_type_tag")


class Record:
    """An object of the archive, without its code: attributes only."""


def is_archive(path: Path) -> bool:
    """Whether a file is a TorchScript archive; torch's state dicts are zip files, too, but have no constants."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.count("/") == 1 and name.endswith("/constants.pkl") for name in archive.namelist())


def read_archive(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of the archive by their dotted names, as the module's ``state_dict`` has them.

    Raises:
        pickle.UnpicklingError: if it holds anything but records and tensors.
        zipfile.BadZipFile, KeyError, RuntimeError: if it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        entry = next(name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl"))
        root = entry.removesuffix("data.pkl")
        module = _Reader(archive, root).load()
    found: dict[str, torch.Tensor] = {}
    _collect(module, "", found)
    return found


def _collect(value: Any, name: str, found: dict[str, torch.Tensor]) -> None:
    if isinstance(value, torch.Tensor):
        found[name] = value
    elif isinstance(value, Record):
        for key, inner in vars(value).items():
            _collect(inner, f"{name}.{key}" if name else key, found)


def _first(*values: Any) -> Any:
    return values[0]


class _Reader(pickle.Unpickler):
    """An unpickler that knows three kinds of things: records, tensors, and tagged lists."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}data.pkl")))
        self._archive, self._root = archive, root
        self._storages: dict[str, torch.Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return Record
        known: Mapping[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("collections", "OrderedDict"): OrderedDict,
            **{("torch.jit._pickle", tag): _first for tag in TAGS},
        }
        if (module, name) in known:
            return known[module, name]
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise pickle.UnpicklingError(f"class {module}.{name} is neither a record nor a tensor")

    def persistent_load(self, pid: Any) -> torch.Tensor:
        _, dtype, key, _, count = pid
        if key not in self._storages:
            raw = bytearray(self._archive.read(f"{self._root}data/{key}"))
            self._storages[key] = torch.frombuffer(raw, dtype=dtype) if count else torch.empty(0, dtype=dtype)
        return self._storages[key]

    @staticmethod
    def _tensor(storage: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Any:
        return storage.as_strided(size, stride, offset)
