"""What scores are said to take, from laws that are made up."""

import pytest

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.metrics.metric import METRICS
from diffeval.plan import Settings
from diffeval.prepared import Prepared, prepare
from diffeval.pricing import scoring
from diffeval.pricing.law import Law
from diffeval.pricing.scoring import Made, Sizes, Wanted, measured_weights, scoring_prices, sizes_of
from diffeval.progress import SilentReporter
from diffeval.real import RealImages
from diffeval.suite import choose

SETTINGS = Settings(n=500, device="cpu", batch=50)
# A call takes 1 s and 1 ms for each generated image; once, 1 ms for each real one.
LAW = Law((1.0, 1e-3, 0.0, 0.0, 0.0, 0.0, 1e-3, 0.0))


@pytest.fixture
def known(digits: Checkpoint) -> Prepared:
    return prepare(digits, SETTINGS, None, None, None, SilentReporter(), fit=False)


@pytest.fixture
def _one_law(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "find_law", lambda *_: LAW)


@pytest.mark.usefixtures("_one_law")
def test_every_metric_is_computed_at_every_count_and_of_held_out_images(known: Prepared) -> None:
    sizes = Sizes(n=500, real=1297, held_out=400, independent=False)
    found = scoring_prices(known, known.extractor, Wanted(choose(["fid", "kid"]), (250, 500)), sizes)
    assert [one.stage for one in found] == ["scoring", "pictures"]
    each = (1 + 0.25) + (1 + 0.5) + (1 + 0.4)
    assert found[0].seconds == pytest.approx(2 * (1.297 + each))
    assert found[0].about == "at n = 250, 500"
    assert found[1].seconds == pytest.approx(1.297 + 1.5 + 1.4)


@pytest.mark.usefixtures("_one_law")
def test_points_share_what_is_known_of_real_images(known: Prepared) -> None:
    sizes = Sizes(n=500, real=1000, held_out=0, independent=False)
    wanted = [Wanted(choose(["kid"]), (500,), points, lambda *_: None) for points in (1, 3)]
    one, three = (scoring_prices(known, known.extractor, each, sizes)[0].seconds for each in wanted)
    # A point is scored, and scored without each group.
    assert one == pytest.approx(1.0 + 1.5 + 1.5)
    assert three == pytest.approx(1.0 + 3 * (1.5 + 1.5))


@pytest.mark.usefixtures("_one_law")
def test_without_images_of_the_reference_there_are_no_pictures(known: Prepared) -> None:
    found = scoring_prices(
        known, known.extractor, Wanted(choose(["fid"]), (500,)), Sizes(500, 0, 0, independent=False)
    )
    assert [one.stage for one in found] == ["scoring"]


def test_sizes_are_those_of_the_run(digits: Checkpoint, known: Prepared) -> None:
    assert sizes_of(digits, known, 500) == Sizes(500, 1297, 500, independent=False)
    other = prepare(digits, SETTINGS, "digits@heldout", None, None, SilentReporter(), fit=False)
    assert sizes_of(digits, other, 500) == Sizes(500, 500, 0, independent=True)


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"clip_score", "cmmd"}))
def test_every_metric_can_be_tried_on_made_up_features(known: Prepared, name: str) -> None:
    """None of them refuses what is made up, which would be priced as next to nothing; two need CLIP's features."""
    made = Made(known.extractor, known.plan.generator)
    found = scoring.estimates_of(name, made.generated(300), made.real(400), True, {})
    assert all(one.value is not None for one in found), [one.params.get("error") for one in found]


@pytest.mark.usefixtures("_one_law")
def test_weights_are_seconds_by_metric_and_count(known: Prepared) -> None:
    made = Made(known.extractor, known.plan.generator)
    real = RealImages("made up", "digits", made.real(1000), made.real(400), independent=True, warnings=())
    found = measured_weights(known, choose(["kid"]), (250, 500), real)
    assert found == {
        ("kid", None): pytest.approx(1.4 + 1.0),
        ("kid", 250): pytest.approx(1.25),
        ("kid", 500): pytest.approx(1.5),
    }
