"""Whether differences between equals are standard normal, unpaired and paired; writes a table and QQ plots.

    python benchmarks/fid_differences.py [--pairs 200] [--first-seed 1000]

The method was settled on pairs from seed 0 on; the table is of seeds that nobody had looked at.

Unpaired A/A: one checkpoint (the digits model), pairs of runs with different seeds; and pairs of independent samples
of laws with a known distance. Paired null: pairs of correlated samples that are exchangeable, so that their true
distances are equal: image i of each is drawn from the same noise, and a fair coin decides which of the two runs gets
which image. For the digits model the two are guidance scales 1 and 1.5 with the same seed, for the laws two samples
that share most of their noise. Each difference is divided by its own standard error, and
Student's quantiles on G - 1 degrees of freedom (G groups were left out) become the normal's.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from laws import LAWS, population
from record import FOLDER, save
from scipy.stats import kstest, norm
from scipy.stats import t as student

from diffeval.checkpoints.checkpoint import load
from diffeval.data.source import open_source
from diffeval.features.extractor import EXTRACTORS, ExtractorRequest, extract_all
from diffeval.metrics.debias import Debiased, debiased_frechet
from diffeval.metrics.metric import FeatureSet
from diffeval.metrics.variance import DifferenceError, paired_error, unpaired_error
from diffeval.plan import ImageMaker, Settings, plan_sampling

Array = np.ndarray
N, D, BATCH = 320, 64, 320
FEATURES = FOLDER / "fid_differences_features.npz"


def digits_features(pairs: int, first_seed: int) -> dict[str, Array]:
    """Features of 2 * pairs seeds at w=1, and of ``pairs`` at w=1.5; kept in a file, so that it can go on."""
    kept = dict(np.load(FEATURES)) if FEATURES.exists() else {}
    checkpoint = load("digits")
    extractor = EXTRACTORS["digits"](ExtractorRequest(torch.device("cpu")))
    for w, seeds in ((1.0, 2 * pairs), (1.5, pairs)):
        for seed in range(first_seed, first_seed + seeds):
            name = f"{w:g}-{seed}"
            if name in kept:
                continue
            generator = plan_sampling(checkpoint, Settings(n=N, seed=seed, w=w, device="cpu")).generator
            kept[name] = extractor.run(_images(generator)).features
            if (seed - first_seed) % 20 == 19:
                np.savez(FEATURES, **kept)
                print(f"w={w:g}: {seed - first_seed + 1} of {seeds} seeds", flush=True)
    np.savez(FEATURES, **kept)
    return kept


def _images(generator: ImageMaker) -> Array:
    return np.concatenate([generator.images(range(at, min(at + BATCH, N))) for at in range(0, N, BATCH)])


Pair = tuple[Debiased, Debiased]


def digits(pairs: int, first_seed: int) -> Iterator[tuple[str, str, list[Pair]]]:
    features = digits_features(pairs, first_seed)
    generator = plan_sampling(load("digits"), Settings(n=N, device="cpu")).generator
    labels = generator.labels(range(N))
    extractor = EXTRACTORS["digits"](ExtractorRequest(torch.device("cpu")))
    for split in ("train", "heldout"):
        source = open_source(f"digits@{split}")
        reference = FeatureSet(extract_all(extractor, source).features.astype(np.float64), source.labels)

        def estimate(some: Array, reference: FeatureSet = reference, split: str = split) -> Debiased:
            return debiased_frechet(FeatureSet(some.astype(np.float64), labels), reference, split == "heldout")

        sides = "one side" if split == "train" else "two sides"
        unpaired = [
            tuple(estimate(features[f"1-{first_seed + 2 * pair + side}"]) for side in (0, 1)) for pair in range(pairs)
        ]
        yield f"digits model, {sides}", "unpaired", unpaired  # type: ignore[misc]
        random = np.random.Generator(np.random.Philox((31, first_seed)))
        paired = [
            tuple(
                estimate(some)
                for some in swapped(random, features[f"1-{first_seed + pair}"], features[f"1.5-{first_seed + pair}"])
            )
            for pair in range(pairs)
        ]
        yield f"digits model, {sides}", "paired", paired  # type: ignore[misc]


def swapped(random: np.random.Generator, one: Array, other: Array) -> tuple[Array, Array]:
    """Exchangeable samples: a coin for every image."""
    heads = random.random(len(one))[:, None] < 0.5
    return np.where(heads, one, other), np.where(heads, other, one)


def synthetic(pairs: int, first_seed: int) -> Iterator[tuple[str, str, list[Pair]]]:
    for name in ("gaussian", "heavy", "classes"):
        law = LAWS[name](D)
        for strength, delta in (("zero", 0.0), ("large", 0.5)):
            known = FeatureSet(np.empty((0, D)))
            known.once("moments", lambda law=law: population(law, 0.0))  # type: ignore[misc]
            random = np.random.Generator(np.random.Philox((32, first_seed)))

            def estimate(some: Array, labels: Array | None, known: FeatureSet = known) -> Debiased:
                return debiased_frechet(FeatureSet(some, labels), known, False)

            unpaired = [tuple(estimate(*law.draw(random, N, delta)) for _ in range(2)) for _ in range(pairs)]
            yield f"{name}, distance {strength}", "unpaired", unpaired  # type: ignore[misc]
            paired = []
            for _ in range(pairs):
                (one, labels), (other, _) = law.draw(random, N, delta), law.draw(random, N, delta)
                # Most images are shared, the others exchanged: the same law for both.
                mixed = np.where(random.random(N)[:, None] < 0.8, one, other)
                one_run, other_run = swapped(random, one, mixed)
                paired.append((estimate(one_run, labels), estimate(other_run, labels)))
            yield f"{name}, distance {strength}", "paired", paired


def standardised(moved: Array, errors: list[DifferenceError]) -> Array:
    """Differences by their errors; Student's quantiles on G - 1 degrees of freedom become the normal's."""
    z: Array = norm.ppf(student.cdf(moved / [error.std_error for error in errors], errors[0].freedom))
    return z


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=1000)
    given = parser.parse_args()
    rows, scores = [], {}
    for make in (synthetic, digits):
        for name, kind, found in make(given.pairs, given.first_seed):
            moved = np.array([one.value - other.value for one, other in found])
            paired = [paired_error(one.terms, other.terms) for one, other in found]
            unpaired = [unpaired_error(one.terms, other.terms) for one, other in found]
            errors = paired if kind == "paired" else unpaired
            z = standardised(moved, errors)
            scores[f"{name}, {kind}"] = z
            gain = np.mean([a.std_error / b.std_error for a, b in zip(paired, unpaired, strict=True)])
            half = np.array([error.half_width for error in errors])
            rows.append(
                {
                    "pairs of": name,
                    "kind": kind,
                    "pairs": len(z),
                    "mean": float(z.mean()),
                    "spread (1 ± 0.05)": float(z.std(ddof=1)),
                    "|z| > 1.96": float((np.abs(z) > 1.96).mean()),
                    "outside the 95% interval": float((np.abs(moved) > half).mean()),
                    "Kolmogorov-Smirnov p": float(kstest(z, norm.cdf).pvalue),
                    "error, paired / unpaired": float(gain) if kind == "paired" else None,
                }
            )
    save("fid_differences", rows, libraries=("numpy", "scipy", "torch", "diffusers"))
    draw(scores, FOLDER / "fid_differences.png")


def draw(scores: dict[str, Array], path: Path) -> None:
    """One QQ plot per row of the table."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = 4
    rows = -(-len(scores) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(12, 3 * rows), constrained_layout=True)
    for place, (name, z) in zip(axes.flat, scores.items(), strict=False):
        expected = norm.ppf((np.arange(len(z)) + 0.5) / len(z))
        place.plot(expected, np.sort(z), ".", markersize=4, color="#0072b2")
        place.axline((0, 0), slope=1, color="black", linewidth=0.8)
        place.set_title(name, fontsize=8)
        place.tick_params(labelsize=7)
    figure.supxlabel("standard normal quantile", fontsize=9)
    figure.supylabel("difference / its standard error", fontsize=9)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
