"""Paths that people name; no numpy, as every command reads some."""

import errno
import stat
from pathlib import Path


def regular(path: Path) -> Path:
    """The path, if it is of a file that ends: a pipe that nobody writes into, or a device, is read without end.

    Raises:
        OSError: if it is not, or nothing is there.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # of a folder, what reads it says that it is one
        raise OSError(errno.EINVAL, "a pipe, a socket or a device, and no file", str(path))
    return path
