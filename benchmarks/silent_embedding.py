"""Networks trained with a time embedding that returns zeros, beside ones that were not: loss, distance, and the check.

    python benchmarks/silent_embedding.py --zoo DIR [--n 2000] [--into DIR]

The loss falls in both, and what is wrong shows in no curve of the training. Pairs are of one recipe and one seed.
"""

import argparse
import json
import tempfile
from pathlib import Path

from record import save
from zoo.table import ENTRIES
from zoo.trainings import open_entry

import diffeval
from diffeval import Settings

PAIRS = {"U-Net": ("unet-epsilon-cosine", "silent-embedding-unet"), "CNN": ("cnn", "silent-embedding-cnn")}
SHOWN = ("fid_debiased", "precision", "recall", "class_accuracy")


def measured(zoo: Path, name: str, n: int, into: Path) -> dict[str, object]:
    """Loss at the end, scores of samples, and what the check says."""
    entry = next(one for one in ENTRIES if one.name == name)
    checkpoint = open_entry(entry, zoo)
    ref = "digits@train"
    results = diffeval.evaluate(checkpoint, settings=Settings(n=n), ref=ref, out=into / name)
    row: dict[str, object] = {
        "network": name,
        "embedding": "returns zeros" if entry.fault else "as usual",
        "final loss": json.loads((zoo / name / "result.json").read_text())["final loss"],
    }
    for score in results.scores:
        if score.name in SHOWN and score.n == n:
            row[score.name], row[f"{score.name} std error"] = score.value, score.std_error
    (check,) = diffeval.check(checkpoint, only=["timestep-embedding"], ref=ref, out=into / f"{name}-check").checks
    return {**row, "timestep-embedding": check.status, "reliance": check.values["reliance"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--into", type=Path, default=None)
    given = parser.parse_args()
    into = given.into or Path(tempfile.mkdtemp())
    rows = [measured(given.zoo, name, given.n, into) for pair in PAIRS.values() for name in pair]
    save("silent_embedding", rows, ("diffeval", "torch", "diffusers"))


if __name__ == "__main__":
    main()
