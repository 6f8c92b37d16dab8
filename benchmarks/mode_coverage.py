"""Modes of real digits in the place of generated ones, whole and with planted defects: what is named, and how often.

    python benchmarks/mode_coverage.py [--mnist DIR] [--repeats 200] [--models]

Each repeat draws three parts that have no image in common: generated ones, a reference, and held-out ones. Healthy
repeats tell how often anything is named where nothing is wrong, and whether the intervals of the scores hold the
truth; planted ones whether the right mode is named. ``--models`` adds the digits model itself: two seeds, and w = 3.
Rows are written after each data set; a defect that is there is not computed again.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from record import FOLDER, save

import diffeval
from diffeval import Settings
from diffeval.data.source import ImageSource, open_source
from diffeval.features.extractor import ExtractorRequest
from diffeval.features.opening import open_extractor
from diffeval.metrics.metric import Estimate, FeatureSet
from diffeval.metrics.mode_coverage import mode_coverage
from diffeval.metrics.shares import share_interval
from diffeval.progress import SilentReporter
from diffeval.real import features_of

Index = npt.NDArray[np.int64]
Rows = list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class Parts:
    """Sizes of the three parts that a repeat draws."""

    generated: int
    reference: int
    held_out: int


SIZES = {"digits": Parts(500, 797, 500), "mnist": Parts(3000, 4500, 2500)}


def everything(data: str, mnist: str | None) -> FeatureSet:
    """Features of all images of a data set; those that the extractor was trained on are among them."""
    name = data if data == "digits" else f"mnist:{mnist}"
    sources = [open_source(f"{name}@{split}") for split in ("train", "heldout")]
    kind = "digits" if data == "digits" else "fitted"
    extractor = open_extractor(kind, ExtractorRequest(device=torch.device("cpu"), reference=_first(sources, data)))
    sets = [features_of(source, extractor, SilentReporter()) for source in sources]
    assert all(one.logits is not None and one.labels is not None for one in sets), "both have classifiers and labels"
    return replace(
        sets[0],
        features=np.concatenate([one.features for one in sets]),
        labels=np.concatenate([one.labels for one in sets if one.labels is not None]),
        logits=np.concatenate([one.logits for one in sets if one.logits is not None]),
        appearance=None,
        _kept={},
    )


def _first(sources: list[ImageSource], data: str) -> ImageSource | None:
    return None if data == "digits" else sources[0]


def parts(images: FeatureSet, sizes: Parts, key: int) -> tuple[FeatureSet, FeatureSet]:
    """Generated images, and a reference with held-out ones; none is in two of them."""
    order = np.random.Generator(np.random.Philox(key)).permutation(len(images))
    ends = np.cumsum([sizes.generated, sizes.reference, sizes.held_out])
    ours, theirs, others = np.split(order[: ends[-1]], ends[:-1])
    return images.at(ours), replace(images.at(theirs), held_out=images.at(others))


def planted(images: FeatureSet, key: int) -> Iterator[tuple[str, str, str, float, FeatureSet]]:
    """Defects: name, class, status that it must have, true missing mass, and what is left of the images."""
    assert images.labels is not None, "digits have labels"
    label = key % 10
    inside, outside = np.flatnonzero(images.labels == label), np.flatnonzero(images.labels != label)
    share = len(inside) / len(images)
    yield "a class dropped", str(label), "missing", share, images.at(outside)
    left = np.concatenate([outside, inside[: round(0.3 * len(inside))]])
    yield "a class at 30%", str(label), "thin", share - 0.3 * share / (1 - 0.7 * share), images.at(left)
    three = np.concatenate(
        [np.resize(np.flatnonzero(images.labels == each)[:3], len(images) // 10) for each in range(10)]
    )
    yield "three images of each class", "", "", 0.0, images.at(three)
    few = np.concatenate([outside, inside[: round(0.9 * len(inside))]])
    yield "a tenth of a class dropped (1%)", str(label), "ok", 0.1 * share, images.at(few)


RARE = "a mode of 1% dropped"


def rare(ours: FeatureSet, reference: FeatureSet, key: int) -> tuple[str, float, FeatureSet, FeatureSet]:
    """A class that is one real image in a hundred, and no generated one: its name, its share, and both sides."""
    assert reference.held_out is not None, "a repeat has them"
    label = key % 10
    kept = [_thinned(one, label, 0.01) for one in (reference, reference.held_out)]
    assert ours.labels is not None, "digits have labels"
    without = ours.at(np.flatnonzero(ours.labels != label))
    return str(label), 0.01, without, replace(kept[0], held_out=kept[1])


def _thinned(images: FeatureSet, label: int, share: float) -> FeatureSet:
    assert images.labels is not None, "digits have labels"
    inside, outside = np.flatnonzero(images.labels == label), np.flatnonzero(images.labels != label)
    return images.at(np.concatenate([outside, inside[: max(1, round(len(outside) * share / (1 - share)))]]))


def named(found: tuple[Estimate, ...], kind: str, *, stable: bool) -> dict[str, str]:
    """Status of each mode that differs."""
    return {
        str(row["mode"]): str(row["status"])
        for row in found[0].tables["modes"]
        if row["modes"] == kind and row["status"] != "ok" and not (stable and row["unstable"])
    }


def interval(hits: int, of: int) -> str:
    """Clopper and Pearson's 95% interval of a share."""
    low, high = share_interval(hits, of)
    return f"{low:.3f} .. {high:.3f}"


