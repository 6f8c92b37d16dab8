"""Every score against its peers on the same features and logits, or against its closed form where it has none.

    pip install -e '.[bench]' && python benchmarks/suite_agreement.py

Seeded features of 64 and 2048 dimensions, 2,500 images of each side, no labels but where a score needs them. Each row
says what the score was held against, both numbers, and by how much they differ: relative to the value, or, where only
the truth behind a sample is known, in standard errors. The script fails where a difference exceeds its tolerance.
ADM's evaluator runs on TensorFlow 1 alone, and its formula is written out here. A test fails where a score is missing.
"""

import argparse
import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from record import save
from scipy.spatial.distance import cityblock, jensenshannon, pdist
from scipy.special import softmax
from sklearn.metrics import accuracy_score
from sklearn.metrics.pairwise import cosine_similarity, rbf_kernel

from diffeval.features.appearance import appearance
from diffeval.metrics.manifold import NEIGHBOURS, make_cloud, read
from diffeval.metrics.metric import METRICS, Array, Estimate, FeatureSet
from diffeval.metrics.prompted import Prompted
from diffeval.metrics.vendi import bandwidth, diversity

N = 2500
LIBRARIES = (
    "numpy",
    "scipy",
    "torch",
    "transformers",
    "torch-fidelity",
    "prdc",
    "torchmetrics",
    "scikit-learn",
    "pillow",
)
NAMES = ("ant", "bee", "cow", "doe", "eel")
Row = dict[str, object]


def sides(d: int) -> tuple[Array, Array]:
    """Rectified, heavy-tailed, correlated features; the generated ones are a little off."""
    random = np.random.Generator(np.random.Philox(d))
    mixing = random.standard_normal((d, d)) / np.sqrt(np.arange(1, d + 1))[:, None]
    one, other = (np.maximum(random.standard_t(8, (N, d)) @ mixing + shift, 0.0) for shift in (0.1, 0.0))
    return one, other


def of(score: str, generated: FeatureSet, reference: FeatureSet, independent: bool = True) -> Estimate:
    """One estimate of the metric that makes it."""
    maker = next(name for name in METRICS if score in METRICS[name].scores)
    return next(one for one in METRICS[maker].compute(generated, reference, independent) if one.name == score)


def row(score: str, against: str, d: int | None, ours: float, theirs: float, tolerance: float) -> Row:
    """A line of the table, relative to the value."""
    gap = abs(ours - theirs) / abs(theirs)
    assert gap <= tolerance, f"{score} differs from {against} by {gap:.2g} at d={d}"
    return {
        "score": score,
        "held against": against,
        "d": d,
        "ours": ours,
        "theirs": theirs,
        "difference": gap,
        "tolerance": tolerance,
        "in units of": "the value",
    }


def frechet(d: int, x: Array, y: Array) -> Iterator[Row]:
    from torch_fidelity.metric_fid import fid_statistics_to_metric
    from torchmetrics.image.fid import _compute_fid

    statistics = [{"mu": side.mean(axis=0), "sigma": np.cov(side, rowvar=False)} for side in (x, y)]
    ours = of("fid", FeatureSet(x), FeatureSet(y)).value or 0.0
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    yield row("fid", "torch-fidelity", d, ours, theirs, 1e-6)
    tensors = [torch.from_numpy(part[name]) for part in statistics for name in ("mu", "sigma")]
    # It takes real parts of the eigenvalues of a product, which are right to the root of the rounding.
    yield row("fid", "torchmetrics", d, ours, float(_compute_fid(*tensors)), 1e-5)


def frechet_debiased() -> Row:
    """Gaussian laws N(0, 1) and N(1/2, 4/3 1) in 8 dimensions: 8 (1/4 + 1 + 4/3 - 2 (4/3)^1/2)."""
    random = np.random.Generator(np.random.Philox(5))
    truth = 8 * (0.25 + 1 + 4 / 3 - 2 * (4 / 3) ** 0.5)
    x, y = 0.5 + (4 / 3) ** 0.5 * random.standard_normal((20000, 8)), random.standard_normal((20000, 8))
    return in_errors(
        "fid_debiased", "the distance of the populations", of("fid_debiased", FeatureSet(x), FeatureSet(y)), truth
    )


