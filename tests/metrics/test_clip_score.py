"""CLIP score worked out by hand, and what is planted shows."""

from dataclasses import replace

import numpy as np
import pytest

from diffeval.metrics.clip_score import clip_score
from diffeval.metrics.clustered import clustered_mean, fixed_error
from diffeval.metrics.metric import Estimate, FeatureSet, LackingError
from diffeval.metrics.prompted import Prompted

# Two prompts at right angles, images at 0, 60 and 90 degrees to the first; lengths must not matter.
ANGLES = np.radians([0.0, 60.0, 90.0])
IMAGES = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1) * np.array([[1.0], [3.0], [0.5]])
TEXTS = np.array([[2.0, 0.0], [0.0, 5.0]])


def _prompted(images: np.ndarray, texts: np.ndarray, rows: list[int], **more: object) -> FeatureSet:
    names = tuple(f"prompt {number}" for number in range(len(texts)))
    known: dict[str, object] = {
        "concepts": np.arange(len(texts)), "ids": tuple(map(str, range(len(texts)))), "prompts": names,
        "groups": ("",) * len(texts), "cut": np.zeros(len(texts), dtype=bool), "judge": "clip:some",
    }  # fmt: skip
    return FeatureSet(images, prompted=Prompted(images, texts, np.array(rows), **(known | more)))  # type: ignore[arg-type]


def _read(images: FeatureSet, **options: str) -> dict[str, Estimate]:
    return {one.name: one for one in clip_score(images, FeatureSet(np.empty((0, 2))), False, **options)}


@pytest.mark.parametrize(
    ("scale", "own", "other"),
    [("100", [100, 50, 100], [0, 100 * np.sin(ANGLES[1]), 0]), ("raw", [1, 0.5, 1], [0, np.sin(ANGLES[1]), 0]),
     ("hessel", [2.5, 1.25, 2.5], [0, 2.5 * np.sin(ANGLES[1]), 0])],
)  # fmt: skip
def test_scales_by_hand(scale: str, own: list[float], other: list[float]) -> None:
    found = _read(_prompted(IMAGES, TEXTS, [0, 0, 1]), scale=scale)
    assert found["clip_score"].value == pytest.approx(np.mean(own))
    assert found["clip_score"].params["shuffled"] == pytest.approx(np.mean(other), abs=1e-6)
    assert found["clip_margin"].value == pytest.approx(np.mean(own) - np.mean(other), abs=1e-5)
    assert found["clip_score"].params["scale"] == scale
    # At 60 degrees to its own, an image is nearer to the other.
    assert found["r_precision"].value == pytest.approx(2 / 3)


def test_hessels_scale_ends_at_nothing() -> None:
    turned = _prompted(-IMAGES, TEXTS, [0, 0, 1])
    assert _read(turned, scale="hessel")["clip_score"].value == 0
    assert _read(turned)["clip_score"].value == pytest.approx(-(100 + 50 + 100) / 3)


def test_diversity_is_of_images_of_the_same_text() -> None:
    found = _read(_prompted(IMAGES, TEXTS, [0, 0, 1]))
    assert found["within_prompt_diversity"].value == pytest.approx(1 - np.cos(ANGLES[1]))
    # Three prompts of which two have the same text: images of both are one prompt's.
    alike = _prompted(IMAGES, TEXTS[[0, 0, 1]], [0, 1, 2], prompts=("a", "a", "b"), concepts=np.array([0, 0, 1]))
    assert _read(alike)["within_prompt_diversity"].value == pytest.approx(1 - np.cos(ANGLES[1]))
    single = _read(_prompted(IMAGES, np.eye(3)[:, :2], [0, 1, 2]))["within_prompt_diversity"]
    assert single.value is None
    assert single.params["error"] == "needs two images of a prompt, and no prompt has them"


