import pytest

from diffeval.diffusion.samplers import SAMPLERS, Sampler
from diffeval.errors import DiffevalError
from diffeval.metrics.metric import METRICS
from diffeval.registry import Registry, did_you_mean


def test_finds_what_lies_in_the_folder() -> None:
    assert {"fid", "kid", "manifold", "inception_score", "class_accuracy"} <= set(METRICS.names())
    assert METRICS.names() == sorted(METRICS.names())
    assert "fid" in METRICS
    assert "nothing" not in METRICS


def test_unknown_name_suggests_the_nearest_and_lists_all() -> None:
    with pytest.raises(DiffevalError, match=r"unknown metric 'fidd'; did you mean 'fid'\? known: .*fid, .*kid, "):
        METRICS["fidd"]


def test_no_suggestion_where_nothing_is_near() -> None:
    assert did_you_mean("zzzz", ["fid"]) == " known: fid"


def test_a_name_taken_twice_is_refused() -> None:
    registry: Registry[Sampler] = Registry("thing", "diffeval.metrics")
    registry.register("one")(SAMPLERS["ddim"])
    with pytest.raises(ValueError, match="registered twice"):
        registry.register("one")(SAMPLERS["ddim"])
