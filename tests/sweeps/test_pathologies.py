"""Planted pathologies, named where they start; and healthy sweeps, of which nothing is said."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from diffeval.sweeps.pathologies import Pathology, Readings, find, unjudged

AT = (1.0, 2.0, 3.0, 5.0, 10.0)
REAL = {"saturated_pixels": 0.02, "colour_saturation": 0.4, "within_class_distance": 10.0}
HEALTHY = Readings(
    at=AT,
    values={
        "saturated_pixels": (0.02, 0.02, 0.03, 0.05, 0.065),
        "colour_saturation": (0.4, 0.42, 0.44, 0.46, 0.48),
        "within_class_distance": (10.2, 9.5, 9.0, 8.0, 7.2),
        "contrast_ratio": (1.0, 1.02, 1.05, 1.1, 1.3),
        "class_accuracy": (0.9, 0.95, 0.99, 0.99, 0.99),
        "precision": (0.8, 0.9, 0.92, 0.9, 0.85),
    },
    real=REAL,
    colour=True,
    moved=(0.0, 6.0, 10.0, 14.0, 18.0),
)


def _with(readings: Readings = HEALTHY, **values: Sequence[float | None]) -> Readings:
    return replace(readings, values={**readings.values, **values})


def _only(readings: Readings) -> Pathology:
    (found,) = find(readings)
    return found


def test_nothing_is_said_of_a_healthy_sweep() -> None:
    assert find(HEALTHY) == ()
    assert unjudged(HEALTHY) == ()


def test_over_saturation_starts_where_both_limits_are_passed_for_good() -> None:
    # 0.02 + 0.05 is passed from w = 3 on; 1.25 times 0.4 from w = 5 on.
    found = _only(_with(saturated_pixels=(0.02, 0.06, 0.08, 0.12, 0.3), colour_saturation=(0.4, 0.45, 0.49, 0.6, 0.8)))
    assert (found.name, found.starts_at, found.severity) == ("over-saturation", 5.0, "fail")
    assert found.summary == (
        "from w=5 on: at w=5 saturated_pixels is 0.12, limit 0.07, real images 0.02; colour_saturation 1.5 of theirs,"
        " limit 1.25"
    )


def test_saturated_pixels_alone_are_no_over_saturation_in_colour_but_in_grey() -> None:
    readings = _with(saturated_pixels=(0.02, 0.06, 0.08, 0.12, 0.3))
    assert find(readings) == ()
    found = _only(replace(readings, colour=False))
    assert (found.name, found.starts_at) == ("over-saturation", 3.0)
    assert "colour" not in found.summary


def test_grey_images_that_have_no_saturated_pixels_are_judged() -> None:
    readings = replace(
        _with(saturated_pixels=(0.0, 0.0, 0.0, 0.0, 0.06)), real={"saturated_pixels": 0.0}, colour=False
    )
    assert _only(readings).starts_at == 10.0


def test_diversity_collapse_warns_and_then_fails() -> None:
    warned, failed = find(_with(within_class_distance=(10, 8, 6.9, 5.5, 4.5)))
    assert (warned.name, warned.starts_at, warned.severity) == ("diversity-collapse", 3.0, "warn")
    assert warned.summary == "from w=3 on: at w=3 within_class_distance is 0.69 of real images', limit 0.7"
    assert (failed.name, failed.starts_at, failed.severity) == ("diversity-collapse", 10.0, "fail")
    assert (
        failed.summary == "at the largest w judged: at w=10 within_class_distance is 0.45 of real images', limit 0.5"
    )


def test_diversity_that_is_lost_at_once_is_said_once() -> None:
    found = _only(_with(within_class_distance=(10, 8, 4, 3, 2)))
    assert (found.starts_at, found.severity) == (3.0, "fail")


def test_limits_themselves_are_not_beyond_them() -> None:
    assert find(_with(contrast_ratio=(1, 1, 1, 1.4, 1.4))) == ()
    assert find(_with(contrast_ratio=(1, 1, 1, 0.7, 0.7))) == ()
    assert find(_with(within_class_distance=(10, 10, 10, 7, 7))) == ()


@pytest.mark.parametrize(
    ("ratios", "name"),
    [((1, 0.9, 0.8, 0.6, 0.5), "contrast-collapse"), ((1, 1.1, 1.3, 1.5, 2), "contrast-explosion")],
)
def test_contrast_is_lost_or_grows_without_bound(ratios: tuple[float, ...], name: str) -> None:
    found = _only(_with(contrast_ratio=ratios))
    assert (found.name, found.starts_at) == (name, 5.0)
    assert f"contrast is {ratios[3]:g} of real images'" in found.summary


def test_quality_that_guidance_destroys() -> None:
    # 0.8 times 0.9, reached at w = 2, is 0.72.
    found = _only(_with(precision=(0.8, 0.9, 0.88, 0.73, 0.6)))
    assert (found.name, found.starts_at, found.severity) == ("quality-collapse", 10.0, "fail")
    assert found.summary == ("at the largest w judged: at w=10 precision is 0.67 of what it is at w=2, limit 0.8")
    uncertain = replace(
        _with(precision=(0.8, 0.9, 0.88, 0.73, 0.6)), intervals={"precision": [None] * 4 + [(0.4, 0.73)]}
    )
    assert find(uncertain) == ()


def test_precision_that_only_rises_is_no_collapse() -> None:
    assert find(_with(precision=(0.2, 0.5, 0.7, 0.8, 0.9))) == ()


def test_guidance_without_effect() -> None:
    readings = replace(_with(class_accuracy=(0.1, 0.1, 0.11, 0.1, 0.1)), moved=(0.0, 0.1, 0.2, 0.3, 0.4))
    found = _only(readings)
    assert (found.name, found.starts_at, found.severity) == ("guidance-has-no-effect", 1.0, "fail")
    assert found.summary == (
        "between w=1 and w=10 images of the same seeds differ from those at w=1 by at most 0.4 grey levels on average,"
        " limit 1"
    )


def test_guidance_that_moves_few_pixels_but_the_classes_has_an_effect() -> None:
    still = replace(HEALTHY, moved=(0.0, 0.1, 0.2, 0.3, 0.4))
    # Accuracy rises from 0.9 to 0.99.
    assert find(still) == ()
    wide = {"class_accuracy": [(0.8, 1.0), None, None, None, (0.97, 1.0)]}
    assert _only(replace(still, intervals=wide)).name == "guidance-has-no-effect"
    narrow = {"class_accuracy": [(0.88, 0.92), None, None, None, (0.97, 1.0)]}
    assert find(replace(still, intervals=narrow)) == ()
    without = {name: row for name, row in still.values.items() if name != "class_accuracy"}
    assert _only(replace(still, values=without)).name == "guidance-has-no-effect"


def test_what_moves_without_guidance_is_no_effect_of_it() -> None:
    at = (0.0, 1.0, 2.0, 3.0, 5.0)
    still = replace(_with(class_accuracy=(0.1,) * 5), at=at, moved=(30.0, 0.0, 0.0, 0.0, 0.0))
    assert _only(still).starts_at == 1.0


def test_guidance_that_was_hardly_tried_is_not_said_to_have_no_effect() -> None:
    short = Readings((1.0, 1.1), {}, {}, colour=False, moved=(0.0, 0.3))
    assert find(short) == ()
    assert "guidance-has-no-effect is not judged: no w reaches 2" in unjudged(short)


def test_a_limit_is_crossed_where_the_whole_interval_is_beyond_it() -> None:
    ratios = (1.0, 0.9, 0.65, 0.6, 0.5)
    intervals = {"contrast_ratio": [(0.9, 1.1), (0.8, 1.0), (0.58, 0.72), (0.55, 0.69), (0.45, 0.55)]}
    assert _only(_with(contrast_ratio=ratios)).starts_at == 3.0
    assert _only(replace(_with(contrast_ratio=ratios), intervals=intervals)).starts_at == 5.0
    grows = {"contrast_ratio": [(1, 1), (1, 1), (1.3, 1.6), (1.41, 1.7), (1.5, 2.5)]}
    assert _only(replace(_with(contrast_ratio=(1, 1, 1.45, 1.5, 2)), intervals=grows)).starts_at == 5.0


def test_an_isolated_w_is_said_to_be_one() -> None:
    found = _only(_with(contrast_ratio=(1, 0.6, 1, 1, 1)))
    assert found.starts_at == 2.0
    assert found.summary.startswith("at w=2 alone, not at larger w: at w=2 contrast is 0.6")


def test_what_returns_for_good_starts_where_it_returns() -> None:
    found = _only(_with(contrast_ratio=(1, 0.6, 1, 0.65, 0.5)))
    assert found.starts_at == 5.0
    assert found.summary.startswith("from w=5 on, and at w=2 alone: at w=5 contrast is 0.65")


def test_what_is_there_without_guidance_is_not_blamed_on_it() -> None:
    found = _only(_with(contrast_ratio=(0.6, 0.6, 0.6, 0.6, 0.5)))
    assert found.starts_at == 1.0
    assert found.summary.startswith("at every w, also without guidance")
    # Where no w without guidance was measured, nobody knows.
    guided = replace(_with(contrast_ratio=(0.6, 0.6, 0.6, 0.6, 0.5)), at=(1.5, 2.0, 3.0, 5.0, 10.0))
    assert _only(guided).summary.startswith("from w=1.5 on")


def test_points_without_a_value_are_passed_over() -> None:
    found = _only(_with(contrast_ratio=(1, None, 0.6, None, 0.5)))
    assert found.starts_at == 3.0
    assert found.summary.startswith("from w=3 on")


def test_what_could_not_be_looked_for_is_named() -> None:
    assert unjudged(Readings(AT, {"contrast_ratio": (None,) * 5}, {}, colour=True)) == (
        "over-saturation is not judged: saturated_pixels of real images is not known",
        "diversity-collapse is not judged: within_class_distance of real images is not known",
        "contrast-collapse is not judged: there is no contrast_ratio",
        "contrast-explosion is not judged: there is no contrast_ratio",
        "quality-collapse is not judged: there is no precision",
        "guidance-has-no-effect is not judged: how far guidance moves images was not measured",
    )
    no_colour = replace(HEALTHY, real={**REAL, "colour_saturation": 0.0})
    assert unjudged(no_colour) == ("over-saturation is not judged: colour_saturation of real images is 0",)
    assert unjudged(replace(no_colour, colour=False)) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"at": (1.0, 2.0, 2.0, 5.0, 10.0)}, "do not ascend"),
        ({"at": AT[:4]}, "5 readings at 4 scales"),
        ({"moved": (1.0,)}, "moved: 1 readings at 5 scales"),
        ({"intervals": {"contrast_ratio": [None]}}, "contrast_ratio: 1 readings at 5 scales"),
    ],
)
def test_readings_of_other_points_are_refused(changes: dict[str, tuple[float, ...]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(HEALTHY, **changes)  # type: ignore[arg-type]


def test_a_class_that_is_not_heeded_though_images_move() -> None:
    flat = _with(
        replace(HEALTHY, real={**REAL, "class_accuracy": 0.98}), class_accuracy=(0.11, 0.12, 0.13, 0.13, 0.12)
    )
    near = replace(flat, intervals={"class_accuracy": [(0.08, 0.15)] * 5})
    found = _only(near)
    assert (found.name, found.starts_at, found.severity) == ("guidance-has-no-effect", 1.0, "fail")
    assert "stays where it is, from 0.11 to 0.12" in found.summary
    # One that rises, or is high from the start, is heeded.
    assert find(replace(near, intervals={"class_accuracy": [(0.08, 0.1)] + [(0.11, 0.15)] * 4})) == ()
    high = _with(near, class_accuracy=(0.97,) * 5)
    assert find(replace(high, intervals={"class_accuracy": [(0.95, 0.99)] * 5})) == ()