def in_errors(score: str, against: str, found: Estimate, truth: float) -> Row:
    """A line of the table, in standard errors."""
    assert found.value is not None
    assert found.std_error
    gap = abs(found.value - truth) / found.std_error
    assert gap < 3, f"{score} is {gap:.2g} standard errors off"
    return {
        "score": score,
        "held against": f"no peer has it: {against}",
        "ours": found.value,
        "theirs": truth,
        "difference": gap,
        "tolerance": 3.0,
        "in units of": "the standard error",
    }


def kernel_distance(d: int, x: Array, y: Array) -> Iterator[Row]:
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torchmetrics.image.kid import poly_mmd

    ours = of("kid", FeatureSet(x), FeatureSet(y)).value or 0.0
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    theirs = kid_features_to_metric(*tensors, kid_subsets=1, kid_subset_size=N, verbose=False)
    yield row("kid", "torch-fidelity (one subset of all)", d, ours, theirs["kernel_inception_distance_mean"], 1e-9)
    yield row("kid", "torchmetrics (one subset of all)", d, ours, float(poly_mmd(*tensors)), 1e-9)


def neighbourhoods(d: int, x: Array, y: Array) -> Iterator[Row]:
    from prdc import compute_prdc
    from torch_fidelity.metric_prc import prc_features_to_metric

    centre = y.mean(axis=0)
    ours = read(make_cloud(x, centre), make_cloud(y, centre)).values
    for name, k in NEIGHBOURS.items():
        with contextlib.redirect_stdout(io.StringIO()):
            theirs = compute_prdc(y, x, k)
        yield row(name, f"prdc (k={k})", d, ours[name], float(theirs[name]), 1e-12)
    fidelity = prc_features_to_metric(torch.from_numpy(x), torch.from_numpy(y), prc_neighborhood=3, verbose=False)
    for name in ("precision", "recall"):
        # A mean in float32.
        yield row(name, "torch-fidelity (k=3)", d, ours[name], float(fidelity[name]), 1e-6)


def inception_scores() -> Iterator[Row]:
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torchmetrics.image.inception import InceptionScore

    random = np.random.Generator(np.random.Philox(6))
    logits = 2.5 * random.standard_normal((10000, 100)) + 4 * np.eye(100)[random.integers(0, 100, 10000)]
    found = of("inception_score", FeatureSet(logits[:, :1], None, logits), FeatureSet(np.zeros((0, 1))))
    theirs = isc_features_to_metric(torch.from_numpy(logits), splits=10, shuffle=False)["inception_score_mean"]
    yield row(
        "inception_score", "torch-fidelity (10 splits)", None, float(str(found.params["ten_splits"])), theirs, 1e-9
    )
    p, scores = softmax(logits, axis=1), []
    for start in range(0, len(p), 5000):
        part = p[start : start + 5000]
        kl = part * (np.log(part) - np.log(part.mean(axis=0)))
        scores.append(np.exp(kl.sum(axis=1).mean()))
    yield row(
        "inception_score", "ADM's formula (splits of 5000)", None, found.value or 0.0, float(np.mean(scores)), 1e-9
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = InceptionScore(feature=torch.nn.Identity(), splits=1)
    few = logits[:N]
    peer.update(torch.from_numpy(few))
    one = of("inception_score", FeatureSet(few[:, :1], None, few), FeatureSet(np.zeros((0, 1)))).value or 0.0
    yield row("inception_score", "torchmetrics (1 split)", None, one, float(peer.compute()[0]), 1e-6)


def class_accuracies() -> Iterator[Row]:
    from torchmetrics.classification import MulticlassAccuracy

    random = np.random.Generator(np.random.Philox(7))
    labels = np.arange(N) % len(NAMES)
    logits = np.eye(len(NAMES))[labels] + 0.7 * random.standard_normal((N, len(NAMES)))
    images = FeatureSet(logits[:, :1], labels, logits, NAMES, NAMES)
    ours = of("class_accuracy", images, images).value or 0.0
    peer = MulticlassAccuracy(len(NAMES), average="micro")
    theirs = float(peer(torch.from_numpy(logits), torch.from_numpy(labels)))
    yield row("class_accuracy", "torchmetrics", None, ours, theirs, 1e-6)
    yield row(
        "class_accuracy", "scikit-learn", None, ours, float(accuracy_score(labels, logits.argmax(axis=1))), 1e-12
    )


def by_eigenvalues(features: Array, width: float) -> float:
    """Exp of the Renyi entropy of order 2 of the eigenvalues of K / n."""
    eigenvalues = np.linalg.eigvalsh(rbf_kernel(features, gamma=1 / (2 * width**2)) / len(features))
    return float(np.exp(-np.log((eigenvalues**2).sum())))


def diversities(d: int, x: Array, y: Array) -> Iterator[Row]:
    labels = np.arange(N) % len(NAMES)
    images, real = (FeatureSet(side, labels, None, NAMES) for side in (x, y))
    width = bandwidth(real)
    against = "no peer has it: eigenvalues of scikit-learn's kernel"
    yield row("vendi", against, d, of("vendi", images, real).value or 0.0, by_eigenvalues(x, width), 1e-5)
    theirs = float(np.mean([by_eigenvalues(x[labels == label], width) for label in range(len(NAMES))]))
    yield row("vendi_within_class", against, d, of("vendi_within_class", images, real).value or 0.0, theirs, 1e-5)
    groups = 1000 * np.eye(d)[np.arange(N) % 50]
    yield row("vendi", "no peer has it: 50 groups of equals", d, diversity(groups, 1.0).value, 50.0, 1e-9)


def clip_distance(d: int, x: Array, y: Array) -> Iterator[Row]:
    images, real = (FeatureSet(side, extractor="clip:ViT-L-14-336") for side in (x, y))
    found = of("cmmd", images, real)
    units = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y)]
    inner, outer, across = (rbf_kernel(a, b, gamma=1 / 200) for a, b in ((units[0],) * 2, (units[1],) * 2, units))
    biased = 1000 * float(inner.mean() + outer.mean() - 2 * across.mean())
    stated = float(str(found.params["v_statistic"]))
    yield row("cmmd", "its authors' formula by scikit-learn's kernel (V)", d, stated, biased, 1e-7)
    means = [(kernel.sum() - N) / (N * (N - 1)) for kernel in (inner, outer)]
    unbiased = 1000 * float(sum(means) - 2 * across.mean())
    yield row("cmmd", "the same without an image's pair with itself (U)", d, found.value or 0.0, unbiased, 1e-7)


