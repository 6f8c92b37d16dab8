"""Runs a diffeval command in which memory does not suffice: ``tight.py sampling|features CALL LIMIT words...``.

From the ``CALL``-th network call on, those for more than ``LIMIT`` images fail as torch's allocator on a CPU does.
"""

import sys
from collections.abc import Callable
from typing import Any


def tight(function: Callable[..., Any], first: int, limit: int) -> Callable[..., Any]:
    """The function, for which there is too little memory from its ``first`` call on."""
    calls = 0

    def called(self: Any, images: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= first and len(images) > limit:
            raise RuntimeError(f"[enforce fail] DefaultCPUAllocator: can't allocate memory for {len(images)} images")
        return function(self, images)

    return called


def main() -> None:
    from diffeval.cli import main as command
    from diffeval.diffusion.sampling import Generator
    from diffeval.features.digits import DigitsClassifier

    where, first, limit, *words = sys.argv[1:]
    if where == "sampling":
        Generator.images = tight(Generator.images, int(first), int(limit))  # type: ignore[method-assign]
    else:
        DigitsClassifier.features = tight(DigitsClassifier.features, int(first), int(limit))  # type: ignore[method-assign]
    sys.argv = ["diffeval", *words]
    command()


if __name__ == "__main__":
    main()
