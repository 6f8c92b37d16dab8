"""Rows of one array in an ``.npz`` file, read as a stream: a sample file of 10 GB is never in memory as a whole."""

import math
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from diffeval.errors import DiffevalError
from diffeval.runs.files import require_honest
from diffeval.runs.paths import regular

# Rows are read in pieces of about so many bytes.
PIECE = 64 << 20
# Bytes of a zip member's local header before its name.
_LOCAL_HEADER = 30


@dataclass(frozen=True, slots=True)
class Header:
    """What an ``.npy`` member says of its array.

    Attributes:
        name: of the array, e.g. ``arr_0``.
        shape: of the array.
        dtype: of its numbers.
        start: bytes before the first number.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    start: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize


class NpzFile:
    """The arrays of an ``.npz`` file.

    Raises:
        DiffevalError: if it cannot be read, holds objects, or a member is shorter than it says.
    """

    def __init__(self, who: str, path: Path) -> None:
        self.who, self.path = who, path
        try:
            self._zip = zipfile.ZipFile(regular(path))
            require_honest(self._zip)
            names = [name for name in self._zip.namelist() if name.endswith(".npy")]
            self.headers = {name.removesuffix(".npy"): self._header(name) for name in names}
        except DiffevalError:
            raise
        except Exception as error:  # what damage makes numpy and zipfile raise has no common base
            raise DiffevalError(f"{who}: cannot read {path} as npz: {' '.join(str(error).split())}") from error
        self._streams: dict[str, tuple[IO[bytes], int]] = {}
        self._lock = threading.Lock()

    def _header(self, member: str) -> Header:
        with self._zip.open(member) as file:
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read(file)
            if dtype.hasobject:
                raise DiffevalError(f"{self.who}: {member} holds Python objects, never unpickled here; save numbers")
            if fortran and len(shape) > 1:
                raise DiffevalError(f"{self.who}: {member} is in Fortran order; save it with np.ascontiguousarray")
            start = file.tell()
        promised = start + math.prod(shape) * dtype.itemsize
        held = self._zip.getinfo(member).file_size
        if held != promised:
            raise DiffevalError(f"{self.who}: {member} promises {promised} bytes and holds {held}")
        return Header(member.removesuffix(".npy"), shape, dtype, start)

    def rows(self, header: Header, first: int, last: int) -> npt.NDArray[np.generic]:
        """Rows ``first`` to ``last - 1``; fast in order, and anywhere in a file that is not compressed.

        Raises:
            DiffevalError: if the file is damaged there.
        """
        wanted = (last - first) * header.row_bytes
        try:
            with self._lock:
                stream, start = self._stream(header)
                stream.seek(start + header.start + first * header.row_bytes)
                data = stream.read(wanted)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
            raise DiffevalError(f"{self.who}: {header.name} is damaged: {error}") from error
        return self._array(header, data, last - first)

    def _array(self, header: Header, data: bytes, rows: int) -> npt.NDArray[np.generic]:
        if len(data) != rows * header.row_bytes:
            raise DiffevalError(f"{self.who}: {header.name} is truncated")
        return np.frombuffer(data, header.dtype).reshape(rows, *header.shape[1:])

    def _stream(self, header: Header) -> tuple[IO[bytes], int]:
        """A file that can be sought in, and where the member begins in it.

        Seeking in a member reads all that lies before; where nothing is compressed, the archive itself is read.
        """
        if header.name not in self._streams:
            info = self._zip.getinfo(f"{header.name}.npy")
            if info.compress_type == zipfile.ZIP_STORED:
                file = self.path.open("rb")
                file.seek(info.header_offset + _LOCAL_HEADER - 4)
                name, extra = struct.unpack("<HH", file.read(4))
                self._streams[header.name] = file, info.header_offset + _LOCAL_HEADER + name + extra
            else:
                self._streams[header.name] = self._zip.open(info), 0
        return self._streams[header.name]

    def whole(self, header: Header) -> npt.NDArray[np.generic]:
        """The whole array."""
        return self.rows(header, 0, header.shape[0])

    def pieces(self, header: Header) -> Iterator[tuple[int, npt.NDArray[np.generic]]]:
        """The array in order, with the archive's checksum: the number of the first row, and the rows.

        Raises:
            DiffevalError: if the file is damaged.
        """
        step = max(1, PIECE // max(1, header.row_bytes))
        try:
            with self._zip.open(f"{header.name}.npy") as file:
                file.read(header.start)
                for first in range(0, header.shape[0], step):
                    rows = min(step, header.shape[0] - first)
                    yield first, self._array(header, file.read(rows * header.row_bytes), rows)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
            raise DiffevalError(f"{self.who}: {header.name} is damaged: {error}") from error
