"""How often the release gate is right, where the truth is known, beside what a fixed threshold on a plain FID does.

    diffeval fid digits --n 10000 --at 10000 --seed 100 --out DIR/a10          (and two more, see POOLS)
    OPENBLAS_NUM_THREADS=1 python benchmarks/gate_calibration.py --pools DIR [--repeats 400]

Two worlds. *Synthetic*: Gaussian features of 64 dimensions whose mean moves; the distance to the reference is a closed
form. *Digits*: features of 10,000 images of the digits model are the population, drawn from with replacement, as many
of each class; a
regression is a share of images of two sampling steps among them, and the distance of the mixture follows from its
moments. The margin is the one that `diffeval gate init` writes from a pilot run, and is fixed from then on.

Each repeat draws a baseline and a run of n = 2000 images, independently, and both go through scoring and the gate as
any run does: where nothing is worse (A/A), where the run is worse by exactly the margin, and by twice the margin. The
starter's gate has rules for FID, precision and recall; alone, FID's. Fixed thresholds, on the same images: the run's
plain FID may be 5% above the baseline's; or above it by the same margin.

Pairing: images of the digits model with 10 and with 20 steps from the same noise; the standard deviation of the
difference over repeats, paired and not, and how often its 95% interval holds the truth.

Rates have 95% Wilson intervals. Resumable: finished repeats stay in results/gate_calibration.partial.jsonl. About 25
minutes on 2 cores.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import record
import torch

from diffeval.compare.difference import difference_of
from diffeval.compare.side import Side
from diffeval.compare.uncertain import stored
from diffeval.data.source import open_source
from diffeval.diffusion.conditions import balanced_labels
from diffeval.features.extractor import ExtractorRequest
from diffeval.features.opening import open_extractor
from diffeval.features.reference import extract_source
from diffeval.gate.calibrate import propose
from diffeval.gate.calibration import Noise
from diffeval.gate.config import GateFile
from diffeval.gate.evidence import Evidence
from diffeval.gate.judge import judge
from diffeval.gate.reading import Gate
from diffeval.metrics.class_accuracy import wilson
from diffeval.metrics.frechet import Moments, frechet_distance, moments
from diffeval.metrics.metric import Array, FeatureSet
from diffeval.progress import SilentReporter
from diffeval.real import RealImages
from diffeval.runs.chunks import ChunkStore
from diffeval.runs.directory import RunDirectory
from diffeval.runs.records import Protocol, Provenance, Results
from diffeval.scoring import Choices, score_counts
from diffeval.suite import choose

N, FEW, DIM, REAL, CLASSES = 2000, 300, 64, 1300, 10
SCORES = ("fid_debiased", "precision", "recall")
# Runs of `diffeval fid digits --n 10000 --at 10000`, with these options, in folders of these names.
POOLS = {"a10": "--seed 100", "a20": "--seed 100 --steps 20", "bad": "--seed 300 --steps 2"}
# What a plain FID may be above the baseline's, where teams fix a share.
SHARE = 0.05
PARTIAL = record.FOLDER / "gate_calibration.partial.jsonl"
PROTOCOL = Protocol("eval", "ddim", {}, 10, 1.0, "none", "nearest", "fp32", "made/x", "none", "made@train", "ab")

Labels = npt.NDArray[np.int64]
Draw = Callable[[float, np.random.Generator, int], FeatureSet]


@dataclass(frozen=True, slots=True)
class World:
    """Where the truth is known.

    Attributes:
        name: of the world.
        reference: features of the real images, held fixed.
        draw: n images of a model that is worse by a strength.
        truth: the Fréchet distance of that model to the reference's moments.
    """

    name: str
    reference: Array
    draw: Draw
    truth: Callable[[float], float]

    def strength(self, regression: float) -> float:
        """How strong a fault makes the distance worse by so much; by bisection, to 1e-9."""
        low, high, wanted = 0.0, 1.0, self.truth(0.0) + regression
        if self.truth(high) < wanted:
            raise SystemExit(f"{self.name}: no fault is strong enough for a regression of {regression:g}")
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.truth(middle) < wanted else (low, middle)
        return high


def random(*key: int) -> np.random.Generator:
    """One stream for each use."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def population(features: Array) -> Moments:
    """Moments of features that are all there are: the divisor is n."""
    found = moments(features)
    return Moments(found.mean, found.covariance * (found.n - 1) / found.n, found.n)