def test_prompts_of_the_same_concept_are_no_wrong_ones() -> None:
    texts = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    found = _read(_prompted(IMAGES[:1], texts, [1], concepts=np.array([0, 0, 1])))
    assert found["r_precision"].value == 1
    assert found["clip_score"].params["shuffled"] == pytest.approx(0.0, abs=1e-6)
    alone = _read(_prompted(IMAGES, TEXTS, [0, 0, 1], concepts=np.zeros(2, dtype=np.int64)))
    assert alone["clip_margin"].value is None
    assert "all ask for the same" in str(alone["r_precision"].params["error"])
    assert alone["clip_score"].value is not None


def test_the_error_is_clustered_by_prompt() -> None:
    terms, clusters = np.array([1.0, 2.0, 3.0, 6.0]), np.array([0, 0, 1, 1])
    mean = clustered_mean(terms, clusters)
    # Sums of deviations from 3 are -3 and 3: 2/1 (9 + 9) / 16.
    assert mean.value == 3
    assert mean.std_error == pytest.approx(1.5)
    assert mean.ci95 is not None
    assert mean.ci95[1] - mean.value == pytest.approx(12.706 * 1.5, rel=1e-4)
    # One image of each prompt: the usual error.
    assert clustered_mean(terms, np.arange(4)).std_error == pytest.approx(terms.std(ddof=1) / 2)
    # With the prompts fixed: (2^2 0.5/2 + 2^2 4.5/2) / 16.
    assert fixed_error(terms, clusters) == pytest.approx(np.sqrt((2 * 0.5 + 2 * 4.5) / 16))
    assert fixed_error(terms, np.arange(4)) is None
    assert clustered_mean(terms[:1], clusters[:1]).std_error is None


def test_intervals_hold_the_mean_of_all_prompts_that_could_have_been_drawn() -> None:
    drawn = np.random.Generator(np.random.Philox(3))
    hit = 0
    for _ in range(400):
        counts = drawn.integers(1, 6, size=40)
        clusters = np.repeat(np.arange(40), counts)
        terms = np.repeat(drawn.normal(0.0, 1.0, 40), counts) + drawn.normal(0.0, 0.5, len(clusters))
        low, high = clustered_mean(terms, clusters).ci95 or (1.0, 0.0)
        hit += low <= 0.0 <= high
    # 95% of 400, give or take three standard errors.
    assert 367 <= hit <= 393