def distances_within(d: int, x: Array, y: Array) -> Iterator[Row]:
    labels = np.arange(N) % len(NAMES)
    images, real = (FeatureSet(side, labels, None, NAMES) for side in (x, y))
    ours = of("within_class_distance", images, real).value or 0.0
    theirs = float(np.mean([pdist(x[labels == label]).mean() for label in range(len(NAMES))]))
    yield row("within_class_distance", "no peer has it: SciPy's pdist", d, ours, theirs, 1e-6)


def looks() -> Iterator[Row]:
    """Of colour images, by Pillow's HSV and NumPy's means; Pillow rounds a saturation to 1/255 downwards."""
    random = np.random.Generator(np.random.Philox(8))
    sides = [random.integers(low, high, (200, 3, 16, 16), dtype=np.uint8) for low, high in ((0, 256), (40, 230))]
    empty = np.zeros((200, 1))
    images, real = (FeatureSet(empty, appearance=appearance(side).astype(np.float64)) for side in sides)
    unit = [side / 127.5 - 1.0 for side in sides]
    hsv = [np.asarray(Image.fromarray(one.transpose(1, 2, 0)).convert("HSV"))[..., 1] for one in sides[0]]
    spread = [np.array([one.std() for one in side.reshape(-1, 16 * 16)]).reshape(-1, 3).mean(axis=0) for side in unit]
    light = [1 + side.mean(axis=(0, 2, 3)) for side in unit]
    for score, theirs, tolerance in (
        ("saturated_pixels", float((np.abs(unit[0]) > 0.98).mean()), 1e-6),
        ("colour_saturation", float(np.mean(hsv)) / 255, 0.005),
        ("contrast_ratio", float((spread[0] / spread[1]).mean()), 1e-6),
        ("brightness_ratio", float((light[0] / light[1]).mean()), 1e-6),
    ):
        against = "no peer has it: Pillow's HSV" if score == "colour_saturation" else "no peer has it: NumPy"
        yield row(score, against, None, of(score, images, real).value or 0.0, theirs, tolerance)