def synthetic() -> World:
    """Gaussian features, with a spectrum that falls as those of images do."""
    spread = 1.0 / np.sqrt(np.arange(1, DIM + 1))
    reference = random(1).standard_normal((REAL, DIM)) * spread
    towards = random(2).standard_normal(DIM) * spread

    def mean(strength: float) -> Array:
        moved: Array = (0.1 + strength) * towards
        return moved

    def draw(strength: float, source: np.random.Generator, n: int) -> FeatureSet:
        return FeatureSet(1.05 * source.standard_normal((n, DIM)) * spread + mean(strength))

    real = moments(reference)

    def truth(strength: float) -> float:
        return frechet_distance(Moments(mean(strength), np.diag((1.05 * spread) ** 2), N), real)

    return World("synthetic", reference, draw, truth)


def pool(folder: Path, name: str) -> FeatureSet:
    """Features that a run of the digits model kept, and their classes."""
    run = RunDirectory(folder / name)
    results = run.results()
    if results is None:
        raise SystemExit(f"needs: diffeval fid digits --n 10000 --at 10000 {POOLS[name]} --out {folder / name}")
    kept = next((run.path / "features").iterdir())
    state = run.state()
    assert state is not None, "it has results"
    store = ChunkStore(kept, state.chunk, ("features", "appearance", "logits"))
    n = results.provenance.n
    return FeatureSet(store.gather("features", n).astype(np.float64), balanced_labels(0, n, CLASSES))


