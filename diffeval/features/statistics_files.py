"""Reading and writing reference statistics in the formats that people have. Nothing in a file is executed."""

import dataclasses
import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diffeval.errors import DiffevalError
from diffeval.features.statistics import PREFIX, Origin, Statistics, checked
from diffeval.registry import did_you_mean
from diffeval.runs.files import replace_arrays, replace_bytes, require_honest

OWN, ADM, PLAIN, EDM2 = "diffeval", "adm", "pytorch-fid", "edm2"
FORMATS = (OWN, PLAIN, EDM2)
# Name of the array that holds our JSON.
TOLD = "diffeval"
SCHEMA = "diffeval.statistics/1"
# Names that EDM2 gives to the dimension of each metric.
EDM2_ENTRIES = {2048: "fid", 1024: "fd_dinov2"}


def read_statistics(path: Path) -> tuple[Statistics, ...]:
    """Every mean and covariance in a file.

    Raises:
        DiffevalError: if it is missing, damaged, or of no known format.
    """
    if not path.is_file():
        raise DiffevalError(
            f"reference: {path} does not exist; give {PREFIX}FILE with an .npz or .pkl, or make one with "
            f"diffeval ref make"
        )
    if path.suffix in {".pkl", ".pickle"}:
        return _read_pickle(path)
    return _read_npz(path)


def _read_npz(path: Path) -> tuple[Statistics, ...]:
    try:
        with np.load(path, allow_pickle=False) as file:
            require_honest(file.zip)
            names = set(file.files)
            if not {"mu", "sigma"} <= names:
                raise DiffevalError(
                    f"reference: {path} holds {', '.join(sorted(names)) or 'nothing'}, reference statistics need mu "
                    f"and sigma; for images give npz:{path}"
                )
            mean, covariance = checked(path, "", file["mu"], file["sigma"])
            if TOLD in names:
                return (_read_own(path, file, mean, covariance),)
            others = {name: _shape(file, name) for name in sorted(names - {"mu", "sigma"})}
    except (DiffevalError, MemoryError):
        raise
    except Exception as error:  # what damage makes numpy and zipfile raise has no common base
        reason = " ".join(str(error).split())[:160]
        raise DiffevalError(f"reference: cannot read {path}: {reason or 'it is damaged'}; restore it") from error
    form = ADM if {"mu_s", "sigma_s"} <= set(others) else PLAIN
    return (Statistics(path, form, "", mean, covariance, others=others),)


def _shape(file: Any, name: str) -> tuple[int, ...]:
    """Of an array in an npz, from its header alone: ADM's images are gigabytes."""
    with file.zip.open(f"{name}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape: tuple[int, ...] = read(stream)[0]
        return shape


def _read_own(path: Path, file: Any, mean: Any, covariance: Any) -> Statistics:
    try:
        told = json.loads(str(file[TOLD]))
        if told["schema"] != SCHEMA:
            raise DiffevalError(f"reference: {path} is of {told['schema']}, this version reads {SCHEMA}; make it anew")
        origin = Origin(**told["origin"])
        n = int(told["n"])
    except (ValueError, KeyError, TypeError) as error:
        raise DiffevalError(f"reference: what {path} says of its origin is damaged: {error}; make it anew") from error
    features = file["features"].astype(np.float32) if "features" in file.files else None
    labels = file["labels"].astype(np.int64) if "labels" in file.files else None
    return Statistics(path, OWN, "", mean, covariance, n, origin, features, labels)


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds numpy arrays and plain containers; a pickle that names anything else is refused."""

    ALLOWED = frozenset(
        (module, name)
        for package in ("numpy.core", "numpy._core")
        for module, name in (
            (f"{package}.multiarray", "_reconstruct"),
            (f"{package}.multiarray", "scalar"),
            (f"{package}.numeric", "_frombuffer"),
        )
    ) | {("numpy", "ndarray"), ("numpy", "dtype"), ("collections", "OrderedDict"), ("_codecs", "encode")}

    def find_class(self, module: str, name: str) -> Any:
        """See ``pickle.Unpickler``."""
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}, and only arrays are read")
        return super().find_class(module, name)


def _read_pickle(path: Path) -> tuple[Statistics, ...]:
    try:
        with path.open("rb") as file:
            held = _ArraysOnly(file).load()
    except pickle.UnpicklingError as error:
        raise DiffevalError(f"reference: {path} is refused: {error}; give an .npz with mu and sigma") from error
    except Exception as error:  # damaged opcodes raise almost anything
        raise DiffevalError(f"reference: {path} is no pickle of reference statistics: {error}") from error
    if not isinstance(held, Mapping):
        raise DiffevalError(f"reference: {path} holds a {type(held).__name__}, needs a dict of statistics")
    groups = {"": held} if {"mu", "sigma"} <= set(held) else held
    n = held.get("num_images")
    found = tuple(
        Statistics(path, EDM2, str(name), *checked(path, str(name), entry["mu"], entry["sigma"]), n=_count(n))
        for name, entry in groups.items()
        if isinstance(entry, Mapping) and {"mu", "sigma"} <= set(entry)
    )
    if not found:
        raise DiffevalError(f"reference: {path} holds {', '.join(map(str, held))}, and no mu with a sigma")
    return found


def _count(value: object) -> int | None:
    return int(value) if isinstance(value, int | np.integer) else None


def write_statistics(path: Path, statistics: Statistics, form: str) -> None:
    """Writes one entry.

    Args:
        path: the file, ``.npz``, or ``.pkl`` for edm2.
        statistics: what to write.
        form: one of ``FORMATS``.

    Raises:
        DiffevalError: if the format cannot hold it, or needs another kind of file.
    """
    if form not in FORMATS:
        raise DiffevalError(f"ref: unknown format {form!r};{did_you_mean(form, FORMATS)}")
    wanted = ".pkl" if form == EDM2 else ".npz"
    if path.suffix != wanted:
        raise DiffevalError(f"ref: --out {path} must end in {wanted} for the format {form}")
    arrays: dict[str, Any] = {"mu": statistics.mean, "sigma": statistics.covariance}
    if form == EDM2:
        entry = statistics.entry or EDM2_ENTRIES.get(statistics.dim, "features")
        content: dict[str, Any] = {entry: arrays}
        if statistics.n is not None:
            content["num_images"] = statistics.n
        buffer = io.BytesIO()
        pickle.dump(content, buffer, protocol=4)
        replace_bytes(path, buffer.getvalue())
        return
    if form == OWN:
        if statistics.origin is None or statistics.n is None:
            raise DiffevalError(
                f"ref: {statistics.path} does not say what made it, which the format {OWN} records; convert it to "
                f"{PLAIN}, or make it anew with diffeval ref make"
            )
        told = {"schema": SCHEMA, "n": statistics.n, "origin": dataclasses.asdict(statistics.origin)}
        arrays[TOLD] = np.array(json.dumps(told))
        extra = {"features": statistics.features, "labels": statistics.labels}
        arrays |= {name: array for name, array in extra.items() if array is not None}
    replace_arrays(path, arrays)
