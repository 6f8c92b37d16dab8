"""Modes of made-up clusters and of real digits: what is dropped is named, and nothing else is."""

import dataclasses

import numpy as np
import pytest
import torch

from diffeval.data.source import open_source
from diffeval.features.extractor import ExtractorRequest
from diffeval.features.opening import open_extractor
from diffeval.metrics.metric import Estimate, FeatureSet, LackingError
from diffeval.metrics.mode_coverage import mode_coverage
from diffeval.metrics.modes import by_cluster, clusters_of, usual_count
from diffeval.progress import SilentReporter
from diffeval.real import features_of

NAMES = tuple("abcdefgh")


def blobs(n: int, key: int, shares: list[float] | None = None, width: float = 0.3) -> FeatureSet:
    """Eight round clusters at the corners of a cube."""
    random = np.random.Generator(np.random.Philox(key))
    labels = random.choice(8, n, p=shares)
    corners = np.array([[a, b, c] for a in (0, 4) for b in (0, 4) for c in (0, 4)], dtype=np.float64)
    return FeatureSet(corners[labels] + width * random.standard_normal((n, 3)), labels, None, NAMES)


REAL = blobs(1600, 0)


def first(found: tuple[Estimate, ...]) -> Estimate:
    return found[0]


def test_clusters_are_found_by_one_half_and_counted_in_the_other() -> None:
    found = clusters_of(REAL, 8, 0)
    assert not set(found.half) & set(found.other)
    assert len(found.half) + len(found.other) == 1600
    modes = by_cluster(blobs(500, 1), REAL, 8)
    assert len(modes.real) == 800
    assert modes.agreement == pytest.approx(1.0)
    assert all("100%" in name for name in modes.names)
    # The medoid of a cluster lies in it.
    assert modes.reference[modes.medoids].tolist() == list(range(8))


def test_the_usual_number_of_clusters_follows_the_reference() -> None:
    assert usual_count(REAL, 5000) == 32
    assert usual_count(REAL, 300) == 15
    assert usual_count(blobs(99, 0), 5000) == 2
    assert usual_count(dataclasses.replace(REAL, features=np.zeros((20_000, 1))), 5000) == 100


def test_a_cluster_that_is_dropped_is_missing_and_stable() -> None:
    generated = blobs(1000, 1, [0, *[1 / 7] * 7])
    found = first(mode_coverage(generated, REAL, False, modes="clusters", clusters=8))
    wrong = [row for row in found.tables["modes"] if row["status"] != "ok"]
    assert [row["mode"] for row in wrong] == [found.params["missing"]]
    assert "'a'" in str(wrong[0]["mode"])
    assert wrong[0]["unstable"] is False
    assert found.value == pytest.approx(1 - float(str(wrong[0]["real_share"])))
    assert any("missing" in said and "'a'" in said for said in found.warnings)


def test_a_cluster_at_a_third_is_thin_and_a_doubled_one_is_over() -> None:
    shares = [1 / 24, 1 / 4, *[17 / 24 / 6] * 6]
    found = first(mode_coverage(blobs(2000, 1, shares), REAL, False, modes="clusters", clusters=8))
    statuses = {str(row["mode"])[-5:-2]: row["status"] for row in found.tables["modes"] if row["status"] != "ok"}
    assert sorted(statuses.values()) == ["over", "thin"]
    assert "'a'" in str(found.params["thin"])
    assert "'b'" in str(found.params["over"])


def test_a_cluster_that_is_there_may_be_collapsed() -> None:
    generated = blobs(1000, 1)
    inside = generated.labels == 2
    narrow = generated.features.copy()
    narrow[inside] = narrow[inside].mean(axis=0) + 0.1 * (narrow[inside] - narrow[inside].mean(axis=0))
    found = first(
        mode_coverage(
            dataclasses.replace(generated, features=narrow, _kept={}), REAL, False, modes="clusters", clusters=8
        )
    )
    collapsed = [row for row in found.tables["modes"] if row["collapsed"]]
    assert ["'c'" in str(row["mode"]) for row in collapsed] == [True]
    assert {row["status"] for row in found.tables["modes"]} == {"ok"}
    assert any("too alike" in said for said in found.warnings)


def test_more_clusters_than_images_can_fill_are_refused() -> None:
    with pytest.raises(LackingError, match=r"161 clusters need 1610 real images, the reference has 1600"):
        mode_coverage(blobs(500, 1), REAL, False, clusters=161)
    generated = blobs(1000, 1, [0, *[1 / 7] * 7])
    # What differs is looked for among more clusters again, as far as there are images for them.
    assert first(mode_coverage(generated, REAL, False, modes="clusters", clusters=160)).value is not None


