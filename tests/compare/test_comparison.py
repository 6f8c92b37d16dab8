"""Comparisons of runs made by hand: what is proven, what is not, and what is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from made_runs import PROTOCOL, score, side, write

import diffeval
from diffeval.compare.comparison import compare
from diffeval.compare.difference import difference, difference_of, same_thing
from diffeval.compare.document import comparison_document, label
from diffeval.compare.protocols import allowed, differing, named
from diffeval.errors import DiffevalError, NoEvidenceError
from diffeval.runs.directory import RunDirectory, RunState
from diffeval.runs.document import to_json
from diffeval.runs.records import CheckResult, Null, Score

STEPS = dataclasses.replace(PROTOCOL, steps=50)


def test_a_difference_beyond_its_interval_has_a_better_run(tmp_path: Path) -> None:
    """Fid 1 and 2 with errors 0.3 and 0.4 differ by 1 with an error of 0.5: just proven; recall goes the other way."""
    one = write(tmp_path / "one", [score("fid_debiased", 1.0, 0.3), score("recall", 0.5, 0.01, higher=True)])
    other = write(
        tmp_path / "other", [score("fid_debiased", 2.0, 0.4), score("recall", 0.6, 0.01, higher=True)], seed=1
    )
    fid, recall = compare(one, other).scores
    (pair,) = fid.pairs
    assert pair.difference is not None
    assert pair.difference.value == -1.0
    assert pair.difference.std_error == pytest.approx(0.5)
    assert pair.difference.ci95 == (pytest.approx(-1.979982), pytest.approx(-0.020018))
    assert pair.better == 0
    assert recall.pairs[0].better == 1
    assert pair.difference.regression.value == -1.0
    assert recall.pairs[0].difference is not None
    assert recall.pairs[0].difference.regression.value == pytest.approx(0.1)


def test_what_cannot_be_told_says_how_many_images_would(tmp_path: Path) -> None:
    """0.5 with an error of 0.5 at 100 images needs (1.96 + 0.8416)^2 = 7.849 times as many."""
    one = write(tmp_path / "one", [score("kid", 1.0, 0.3)])
    other = write(tmp_path / "other", [score("kid", 1.5, 0.4)], seed=1)
    (pair,) = compare(one, other).scores[0].pairs
    assert pair.better is None
    assert pair.needed == pytest.approx(785, abs=1)


def test_a_score_that_the_reference_limits_is_not_sent_for_more_images(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [score("recall", 0.5, 0.03, higher=True, n_k=60)])
    other = write(tmp_path / "other", [score("recall", 0.52, 0.03, higher=True, n_k=60)], seed=1)
    assert compare(one, other).scores[0].pairs[0].needed is None


def test_margins_are_held_against_the_oriented_difference() -> None:
    """A recall that is 0.1 lower is a regression of 0.1, with the error of both, 0.02 sqrt 2."""
    one = side("one", [score("recall", 0.5, 0.02, higher=True)])
    other = side("other", [score("recall", 0.6, 0.02, higher=True)], seed=1)
    found = difference_of(one, other, "recall")
    assert found.regression.value == pytest.approx(0.1)
    assert found.regression.bound(0.95, upper=True) == pytest.approx(0.1 + 1.644854 * 0.02 * 2**0.5)
    assert found.p_beyond(0.05) == pytest.approx(0.03855, abs=1e-4)
    assert found.p_within(0.2) == pytest.approx(2.05e-4, abs=1e-5)
    assert found.bound(0.95, upper=False) == pytest.approx(-found.regression.bound(0.95, upper=True))


def test_other_protocols_are_shown_and_not_judged(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [score("kid", 1.0, 0.1)])
    other = write(tmp_path / "other", [score("kid", 2.0, 0.1)], protocol=STEPS)
    found = compare(one, other)
    (pair,) = found.scores[0].pairs
    assert pair.difference is not None
    assert pair.difference.value == -1.0
    assert (pair.better, pair.p_value) == (None, None)
    assert pair.why == "the runs differ in steps 10 and 50"
    assert dict(found.differing) == {"steps": (10, 50)}
    assert not found.conclusive
    tested = compare(one, other, may_differ=["steps"])
    assert tested.scores[0].pairs[0].better == 0
    assert tested.conclusive


def test_other_extractors_have_no_difference_at_all(tmp_path: Path) -> None:
    clip = dataclasses.replace(PROTOCOL, extractor="clip/1")
    one, other = write(tmp_path / "one", [score("kid", 1.0, 0.1)]), tmp_path / "other"
    write(other, [score("kid", 2.0, 0.1)], protocol=clip)
    (pair,) = compare(one, other).scores[0].pairs
    assert pair.difference is None
    assert "extractor digits/1 and clip/1" in pair.why
    with pytest.raises(DiffevalError, match="extractor may not differ: it is what scores are measured with"):
        compare(one, other, may_differ=["extractor"])
    with pytest.raises(DiffevalError, match="unknown setting 'stepps'; did you mean 'steps'"):
        compare(one, other, may_differ=["stepps"])


def test_scores_of_prompts_do_not_ask_for_the_same_reference() -> None:
    """And distances do not ask for the same judge."""
    one = dataclasses.replace(PROTOCOL, judge="clip/1", prompts="p", reference_hash="aa")
    other = dataclasses.replace(PROTOCOL, judge="clip/2", prompts="p", reference_hash="bb")
    assert set(differing(one, other, score("clip_score", 1.0, judge="clip"))) == {"judge"}
    assert set(differing(one, other, score("kid", 1.0))) == {"reference_hash"}
    assert not differing(PROTOCOL, dataclasses.replace(PROTOCOL, task="fid"))


def test_ready_made_images_beside_sampled_ones_differ_in_their_source() -> None:
    ready = dataclasses.replace(
        PROTOCOL, sampler=None, sampler_config={}, steps=None, w=None, labels="as given", rounding=None, dtype=None
    )
    keys = differing(PROTOCOL, ready)
    assert not allowed(keys, PROTOCOL, ready, ["source"])
    assert set(allowed(differing(PROTOCOL, STEPS), PROTOCOL, STEPS, ["source"])) == {"steps"}
    assert named({"w": (1.0, 7.0), "sampler_config": ({"eta": 0.0}, {"eta": 1.0})}) == (
        "w 1 and 7, sampler_config (eta 0.0 and 1.0)"
    )


def test_scores_that_move_with_n_are_compared_at_the_same_n(tmp_path: Path) -> None:
    moving = {"depends_on_n": True}
    one = [score("fid", 5.0, 0.1, n=100, **moving), score("fid", 3.0, 0.1, n=250, **moving)]
    other = [score("fid", 5.4, 0.1, n=100, **moving), score("fid", 4.0, 0.1, n=500, **moving)]
    sides = side("one", one, n=250), side("other", other, n=500)
    found = difference_of(*sides, "fid")
    assert found.counts == (100, 100)
    assert found.value == pytest.approx(-0.4)
    with pytest.raises(
        NoEvidenceError, match="depends on the number of images, and one has it at n=250, other at n=5"
    ):
        difference_of(side("one", one[1:], n=250), sides[1], "fid")


def test_the_values_shown_are_those_that_are_compared(tmp_path: Path) -> None:
    """250 is the largest count of three runs, though two of them have 500."""
    runs = [
        write(
            tmp_path / f"run{place}",
            [
                score("fid", 5.0 + place, 0.1, n=250, depends_on_n=True),
                score("fid", 3.0, 0.1, n=most, depends_on_n=True),
            ],
            seed=place,
            n=most,
        )
        for place, most in enumerate((500, 500, 600))
    ]
    (found,) = compare(*runs).scores
    assert (found.values, found.counts) == ((5.0, 6.0, 7.0), (250, 250, 250))
    assert [pair.difference.values for pair in found.pairs if pair.difference] == [(5.0, 6.0), (5.0, 7.0), (6.0, 7.0)]


def test_unfinished_runs_and_trainings_are_told_apart(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [score("kid", 1.0, 0.1)])
    for name, protocol in (("stopped", PROTOCOL), ("training", None)):
        (tmp_path / name).mkdir()
        state = RunState("fid", "stopped", "0.1.0", "c0ffee", 0, 100, 10, 256, protocol, "2026-01-01")
        RunDirectory(tmp_path / name).save_state(state)
    with pytest.raises(NoEvidenceError, match=r"holds no results yet \(a fid run, stopped\); run its command again"):
        compare(one, tmp_path / "stopped")
    with pytest.raises(DiffevalError, match="is a training; measure what it made"):
        compare(one, tmp_path / "training")


def test_the_same_images_differ_by_exactly_nothing() -> None:
    found = [side(name, [score("precision", 0.9, 0.02, higher=True)]) for name in ("one", "other")]
    assert same_thing(*found)
    apart = difference_of(*found, "precision")
    assert (apart.value, apart.std_error, apart.how) == (0.0, 0.0, "the same images")
    assert apart.p_value == 1.0


def test_the_same_images_cannot_have_two_values(tmp_path: Path) -> None:
    """Measured alike; on another device the last digits may move, and below the error they say nothing."""
    one, other = (write(tmp_path / name, [score("kid", value, 0.1)]) for name, value in (("one", 1.0), ("two", 1.2)))
    with pytest.raises(
        DiffevalError, match=r"one and .*two measured the same images, and have kid 1 and 1\.2; measure"
    ):
        compare(one, other)
    dust = write(tmp_path / "dust", [score("kid", 1.00001, 0.1)])
    assert compare(one, dust).same == ((0, 1),)
    shared = write(tmp_path / "shared", [score("kid", 1.2, 0.1)], ranks=3)
    with pytest.raises(DiffevalError, match="measured the same images"):  # of however many processes
        compare(one, shared)
    newer = write(tmp_path / "newer", [score("kid", 1.2, 0.1)], version="0.2.0")
    assert compare(one, newer).same == ((0, 1),)


def test_results_that_were_edited_are_not_compared(tmp_path: Path) -> None:
    runs = [write(tmp_path / f"run{seed}", [score("kid", 1.0 + seed, 0.1)], seed=seed) for seed in (0, 1)]
    assert difference(*runs, "kid").value == -1.0
    path = runs[1] / "results.json"
    path.write_text(path.read_text().replace('"value": 2.0', '"value": 0.5'))
    for asked in (lambda: difference(*runs, "kid"), lambda: compare(*runs)):
        with pytest.raises(DiffevalError, match=r"^compare: .*was changed after the run wrote it"):
            asked()


def test_a_run_that_never_had_terms_is_not_paired() -> None:
    found = difference_of(
        side("one", [score("kid", 1.0, 0.1)]), side("other", [score("kid", 2.0, 0.1)], seed=1), "kid"
    )
    assert found.how == "independent: one lacks terms.npz"


def test_three_runs_are_ranked_with_ties(tmp_path: Path) -> None:
    """1, 1.1 and 3 with errors of 0.2: the first two are not told apart, the third is worse than both."""
    runs = [
        write(tmp_path / f"run{place}", [score("kid", value, 0.2)], seed=place)
        for place, value in enumerate((3.0, 1.1, 1.0))
    ]
    (found,) = compare(*runs).scores
    assert found.order == (2, 1, 0)
    assert found.ranks == ((3, 3), (1, 2), (1, 2))
    assert found.tied == ("b", "a", "a")
    # Holm: the two large differences have p of 1e-12 times 3 and 2, the small one stands as it is.
    close = next(pair for pair in found.pairs if pair.runs == (1, 2))
    assert close.p_value == pytest.approx(0.7237, abs=1e-4)


def test_one_run_of_another_protocol_leaves_no_ranking(tmp_path: Path) -> None:
    runs = [write(tmp_path / f"run{place}", [score("kid", 1.0, 0.2)], seed=place) for place in range(2)]
    runs.append(write(tmp_path / "steps", [score("kid", 9.0, 0.2)], protocol=STEPS))
    (found,) = compare(*runs).scores
    assert (found.ranks, found.tied) == ((), ())
    assert {pair.runs: bool(pair.why) for pair in found.pairs} == {(0, 1): False, (0, 2): True, (1, 2): True}


def test_better_than_real_images_is_marked(tmp_path: Path) -> None:
    null = Null(0.97, 0.02, 100)
    one = write(tmp_path / "one", [score("density", 1.3, 0.02, higher=True, null=null)])
    other = write(tmp_path / "other", [score("density", 0.99, 0.02, higher=True, null=null)], seed=1)
    assert compare(one, other).scores[0].real == (0.97, None)


def test_checks_stand_beside_each_other_where_they_differ(tmp_path: Path) -> None:
    held = CheckResult("ema", "pass", "fine"), CheckResult("vae", "pass", "fine")
    lost = CheckResult("ema", "fail", "raw weights"), CheckResult("vae", "pass", "fine")
    found = compare(write(tmp_path / "one", checks=held), write(tmp_path / "other", checks=lost))
    assert [one.name for one in found.checks] == ["ema"]
    assert found.agreeing == 1
    assert found.conclusive


def test_a_value_that_could_not_be_computed_is_no_number(tmp_path: Path) -> None:
    lost = Score("kid", None, None, None, 100, None, False, {"error": "too few images"})
    one, other = write(tmp_path / "one", [score("kid", 1.0, 0.1)]), write(tmp_path / "other", [lost], seed=1)
    (found,) = compare(one, other).scores
    assert found.values == (1.0, None)
    assert found.pairs[0].why.endswith("has no value of kid: too few images")


def test_mistakes_are_one_clear_line_each(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [score("kid", 1.0, 0.1)])
    with pytest.raises(DiffevalError, match="got 1 run, needs two or more"):
        compare(one)
    with pytest.raises(DiffevalError, match="one is given twice"):
        compare(one, tmp_path / "." / "one")
    with pytest.raises(DiffevalError, match=r"there is no .*nothing; give the directory of a run"):
        compare(one, tmp_path / "nothing")
    with pytest.raises(DiffevalError, match="is a file; give the directory of a run"):
        compare(one, one / "results.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DiffevalError, match=r"is no run: it holds no results\.json"):
        compare(one, tmp_path / "empty")
    other = write(tmp_path / "other", [score("recall", 1.0, 0.1)])
    with pytest.raises(NoEvidenceError, match=r"no score is in two of the runs: .*one has kid; .*other has recall"):
        compare(one, other)
    with pytest.raises(DiffevalError, match="no score is named; name some, or leave --scores out for all"):
        compare(one, other, scores=[])
    with pytest.raises(DiffevalError, match="none of the runs has a score 'recal'; did you mean 'recall'"):
        compare(one, other, scores=["recal"])
    (other / "terms.npz").write_bytes(b"PK")
    with pytest.raises(DiffevalError, match=r"terms.npz is damaged; run its command again with --fresh"):
        compare(one, other)
    sweep = write(tmp_path / "sweep", [score("kid", 1.0, 0.1)], protocol=dataclasses.replace(PROTOCOL, task="sweep"))
    with pytest.raises(DiffevalError, match="is a sweep; compare its points"):
        compare(one, sweep)


def test_the_document_is_json_and_holds_what_was_found(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [score("kid", 1.0, 0.3), score("recall", 0.5, 0.1, higher=True)])
    other = write(tmp_path / "other", [score("kid", 3.0, 0.4)], {"labels": np.zeros(3)}, seed=1)
    document = comparison_document(diffeval.compare(one, other))
    to_json(document)
    assert document["schema"] == "diffeval.compare/1"
    assert [run["label"] for run in document["runs"]] == ["A", "B"]
    (found,) = document["scores"]
    assert found["pairs"][0]["better"] == "A"
    assert found["pairs"][0]["difference"]["value"] == -2.0
    assert document["only_in"] == {"recall": "A"}
    assert document["scores_expected_to_differ_by_chance"] == pytest.approx(0.05)


def test_labels_go_on_after_z() -> None:
    assert [label(place) for place in (0, 25, 26, 51, 52)] == ["A", "Z", "AA", "AZ", "BA"]
