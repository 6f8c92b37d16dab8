"""Which metrics a name stands for, and the order in which they come."""

import pytest

from diffeval.errors import DiffevalError
from diffeval.metrics.metric import METRICS
from diffeval.suite import choose, listing, named, standard


def test_the_standard_suite_in_its_order() -> None:
    assert standard() == ("fid", "kid", "manifold", "inception_score", "class_accuracy")
    suite = choose()
    assert suite.metrics == standard()
    assert not suite.asked
    assert suite.shown == {
        "fid",
        "fid_debiased",
        "kid",
        "precision",
        "recall",
        "density",
        "coverage",
        "inception_score",
        "class_accuracy",
    }


def test_by_the_name_of_a_score() -> None:
    """Only that score is shown, whatever is computed with it."""
    suite = choose(["recall", "fid_debiased"])
    assert suite.metrics == ("manifold", "fid")
    assert suite.shown == {"recall", "fid_debiased"}
    assert suite.asked


def test_by_the_name_of_a_metric() -> None:
    suite = choose(["manifold"])
    assert suite.metrics == ("manifold",)
    assert suite.shown == set(METRICS["manifold"].scores)


def test_fid_is_both_of_its_values() -> None:
    assert choose(["fid"]).shown == {"fid", "fid_debiased"}
    assert choose(["vendi"]).shown == {"vendi", "vendi_within_class"}


def test_others_stand_beside_the_standard_suite() -> None:
    """Whose own scores may be lacking, and which reads every class."""
    suite = choose(["standard", "missing_mass"])
    assert suite.metrics == (*standard(), "mode_coverage")
    assert suite.shown == {*choose().shown, "missing_mass"}
    assert suite.classes
    assert not suite.asked
    assert named(["standard", "missing_mass"]) == {"missing_mass"}


def test_a_family_named_twice_is_computed_once() -> None:
    suite = choose(["kid", "precision", "recall", "kid"])
    assert suite.metrics == ("kid", "manifold")
    assert suite.shown == {"kid", "precision", "recall"}


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(DiffevalError, match=r"unknown metric 'precison'; did you mean 'precision'\? known: app"):
        choose(["kid", "precison"])
    with pytest.raises(DiffevalError, match="unknown metric 'zzz'; known: app"):
        choose(["zzz"])
    with pytest.raises(DiffevalError, match="none is named; leave --metrics out for the standard suite"):
        choose([])


def test_the_images_that_are_needed() -> None:
    """Of named metrics the first decides; of the standard suite the least demanding."""
    dim = 2048
    assert choose(["fid", "kid"]).needs(dim) == METRICS["fid"].needs(dim) == 2458
    assert choose(["kid", "fid"]).needs(dim) == METRICS["kid"].needs(dim) == 10
    assert choose().needs(dim) == min(METRICS[name].needs(dim) for name in standard())


def test_listing_has_every_score_once_and_the_suite_first() -> None:
    lines = listing()
    scores = [line.score for line in lines]
    assert len(scores) == len(set(scores))
    assert set(scores) == {score for name in METRICS for score in METRICS[name].scores}
    assert scores[:3] == ["fid", "fid_debiased", "kid"]
    flags = [line.standard for line in lines]
    assert flags == sorted(flags, reverse=True)
    for line in lines:
        assert line.score in METRICS[line.metric].scores
        assert line.higher_is_better is METRICS[line.metric].direction(line.score)
        assert line.about.endswith(".")
        assert "\n" not in line.about