def rows_of(images: FeatureSet, source: np.random.Generator, n: int) -> Labels:
    """Images to draw, as many of each class, in blocks of one of each: as a run has them."""
    assert images.labels is not None, "it is of a conditional model"
    each = [source.choice(np.flatnonzero(images.labels == label), n // CLASSES) for label in range(CLASSES)]
    return np.stack(each, axis=1).ravel()


def digits(folder: Path, reference: Array) -> World:
    """Images of the digits model, some of which were sampled badly."""
    good, bad = pool(folder, "a10"), pool(folder, "bad")
    one, other, real = population(good.features), population(bad.features), moments(reference)

    def draw(share: float, source: np.random.Generator, n: int) -> FeatureSet:
        rows, others = rows_of(good, source, n), rows_of(bad, source, n)
        wrong = source.random(n) < share
        assert good.labels is not None, "it is of a conditional model"
        features = np.where(wrong[:, None], bad.features[others], good.features[rows])
        return FeatureSet(features, good.labels[rows])

    def truth(share: float) -> float:
        apart = other.mean - one.mean
        mixed = (1 - share) * one.covariance + share * other.covariance + share * (1 - share) * np.outer(apart, apart)
        return frechet_distance(Moments(one.mean + share * apart, mixed, N), real)

    return World("digits", reference, draw, truth)


def scored(images: FeatureSet, reference: FeatureSet, seed: int, metrics: Sequence[str]) -> Evidence:
    """What a run of these images would have stored."""
    real = RealImages("made", "made", reference, None, independent=False, warnings=())
    found = score_counts(
        images,
        real,
        (len(images),),
        Choices(choose(metrics), "none", None),
        params={},
        reporter=SilentReporter(),
    )
    provenance = Provenance(
        "made", ".", "ab", seed, len(images), 1, "cpu", 1, {}, None, "", (), "2026-01-01T00:00:00+00:00"
    )
    results = Results("run", PROTOCOL, provenance, found.scores, tables=found.tables)
    terms = {**found.terms, **({} if images.labels is None else {"labels": images.labels})}
    return Evidence((Side("made", results, terms),), "made")


def gate_of(margins: Mapping[str, float]) -> Gate:
    """A gate with these margins."""
    rules = [{"score": name, "max_regression": {"abs": margin}} for name, margin in margins.items()]
    return Gate(GateFile.model_validate({"rule": rules}), Path("gate.toml"), "")


def pilot(world: World, reference: FeatureSet) -> dict[str, float]:
    """Margins as the starter file has them."""
    run = scored(world.draw(0.0, random(7, 0), N), reference, 0, ("fid", "precision", "recall"))
    side, margins = run.sides[0], {}
    for name in SCORES:
        found = stored(side.score(name))
        assert found is not None, name
        noise = Noise(name, found.value, None, max(found.below, found.above), N, 1)
        margins[name] = propose(noise, len(SCORES)).margin
    return margins


def repeat(world: World, reference: FeatureSet, margins: Mapping[str, float], number: int) -> dict[str, object]:
    """Verdicts of one baseline and its runs."""
    margin = margins["fid_debiased"]
    strengths = {"nothing": 0.0, "one margin": world.strength(margin), "two margins": world.strength(2 * margin)}
    metrics = ("fid", "precision", "recall")
    base = scored(world.draw(0.0, random(3, number), N), reference, 0, metrics)
    row: dict[str, object] = {"world": world.name, "repeat": number}
    starter, alone = gate_of(margins), gate_of({"fid_debiased": margin})
    for place, (name, strength) in enumerate(strengths.items()):
        run = scored(world.draw(strength, random(4 + place, number), N), reference, 1, metrics)
        plain = [one.sides[0].score("fid").value or 0.0 for one in (run, base)]
        row[name] = {
            "starter": judge(starter, run, base).status,
            "fid alone": judge(alone, run, base).status,
            "plain, 5%": "fail" if plain[0] > (1 + SHARE) * plain[1] else "pass",
            "plain, margin": "fail" if plain[0] > plain[1] + margin else "pass",
        }
    few = [scored(world.draw(0.0, random(8 + one, number), FEW), reference, one, ("fid",)) for one in range(2)]
    row["nothing, n=300"] = {"fid alone": judge(alone, *few).status}
    return row


def paired(folder: Path, reference: FeatureSet, number: int) -> dict[str, object]:
    """Images of the same noise with 10 and 20 steps: the difference, paired and not, with its error."""
    one, other = pool(folder, "a10"), pool(folder, "a20")
    source = random(20, number)
    rows, others = (rows_of(one, source, N) for _ in range(2))
    found: dict[str, object] = {"world": "pairs", "repeat": number}
    base = scored(other.at(rows), reference, 0, ("fid",)).sides[0]
    for name, taken, seed in (("paired", rows, 0), ("unpaired", others, 1)):
        run = scored(one.at(taken), reference, seed, ("fid",)).sides[0]
        change = difference_of(run, base, "fid_debiased")
        assert change.paired is (name == "paired"), change.how
        found[name] = {"value": change.value, "error": change.std_error, "ci95": change.ci95}
    return found


def rate(rows: Iterable[Mapping[str, Mapping[str, str]]], planted: str, gate: str, status: str) -> dict[str, object]:
    """A share with its interval."""
    found = [row[planted][gate] == status for row in rows]
    share = float(np.mean(found))
    low, high = wilson(share, len(found))
    return {f"P({status})": share, "low": low, "high": high, "repeats": len(found)}


def table(rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """One line for each rate that was promised, with the promise."""
    told = []
    for world in ("synthetic", "digits"):
        of: list[Mapping[str, Mapping[str, str]]] = [row for row in rows if row["world"] == world]  # type: ignore[misc]
        if not of:
            continue
        for planted, status, promise in (
            ("nothing", "fail", "<= 0.05"), ("nothing", "pass", ">= 0.8"), ("one margin", "pass", "<= 0.05"),
            ("two margins", "fail", ">= 0.8"),
        ):  # fmt: skip
            for gate in ("starter", "fid alone", "plain, 5%", "plain, margin"):
                found = rate(of, planted, gate, status)
                share = found.pop(f"P({status})")
                wanted = promise if not gate.startswith("plain") else ""
                told.append(
                    {"world": world, "planted": planted, "gate": gate, "verdict": status, "rate": share, **found}
                    | {"promised": wanted}
                )
        found = rate(of, "nothing, n=300", "fid alone", "inconclusive")
        told.append(
            {"world": world, "planted": "nothing, n=300", "gate": "fid alone", "verdict": "inconclusive"}
            | {"rate": found.pop("P(inconclusive)"), **found, "promised": ""}
        )
    return told


def pairs_table(rows: Sequence[dict[str, object]], truth: float) -> list[dict[str, object]]:
    """What pairing saves, and whether its error is right."""
    told: list[dict[str, object]] = []
    spreads: dict[str, float] = {}
    for name in ("unpaired", "paired"):
        held = [row[name] for row in rows if row["world"] == "pairs"]
        values = np.array([one["value"] for one in held])  # type: ignore[index]
        inside = [one["ci95"][0] <= truth <= one["ci95"][1] for one in held]  # type: ignore[index]
        spreads[name] = float(values.std(ddof=1))
        low, high = wilson(float(np.mean(inside)), len(inside))
        told.append(
            {
                "difference": name, "truth": truth, "mean": float(values.mean()), "sd over repeats": spreads[name],
                "stored error, median": float(np.median([one["error"] for one in held])),  # type: ignore[index]
                "coverage": float(np.mean(inside)), "low": low, "high": high, "repeats": len(held),
            }
        )  # fmt: skip
    told[1]["as good as n times as many unpaired"] = (spreads["unpaired"] / spreads["paired"]) ** 2
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", type=Path, required=True, help="Folder of the three runs.")
    parser.add_argument("--repeats", type=int, default=400)
    given = parser.parse_args()
    reference = real_digits()
    kept = PARTIAL.read_text().splitlines() if PARTIAL.exists() else []
    rows: list[dict[str, object]] = [json.loads(line) for line in kept]
    have = {(row["world"], row["repeat"]) for row in rows}
    margins = {}
    for world in (synthetic(), digits(given.pools, reference)):
        known = FeatureSet(world.reference)
        margins[world.name] = pilot(world, known)
        print(world.name, f"distance {world.truth(0.0):.4g}", margins[world.name], flush=True)
        rows += keep(world.name, partial(repeat, world, known, margins[world.name]), given.repeats, have)
    rows += keep("pairs", partial(paired, given.pools, FeatureSet(reference)), given.repeats, have)
    libraries = ("diffeval", "numpy", "scipy")
    shown = [
        {**row, "margin of FID": margins[str(row["world"])]["fid_debiased"]} for row in table(rows)
    ]  # fmt: skip
    record.save("gate_calibration", shown, libraries)
    one, other = (population(pool(given.pools, name).features) for name in ("a10", "a20"))
    real = moments(reference)
    truth = frechet_distance(one, real) - frechet_distance(other, real)
    record.save("gate_pairing", pairs_table(rows, truth), libraries)


def real_digits() -> Array:
    """Features of the digits that the model was trained on."""
    found = extract_source(
        open_source("digits@train"), open_extractor("digits", ExtractorRequest(torch.device("cpu"))), SilentReporter()
    )
    return found.features.astype(np.float64)


def keep(
    world: str, make: Callable[[int], dict[str, object]], repeats: int, have: set[tuple[object, object]]
) -> list[dict[str, object]]:
    """Makes the repeats that are not there yet, and writes each down."""
    made = []
    for number in range(repeats):
        if (world, number) in have:
            continue
        row = make(number)
        with PARTIAL.open("a") as file:
            file.write(json.dumps(row) + "\n")
        made.append(row)
        if number % 20 == 0:
            print(world, number, flush=True)
    return made


if __name__ == "__main__":
    main()
