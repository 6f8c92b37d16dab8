"""A command in which memory does not suffice."""

import sys
from collections.abc import Callable
from typing import Any

from diffeval.cli import main as command
from diffeval.diffusion.sampling import Generator
from diffeval.features.digits import DigitsClassifier


def tight(where: str, first: int, limit: int, words: list[str]) -> None:
    """Runs diffeval in a process of its own, with too little memory for more than ``limit`` images at once.

    Args:
        where: sampling or features.
        first: number of the network call from which on it fails, as torch's allocator on a CPU does.
        limit: images for which there is room.
        words: of the command.
    """
    if where == "sampling":
        Generator.images = _short(Generator.images, first, limit)  # type: ignore[method-assign]
    else:
        DigitsClassifier.features = _short(DigitsClassifier.features, first, limit)  # type: ignore[method-assign]
    sys.argv = ["diffeval", *words]
    command()


def _short(function: Callable[..., Any], first: int, limit: int) -> Callable[..., Any]:
    calls = 0

    def called(self: Any, images: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= first and len(images) > limit:
            raise RuntimeError(f"[enforce fail] DefaultCPUAllocator: can't allocate memory for {len(images)} images")
        return function(self, images)

    return called
