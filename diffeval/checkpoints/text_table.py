"""Prompts as a network takes them: each distinct text is encoded once, and kept on disk by content."""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from diffeval.cache import cache_folder
from diffeval.errors import DiffevalError
from diffeval.runs.files import replace_bytes

# Texts that are encoded together; a block is a file for each tensor.
BLOCK = 32

# Stands for no text at all, where a pipeline makes something else of that than of the empty one.
NOTHING = "\0"

Encoded = Mapping[str, npt.NDArray[np.float32]]
# encode(texts, device)
Encode = Callable[[Sequence[str], torch.device], Encoded]


class TextTable:
    """Rows of texts, encoded when one of their block is first asked for.

    The tensors of a few thousand prompts take gigabytes, so they are read from disk row by row.

    Args:
        encode: float32 arrays [k, ...] by name, of k texts, made on a device.
        texts: of the rows.
        encoder: what changes the encoding: the hash of the text encoders' files.
    """

    def __init__(self, encode: Encode, texts: Sequence[str], encoder: str) -> None:
        self._encode, self._encoder = encode, encoder
        distinct = list(dict.fromkeys(texts))
        place = {text: number for number, text in enumerate(distinct)}
        self._place = [place[text] for text in texts]
        self._blocks = [tuple(distinct[start : start + BLOCK]) for start in range(0, len(distinct), BLOCK)]
        self._held: dict[int, Encoded] = {}

    def __len__(self) -> int:
        """Rows."""
        return len(self._place)

    def rows(self, numbers: Sequence[int], device: torch.device) -> dict[str, torch.Tensor]:
        """The tensors of these rows, float32 [len(numbers), ...] by name."""
        places = [divmod(self._place[number], BLOCK) for number in numbers]
        blocks = [self._block(block, device) for block, _ in places]
        return {
            name: torch.from_numpy(
                np.stack([held[name][row] for held, (_, row) in zip(blocks, places, strict=True)])
            ).to(device)
            for name in blocks[0]
        }

    def _block(self, number: int, device: torch.device) -> Encoded:
        if number not in self._held:
            self._held[number] = self._kept(number) or self._made(number, device)
        return self._held[number]

    def _made(self, number: int, device: torch.device) -> Encoded:
        found = self._encode(self._blocks[number], device)
        bad = [name for name, array in found.items() if not np.isfinite(array).all()]
        if bad:
            raise DiffevalError(f"checkpoint: its text encoder gives NaN or infinity ({bad[0]}); look at its weights")
        folder = self._folder(number)
        try:
            for name, array in found.items():
                buffer = io.BytesIO()
                np.save(buffer, array)
                replace_bytes(folder / f"{name}.npy", buffer.getvalue())
            replace_bytes(folder / "whole", b"")
        except DiffevalError:
            return found  # the cache is a convenience
        return self._kept(number) or found

    def _kept(self, number: int) -> Encoded | None:
        folder = self._folder(number)
        if not (folder / "whole").is_file():
            return None
        try:
            found = {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}
        except (OSError, ValueError, EOFError):
            return None
        whole = found and all(len(array) == len(self._blocks[number]) for array in found.values())
        return found if whole else None

    def _folder(self, number: int) -> Path:
        digest = hashlib.sha256(self._encoder.encode())
        for text in self._blocks[number]:
            digest.update(b"\0" + text.encode())
        return cache_folder() / "prompts" / digest.hexdigest()[:32]