def test_features_of_one_dimension_have_no_map() -> None:
    one, other = (dataclasses.replace(each, features=each.features[:, :1], _kept={}) for each in (blobs(500, 1), REAL))
    assert "map_real" not in first(mode_coverage(one, other, False)).terms


def test_without_a_classifier_there_are_clusters_alone() -> None:
    assert {one.params["modes"] for one in mode_coverage(blobs(500, 1), REAL, False)} == {"clusters"}
    with pytest.raises(LackingError, match="classifier"):
        mode_coverage(blobs(500, 1), REAL, False, modes="labels")
    with pytest.raises(ValueError, match="labels, clusters or both"):
        mode_coverage(blobs(500, 1), REAL, False, modes="kinds")


@pytest.fixture(scope="module")
def digits() -> tuple[FeatureSet, FeatureSet]:
    """A part of the training images, and a reference of the others with those that are held out."""
    extractor = open_extractor("digits", ExtractorRequest(device=torch.device("cpu")))
    train, held_out = (
        features_of(open_source(f"digits@{split}"), extractor, SilentReporter()) for split in ("train", "heldout")
    )
    order = np.random.Generator(np.random.Philox(5)).permutation(len(train))
    ours, theirs = np.sort(order[:500]), np.sort(order[500:])
    return train.at(ours), dataclasses.replace(train.at(theirs), held_out=held_out)


def wrong(found: tuple[Estimate, ...], kind: str) -> list[tuple[str, str]]:
    return [
        (str(row["mode"]), str(row["status"]))
        for row in found[0].tables["modes"]
        if row["modes"] == kind and row["status"] != "ok"
    ]


def test_real_digits_lack_nothing(digits: tuple[FeatureSet, FeatureSet]) -> None:
    found = mode_coverage(*digits, False)
    assert [one.params["modes"] for one in found] == 3 * ["labels"] + 3 * ["clusters"]
    assert wrong(found, "labels") == wrong(found, "clusters") == []
    assert not any(row["collapsed"] for row in found[0].tables["modes"])
    assert found[0].params["support"] is None
    for one in found:
        assert one.null is not None
        assert one.null.value is not None


@pytest.mark.parametrize("dropped", [3, 8])
def test_a_dropped_digit_is_missing_by_both_kinds(digits: tuple[FeatureSet, FeatureSet], dropped: int) -> None:
    generated, reference = digits
    assert generated.labels is not None
    found = mode_coverage(generated.at(np.flatnonzero(generated.labels != dropped)), reference, False)
    assert wrong(found, "labels") == [(str(dropped), "missing")]
    assert {status for _, status in wrong(found, "clusters")} == {"missing"}
    assert all(f"'{dropped}'" in name for name, _ in wrong(found, "clusters"))


def test_a_digit_at_three_tenths_is_thin(digits: tuple[FeatureSet, FeatureSet]) -> None:
    generated, reference = digits
    assert generated.labels is not None
    five = np.flatnonzero(generated.labels == 5)
    kept = np.concatenate([np.flatnonzero(generated.labels != 5), five[: int(0.3 * len(five))]])
    assert wrong(mode_coverage(generated.at(np.sort(kept)), reference, False), "labels") == [("5", "thin")]


def test_three_images_of_each_digit_are_repeats(digits: tuple[FeatureSet, FeatureSet]) -> None:
    generated, reference = digits
    assert generated.labels is not None
    rows = np.concatenate([np.resize(np.flatnonzero(generated.labels == digit)[:3], 50) for digit in range(10)])
    found = first(mode_coverage(generated.at(rows), reference, False))
    assert float(str(found.params["support"])) == pytest.approx(30, rel=0.1)
    assert any("about 3" in said and "different ones" in said for said in found.warnings)
    assert all(row["collapsed"] for row in found.tables["modes"] if row["modes"] == "labels")


def test_a_mode_too_small_to_be_seen_is_said_to_be(digits: tuple[FeatureSet, FeatureSet]) -> None:
    found = first(mode_coverage(*digits, False))
    least = float(str(found.params["least_missing"]))
    assert 0.01 < least < 0.05
    assert any(
        f"with less than {least:.2g} of all real images could be missing unseen" in said for said in found.warnings
    )
    half = mode_coverage(digits[0].first(250), digits[1], False)[0]
    assert float(str(half.params["least_missing"])) > least


def test_held_out_images_in_the_generated_ones_place_are_on_one_side_only(
    digits: tuple[FeatureSet, FeatureSet],
) -> None:
    _, reference = digits
    assert reference.held_out is not None
    found = mode_coverage(reference.held_out, reference, True)
    assert len(found[0].terms["labels_generated"]) == len(reference.held_out) // 2
    assert wrong(found, "labels") == []
