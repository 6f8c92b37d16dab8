"""The textbook's claim that DDIM with 20 steps does what DDPM does with 1000: measured on the digits model.

    python benchmarks/textbook.py [--n 5000] [--into DIR]

Every combination of both samplers and both numbers of steps, the same seeds at each; differences are paired by seed.
A run in DIR that was stopped is continued.
"""

import argparse
import itertools
import tempfile
from pathlib import Path

from record import save

import diffeval
from diffeval import Settings
from diffeval.compare import difference
from diffeval.sweeps.grid import Value
from diffeval.sweeps.run import point_name

SAMPLERS, STEPS = ("ddim", "ddpm"), (20, 1000)
SHOWN = ("fid_debiased", "kid", "precision", "recall", "class_accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=5000)
    parser.add_argument("--into", type=Path, default=None)
    given = parser.parse_args()
    into = given.into or Path(tempfile.mkdtemp())
    points: list[dict[str, Value]] = [
        {"sampler": sampler, "steps": steps} for sampler, steps in itertools.product(SAMPLERS, STEPS)
    ]
    results = diffeval.sweep("digits", points, settings=Settings(n=given.n), out=into)
    rows: list[dict[str, object]] = []
    for point in points:
        row: dict[str, object] = {**point}
        for score in results.scores:
            here = score.n == given.n and all(score.params[name] == value for name, value in point.items())
            if here and score.name in SHOWN:
                row[score.name], row[f"{score.name} std error"] = score.value, score.std_error
        rows.append(row)
    first, second = (into / "points" / point_name(points[at]).replace(" ", ",") for at in (0, 3))
    apart = difference(second, first)
    rows.append(
        {
            "sampler": "ddpm with 1000 less ddim with 20",
            "fid_debiased": apart.value,
            "fid_debiased std error": apart.std_error,
            "95% interval": f"{apart.ci95[0]:.3g} .. {apart.ci95[1]:.3g}",
        }
    )
    save("textbook", rows, ("diffeval", "torch", "diffusers"))


if __name__ == "__main__":
    main()