def modes(d: int, x: Array, y: Array) -> Iterator[Row]:
    """Before bias is taken off, which no peer does; by the classes that a classifier names."""
    random = np.random.Generator(np.random.Philox(d + 1))
    shares = (np.array([0.3, 0.3, 0.2, 0.19, 0.01]), np.full(5, 0.2))
    known = [random.choice(len(NAMES), N, p=share) for share in shares]
    images, real = (
        FeatureSet(side, None, np.eye(len(NAMES))[one], (), NAMES) for side, one in zip((x, y), known, strict=True)
    )
    q, p = (np.bincount(one, minlength=len(NAMES)) / N for one in known)
    for score, against, theirs in (
        ("mode_coverage", "no peer has it: NumPy", float(p[q >= 0.2 * p].sum())),
        ("missing_mass", "SciPy's city-block distance over 2", float(cityblock(p, q)) / 2),
        ("js_divergence", "SciPy's Jensen-Shannon distance, squared", float(jensenshannon(p, q)) ** 2),
    ):
        yield row(score, against, d, float(str(of(score, images, real).params["plain"])), theirs, 1e-9)


def words(d: int, x: Array, y: Array) -> Iterator[Row]:
    """Of images and 50 prompts in one space; torchmetrics reads both from a network that only hands them out."""
    from torchmetrics.functional.multimodal import clip_score as peer
    from transformers import PretrainedConfig

    texts, rows = y[:50], np.arange(N) % 50
    ids = tuple(map(str, range(50)))
    prompted = Prompted(x, texts, rows, np.arange(50), ids, ids, ids, np.zeros(50, dtype=bool), "clip:none", missing=7)
    look = np.where((np.arange(N) < 40)[:, None], 0.0, np.full((N, 8), 0.3))
    images = FeatureSet(x, prompted=prompted)

    class Hands(torch.nn.Module):
        """Image i is its number, and so is text i."""

        config = PretrainedConfig()

        def get_image_features(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(x)[pixels]

        def get_text_features(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(texts)[tokens]

    def processor(*, images: list[torch.Tensor] = [], text: list[str] = [], **more: object) -> dict[str, torch.Tensor]:  # noqa: B006
        numbers = torch.tensor([int(one.sum()) for one in images] or list(map(int, text)))
        return {"pixel_values": numbers, "input_ids": numbers, "attention_mask": numbers[:, None]}

    pixels = [torch.full((1, 1, 1), number) for number in range(N)]
    theirs = float(peer(pixels, [ids[row] for row in rows], model_name_or_path=lambda: (Hands(), processor)))
    yield row("clip_score", "torchmetrics", d, of("clip_score", images, images).value or 0.0, theirs, 1e-6)
    cosines = cosine_similarity(x, texts)
    own = cosines[np.arange(N), rows]
    others = (cosines.sum(axis=1) - own) / 49
    against = "no peer has it: scikit-learn's cosines"
    margin = 100 * float((own - others).mean())
    yield row("clip_margin", against, d, of("clip_margin", images, images).value or 0.0, margin, 1e-4)
    nearest = float((cosines.argmax(axis=1) == rows).mean())
    yield row("r_precision", against, d, of("r_precision", images, images).value or 0.0, nearest, 1e-9)
    apart = float(np.mean([pdist(x[rows == prompt], "cosine").mean() for prompt in range(50)]))
    ours = of("within_prompt_diversity", images, images).value or 0.0
    yield row("within_prompt_diversity", "no peer has it: SciPy's pdist", d, ours, apart, 1e-9)
    lost = of("unscored_images", replace(images, appearance=look), images).value or 0.0
    yield row("unscored_images", "no peer has it: 40 of a single colour, 7 missing", d, lost, 47 / (N + 7), 1e-12)


FAMILIES: tuple[Callable[[int, Array, Array], Iterator[Row]], ...] = (
    frechet,
    kernel_distance,
    neighbourhoods,
    diversities,
    clip_distance,
    distances_within,
    modes,
    words,
)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rows = [frechet_debiased(), *inception_scores(), *class_accuracies(), *looks()]
    for d in (64, 2048):
        pair = sides(d)
        rows += [line for family in FAMILIES for line in family(d, *pair)]
    order = [score for name in METRICS for score in METRICS[name].scores]
    save("suite_agreement", sorted(rows, key=lambda line: order.index(str(line["score"]))), LIBRARIES)


if __name__ == "__main__":
    main()