def study(data: str, mnist: str | None, repeats: int, done: Sequence[str]) -> Rows:
    """Healthy and planted repeats of a data set, but for the defects that are done."""
    images, sizes = everything(data, mnist), SIZES[data]
    found: dict[tuple[str, str], list[Mapping[str, object]]] = {}
    for key in range(repeats):
        ours, reference = parts(images, sizes, key)
        # Every defect on a quarter of the repeats: they are much the same every time.
        cases = [("healthy", "", "", 0.0, ours, reference)]
        if key % 4 == 0:
            cases += [(*case, reference) for case in planted(ours, key)]
            label, mass, without, with_few = rare(ours, reference, key)
            cases.append((RARE, label, "missing", mass, without, with_few))
        for defect, label, status, mass, generated, real in cases:
            if defect in done:
                continue
            read = mode_coverage(generated, real, False)
            for kind in ("labels", "clusters"):
                found.setdefault((defect, kind), []).append(_look(read, kind, label, status, mass))
    return [_summary(data, sizes, defect, kind, looks) for (defect, kind), looks in found.items()]


def _look(read: tuple[Estimate, ...], kind: str, label: str, status: str, mass: float) -> Mapping[str, object]:
    statuses = named(read, kind, stable=True)
    of_class = {name: one for name, one in statuses.items() if name == label or f"'{label}'" in name}
    missing = next(one for one in read if one.name == "missing_mass" and one.params["modes"] == kind)
    assert missing.value is not None, "it is computed"
    assert missing.ci95 is not None, "it has an interval"
    support = read[0].params["support"]
    return {
        "any": bool(statuses),
        "right": status in of_class.values() if status not in ("", "ok") else None,
        "others": any(name not in of_class for name in statuses),
        "collapsed": all(row["collapsed"] for row in read[0].tables["modes"] if row["modes"] == "labels"),
        "support": support, "mass": missing.value, "error": missing.value - mass,
        "held": missing.ci95[0] <= mass <= missing.ci95[1], "least": missing.params["least_missing"],
    }  # fmt: skip


def _summary(data: str, sizes: Parts, defect: str, kind: str, looks: list[Mapping[str, object]]) -> dict[str, object]:
    count = len(looks)
    right = [look["right"] for look in looks if look["right"] is not None]
    some = sum(bool(look["any"]) for look in looks)
    supports = [float(str(look["support"])) for look in looks if look["support"] is not None]
    return {
        "data": data, "n": sizes.generated, "defect": defect, "modes": kind, "repeats": count,
        "anything named": some, "95%": interval(some, count),
        "right mode named": f"{sum(map(bool, right))} of {len(right)}" if right else "",
        "others named": sum(bool(look["others"]) for look in looks),
        "all classes collapsed": sum(bool(look["collapsed"]) for look in looks),
        "support": float(np.median(supports)) if supports else None,
        "missing mass": float(np.mean([float(str(look["mass"])) for look in looks])),
        "mean error": float(np.mean([float(str(look["error"])) for look in looks])),
        "interval holds": f"{sum(bool(look['held']) for look in looks)} of {count}",
        "least missing": float(np.median([float(str(look["least"])) for look in looks])),
    }  # fmt: skip


def models(into: Path) -> Rows:
    """The digits model, which lacks nothing; at w = 3 it is narrower."""
    rows: Rows = []
    for said, settings in (
        ("digits model, seed 0", Settings(n=5000)),
        ("digits model, seed 1", Settings(n=5000, seed=1)),
        ("digits model, w = 3", Settings(n=5000, w=3.0)),
    ):
        out = into / said.replace(" ", "-").replace(",", "")
        results = diffeval.evaluate("digits", metrics=["mode_coverage"], settings=settings, out=out, task="coverage")
        for kind in ("labels", "clusters"):
            mine = [row for row in results.tables["modes"] if row["modes"] == kind]
            mass = [one for one in results.scores if one.name == "missing_mass" and one.params["modes"] == kind][-1]
            wide = [float(str(row["diversity"])) for row in mine if row["diversity"] is not None]
            rows.append(
                {
                    "data": said, "n": 5000, "defect": "healthy", "modes": kind, "repeats": 1,
                    "anything named": sum(row["status"] != "ok" for row in mine),
                    "missing mass": mass.value, "std error": mass.std_error,
                    "diversity": f"{min(wide):.2f} .. {max(wide):.2f}",
                    "collapsed": sum(bool(row["collapsed"]) for row in mine),
                }
            )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", default=None)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--models", action="store_true")
    parser.add_argument("--into", type=Path, default=Path("runs"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    path = FOLDER / "mode_coverage.json"
    rows: Rows = json.loads(path.read_text())["rows"] if path.exists() else []
    for data in ("digits", *(("mnist",) if given.mnist else ())):
        done = [str(row["defect"]) for row in rows if row["data"] == data]
        if RARE not in done:
            rows += study(data, given.mnist, given.repeats, done)
            save("mode_coverage", rows, ("diffeval", "numpy", "scikit-learn"))
    if given.models and not any(str(row["data"]).startswith("digits model") for row in rows):
        rows += models(given.into)
    save("mode_coverage", rows, ("diffeval", "numpy", "scikit-learn"))


if __name__ == "__main__":
    main()