def _many(n: int = 300, prompts: int = 30) -> FeatureSet:
    """Images near their prompts, which are directions drawn at random."""
    drawn = np.random.Generator(np.random.Philox(5))
    texts = drawn.standard_normal((prompts, 16))
    rows = np.arange(n) % prompts
    images = texts[rows] / np.linalg.norm(texts[rows], axis=1, keepdims=True) + 0.15 * drawn.standard_normal((n, 16))
    look = np.full((n, 8), 0.4)
    made = _prompted(images, texts, rows.tolist(), groups=("x", "y") * (prompts // 2))
    return replace(made, appearance=look)


def test_right_pairs_are_silent() -> None:
    found = _read(_many())
    assert found["clip_score"].warnings == ()
    assert found["unscored_images"].value == 0
    assert found["r_precision"].value is not None
    assert found["r_precision"].value > 0.9


def test_shuffled_prompts_are_named() -> None:
    images = _many()
    assert images.prompted is not None
    drawn = np.random.Generator(np.random.Philox(6))
    shuffled = replace(images.prompted, rows=drawn.permutation(images.prompted.rows))
    found = _read(replace(images, prompted=shuffled))
    assert any("the words do not matter" in said for said in found["clip_score"].warnings)
    low, high = found["clip_margin"].ci95 or (1.0, 1.0)
    assert low <= 0.0 <= high


def test_a_fifth_of_wrong_captions_is_named_with_the_images() -> None:
    images = _many()
    assert images.prompted is not None
    rows = images.prompted.rows.copy()
    rows[:60] = (rows[:60] + 7) % 30
    found = _read(replace(images, prompted=replace(images.prompted, rows=rows)))
    (said,) = found["clip_score"].warnings
    assert "images fit their own prompt no better than the mean of the others" in said
    listed = found["clip_score"].tables["follow_least"]
    assert {row["index"] for row in listed} <= set(range(60))
    assert found["r_precision"].value == pytest.approx(0.8, abs=0.03)


def test_black_images_are_counted_and_have_no_score() -> None:
    images = _many()
    assert images.appearance is not None
    assert images.prompted is not None
    look = images.appearance.copy()
    look[:30, 2:5] = 0.0
    # Black images that fit every prompt better than any other image does.
    features = images.prompted.images.copy()
    features[:30] = images.prompted.texts[images.prompted.rows[:30]]
    planted = replace(images, appearance=look, prompted=replace(images.prompted, images=features))
    found = _read(planted)
    honest = _read(images.at(np.arange(30, 300)))
    assert found["unscored_images"].value == pytest.approx(0.1)
    assert found["clip_score"].value == pytest.approx(honest["clip_score"].value)
    assert found["clip_score"].params["unscored"] == 30
    assert "30 of 300 images are of a single colour, and have no CLIP score" in found["clip_score"].warnings
    assert np.isnan(found["clip_score"].terms["term"][:30]).all()
    everything = replace(images, appearance=np.where(np.arange(8) < 8, 0.0, look))
    lost = _read(everything)
    assert lost["clip_score"].value is None
    assert "all 300 images are of a single colour" in str(lost["clip_score"].params["error"])
    assert lost["unscored_images"].value == 1


def test_images_without_features_and_missing_ones_are_counted() -> None:
    images = _many()
    assert images.prompted is not None
    features = images.prompted.images.copy()
    features[0] = 0.0
    found = _read(replace(images, prompted=replace(images.prompted, images=features, missing=9)))
    assert found["unscored_images"].value == pytest.approx(10 / 309)
    # What is missing belongs to all images, not to the first of them.
    part = _read(replace(images, prompted=replace(images.prompted, missing=9)).first(100))
    assert part["unscored_images"].value == 0


def test_towers_that_ignore_their_input_are_refused() -> None:
    images = _many()
    assert images.prompted is not None
    deaf = replace(images.prompted, texts=np.ones_like(images.prompted.texts))
    with pytest.raises(LackingError, match="clip:some's text tower gives the same features for all 30 prompts"):
        _read(replace(images, prompted=deaf))
    blind = replace(images.prompted, images=np.ones_like(images.prompted.images))
    with pytest.raises(LackingError, match="image tower gives the same features for all 300 images"):
        _read(replace(images, prompted=blind))
    with pytest.raises(LackingError, match="needs prompts"):
        _read(replace(images, prompted=None))
    with pytest.raises(LackingError, match="unknown scale 'x'; one of 100, hessel, raw"):
        _read(images, scale="x")


def test_groups_and_what_leaks_between_them() -> None:
    images = _many()
    assert images.prompted is not None
    # Every other image of group x shows what a prompt of group y asks for.
    rows, features = images.prompted.rows, images.prompted.images.copy()
    wrong = np.flatnonzero(rows % 2 == 0)[::2]
    features[wrong] = images.prompted.texts[rows[wrong] + 1]
    found = _read(replace(images, prompted=replace(images.prompted, images=features)))["clip_score"]
    shares = {(row["asked"], row["fits_best"]): row["share"] for row in found.tables["prompt_leakage"]}
    assert shares["x", "y"] == pytest.approx(0.5, abs=0.05)
    assert shares["y", "x"] < 0.1  # type: ignore[operator]
    assert shares["x", "x"] + shares["x", "y"] == pytest.approx(1.0)  # type: ignore[operator]
    groups = {row["group"]: row for row in found.tables["clip_groups"]}
    assert groups["x"]["clip_score"] < groups["y"]["clip_score"]  # type: ignore[operator]
    assert groups["x"]["images"] == 150


def test_the_gap_to_held_out_prompts_has_an_error() -> None:
    images = _many()
    assert images.prompted is not None
    held_out = replace(images.prompted, groups=("", "held-out") * 15)
    params = _read(replace(images, prompted=held_out))["clip_score"].params
    sides = [
        clustered_mean(100 * _cosines(images)[rows], images.prompted.rows[rows])
        for rows in (images.prompted.rows % 2 == 0, images.prompted.rows % 2 == 1)
    ]
    assert params["held_out_gap"] == pytest.approx(sides[0].value - sides[1].value)
    assert params["held_out_gap_std_error"] == pytest.approx(
        np.hypot(sides[0].std_error or 0.0, sides[1].std_error or 0.0)
    )


def _cosines(images: FeatureSet) -> np.ndarray:
    assert images.prompted is not None
    one, other = images.prompted.images, images.prompted.texts[images.prompted.rows]
    cosines: np.ndarray = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    return cosines


def test_prompts_that_were_cut_are_counted() -> None:
    images = _many()
    assert images.prompted is not None
    cut = np.arange(30) < 4
    found = _read(replace(images, prompted=replace(images.prompted, cut=cut)))["clip_score"]
    assert found.params["cut_prompts"] == 4
    assert "4 of 30 prompts are longer than what clip:some reads" in found.warnings[0]


def test_terms_are_those_of_each_image() -> None:
    images = _many()
    found = _read(images)["clip_score"]
    np.testing.assert_allclose(found.terms["term"], 100 * _cosines(images))
    assert found.terms["ids"].tolist() == [str(one) for one in range(30)]
    assert found.value == pytest.approx(float(np.mean(found.terms["term"].astype(float))))


def _drawn(random: np.random.Generator, hubs: float) -> FeatureSet:
    """Twenty prompts of a kind, five images of each; some texts fit every image."""
    centre = random.standard_normal((20, 12))
    texts = centre + hubs * random.exponential(1.0, (20, 1)) * np.eye(12)[0]
    rows = np.repeat(np.arange(20), 5)
    images = centre[rows] + 1.5 * random.standard_normal((100, 12)) + 2.0 * np.eye(12)[0]
    return _prompted(images, texts, rows.tolist())


@pytest.mark.parametrize("hubs", [0.0, 3.0])
def test_errors_of_what_stands_on_other_prompts_are_not_too_small(hubs: float) -> None:
    """Over 300 draws of prompts and images the mean error is that of the scatter, or a little more."""
    random = np.random.Generator(np.random.Philox(11))
    found = [_read(_drawn(random, hubs)) for _ in range(300)]
    for value, error in (
        ([one["clip_margin"].value for one in found], [one["clip_margin"].std_error for one in found]),
        (
            [one["clip_score"].params["shuffled"] for one in found],
            [one["clip_score"].params["shuffled_std_error"] for one in found],
        ),
    ):
        scatter, mean = (
            float(np.std(np.array(value, dtype=float), ddof=1)),
            float(np.mean(np.array(error, dtype=float))),
        )
        # The scatter of 300 is itself known to 4%.
        assert 0.9 < mean / scatter < 1.5


def test_two_prompts_that_are_told_apart_are_not_called_wrong() -> None:
    random = np.random.Generator(np.random.Philox(12))
    texts = np.array([[10.0, 1.0], [10.0, -1.0]])
    rows = np.arange(200) % 2
    found = _read(_prompted(texts[rows] + 0.1 * random.standard_normal((200, 2)), texts, rows.tolist()))
    assert found["r_precision"].value == 1
    assert found["clip_score"].warnings == ()


def test_features_that_are_no_numbers_have_no_score() -> None:
    images = _many()
    assert images.prompted is not None
    features = images.prompted.images.copy()
    features[:3] = np.nan
    found = _read(replace(images, prompted=replace(images.prompted, images=features)))
    assert found["unscored_images"].value == pytest.approx(0.01)
    assert np.isfinite(found["clip_score"].value or np.nan)
