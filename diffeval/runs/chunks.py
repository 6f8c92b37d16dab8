"""Per-image arrays of a run, committed in chunks of consecutive image indices.

A chunk file holds the first rows of its index range, all or the part computed so far. It is replaced as a whole,
so what is on disk is always true: a run that was killed continues behind the last committed row, and a run that is
extended to a larger n continues behind its last chunk.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffeval.runs.files import read_arrays, replace_arrays

Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class ChunkStore:
    """Chunks of one kind in one folder.

    Attributes:
        folder: where the chunk files lie, named by their first index.
        size: image indices per chunk.
        names: the arrays that a complete chunk file must hold.
    """

    folder: Path
    size: int
    names: tuple[str, ...]

    def path(self, start: int) -> Path:
        """File of the chunk that begins at index ``start``."""
        return self.folder / f"{start:08d}.npz"

    def read(self, start: int) -> dict[str, npt.NDArray[np.generic]] | None:
        """The chunk's arrays, of equal length; None if it is absent, damaged or incomplete."""
        arrays = read_arrays(self.path(start))
        if arrays is None or not set(self.names) <= set(arrays):
            return None
        lengths = {len(arrays[name]) for name in self.names}
        return arrays if len(lengths) == 1 and lengths.pop() <= self.size else None

    def rows(self, start: int) -> int:
        """Rows of the chunk that are on disk and readable."""
        arrays = self.read(start)
        return 0 if arrays is None else len(arrays[self.names[0]])

    def write(self, start: int, arrays: Arrays) -> None:
        """Commits the chunk, replacing what was there."""
        replace_arrays(self.path(start), arrays)

    def available(self) -> int:
        """Images on disk counted from index 0 without a gap."""
        total = 0
        while (rows := self.rows(total)) == self.size:
            total += rows
        return total + rows

    def gather(self, name: str, n: int) -> npt.NDArray[np.generic]:
        """Array ``name`` of images 0 to n - 1, in order.

        Raises:
            LookupError: if fewer than ``n`` are on disk.
        """
        first = self.gather_chunk(name, 0, min(self.size, n))
        whole = np.empty((n, *first.shape[1:]), dtype=first.dtype)  # filled piece by piece: never twice in memory
        whole[: len(first)] = first
        for start in range(self.size, n, self.size):
            rows = min(self.size, n - start)
            whole[start : start + rows] = self.gather_chunk(name, start, rows)
        return whole

    def gather_chunk(self, name: str, start: int, rows: int) -> npt.NDArray[np.generic]:
        """The first ``rows`` rows of array ``name`` in the chunk that begins at ``start``.

        Raises:
            LookupError: if fewer are on disk.
        """
        arrays = self.read(start)
        if arrays is None or len(arrays[name]) < rows:
            raise LookupError(f"{self.path(start)} does not hold {rows} rows of {name}")
        return arrays[name][:rows]

    def bytes_on_disk(self) -> int:
        """Size of all chunk files."""
        return sum(path.stat().st_size for path in self.folder.glob("*.npz"))

    def remove(self) -> None:
        """Deletes all chunk files."""
        for path in self.folder.glob("*.npz"):
            path.unlink(missing_ok=True)
