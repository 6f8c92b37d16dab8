"""Writing files so that a reader never sees half of one."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffeval.errors import DiffevalError


def replace_bytes(path: Path, content: bytes) -> None:
    """Writes ``content`` to ``path`` by way of a temporary neighbour and an atomic rename.

    Raises:
        DiffevalError: if the folder cannot be written or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DiffevalError(
            f"cannot write {path}: {error.strerror or error}; free the disk or choose --out"
        ) from error


def replace_text(path: Path, content: str) -> None:
    """Like ``replace_bytes``, for UTF-8 text."""
    replace_bytes(path, content.encode("utf-8"))


def replace_arrays(path: Path, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Writes named arrays as an uncompressed ``.npz``, atomically."""
    from io import BytesIO

    buffer = BytesIO()
    np.savez(buffer, **dict(arrays))  # type: ignore[arg-type]  # numpy's stub takes allow_pickle for an array name
    replace_bytes(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, npt.NDArray[np.generic]] | None:
    """The arrays of an ``.npz``; None if there is no such file or it is damaged. Never unpickles."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError):
        return None
    except Exception as error:  # zipfile.BadZipFile and zlib.error have no common base below Exception
        if type(error).__module__ in {"zipfile", "zlib"}:
            return None
        raise


def require_writable(folder: Path) -> None:
    """Fails now rather than after an hour of sampling.

    Raises:
        DiffevalError: if ``folder`` cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DiffevalError(
            f"output: cannot write to {folder}: {error.strerror or error}; choose another folder with --out"
        ) from error


def require_writable_above(folder: Path) -> None:
    """Like ``require_writable``, but makes nothing: looks at the nearest folder that exists.

    Raises:
        DiffevalError: if that cannot be written, or is no folder.
    """
    require_writable(next(parent for parent in (folder, *folder.absolute().parents) if parent.exists()))


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
