"""What was asked for against what a classifier sees, less what it mixes up itself."""

import numpy as np

from diffeval.metrics.leakage import leakage
from diffeval.metrics.metric import FeatureSet

NAMES = ("cat", "dog", "eel")


def images(confusion: list[list[int]]) -> FeatureSet:
    """So many images of each row that are taken for each column."""
    pairs = [(asked, got) for asked in range(3) for got in range(3) for _ in range(confusion[asked][got])]
    asked, got = np.array(pairs).T
    return FeatureSet(np.zeros((len(pairs), 1)), asked, np.eye(3)[got], NAMES, NAMES)


REAL = images([[190, 10, 0], [10, 190, 0], [0, 0, 200]])


def test_what_real_images_are_mixed_up_like_is_no_leak() -> None:
    rows, said = leakage(images([[186, 14, 0], [8, 192, 0], [0, 0, 200]]), REAL)
    assert said is None
    assert not any(row["leaks"] for row in rows)
    share = next(row["share"] for row in rows if (row["asked"], row["got"]) == ("cat", "dog"))
    assert share == 14 / 200


def test_a_leak_beyond_that_is_named_with_its_share() -> None:
    rows, said = leakage(images([[200, 0, 0], [0, 150, 50], [0, 0, 200]]), REAL)
    (leak,) = [row for row in rows if row["leaks"]]
    assert (leak["asked"], leak["got"], leak["n"], leak["real_share"]) == ("dog", "eel", 50, 0.0)
    assert said == "classes leak into others: asked for 'dog' shows 'eel' in 25%"


def test_held_out_images_go_before_the_reference() -> None:
    """A classifier that knows its own training images by heart mixes none of them up."""
    perfect = images([[200, 0, 0], [0, 200, 0], [0, 0, 200]])
    ours = images([[180, 20, 0], [20, 180, 0], [0, 0, 200]])
    assert leakage(ours, perfect)[1] is not None
    known = FeatureSet(
        perfect.features,
        perfect.labels,
        perfect.logits,
        NAMES,
        NAMES,
        held_out=images([[180, 20, 0], [20, 180, 0], [0, 0, 200]]),
    )
    assert leakage(ours, known)[1] is None


def test_without_labels_or_a_classifier_there_is_nothing_to_say() -> None:
    without = FeatureSet(np.zeros((5, 1)), None, np.zeros((5, 3)), NAMES, NAMES)
    assert leakage(without, REAL) == ((), None)
    unknown = FeatureSet(np.zeros((5, 1)), np.zeros(5, dtype=np.int64), np.zeros((5, 3)), ("gnu",), NAMES)
    assert leakage(unknown, REAL) == ((), None)


def test_a_class_that_nobody_asked_for_or_real_images_lack_has_no_number() -> None:
    rows, _ = leakage(images([[200, 0, 0], [0, 200, 0], [0, 0, 0]]), images([[0, 0, 0], [0, 200, 0], [0, 0, 200]]))
    assert {row["asked"] for row in rows} == {"cat", "dog"}
    assert {row["real_share"] for row in rows if row["asked"] == "cat"} == {None}
    assert {row["p"] for row in rows if row["asked"] == "cat"} == {None}
