"""Runs beside the baseline and beside each other: what is told apart, what does not compare, and training steps."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from report_records import score, write_run

from diffeval.report.changes import signed
from diffeval.report.judged import read_story
from diffeval.report.sections.compare import compare
from diffeval.report.sections.protocol import protocol
from diffeval.report.sections.reproduce import reproduce
from diffeval.report.sections.scores import scores, titles
from diffeval.report.sections.warnings import warnings
from diffeval.report.story import Story, read_told
from diffeval.report.training_steps import places_of
from diffeval.report.view import Block, Card, Cards, Commands, Facts, Figure, Mark, Note, Rows
from diffeval.runs.records import CheckResult


def _story(*runs: Path, baseline: Sequence[Path] = (), gate: Path | None = None) -> Story:
    return read_story(runs, gate=gate, baseline=baseline)


def _cards(story: Story) -> dict[str, Card]:
    return {card.name: card for block in scores(story) if isinstance(block, Cards) for card in block.cards}


def _rows(blocks: Iterable[Block], title: str) -> Rows:
    (found,) = [one for one in blocks if isinstance(one, Rows) and one.title == title]
    return found


def test_cards_say_whether_a_score_is_told_from_the_baseline(tmp_path: Path) -> None:
    # Independent errors 0.03 and 0.04: 0.05 of the difference, and 1.96 x 0.05 = 0.098 to either side.
    ours = [score("fid", 1.2, 0.03), score("kid", 1.0, 0.03), score("recall", 0.9, 0.03)]
    theirs = [score("fid", 1.0, 0.04), score("kid", 1.05, 0.04), score("recall", 0.7, 0.04)]
    run, base = write_run(tmp_path / "a", ours), write_run(tmp_path / "b", theirs, seed=1)
    cards = _cards(_story(run, baseline=[base]))
    assert {name: card.change for name, card in cards.items()} == {
        "fid": Mark("worse", "worse, +0.2"),
        "kid": Mark("same", "not told apart, −0.05"),
        "recall": Mark("better", "better, +0.2"),
    }
    assert cards["fid"].detail[:2] == ("difference +0.102 .. +0.298 (95%)", "baseline 1")


def test_the_same_images_are_the_same(tmp_path: Path) -> None:
    one, copy = (write_run(tmp_path / name, [score("fid", 1.2, 0.03)]) for name in "ab")
    assert _cards(_story(one, baseline=[copy]))["fid"].change == Mark("same", "the same as the baseline")
    assert _cards(_story(one, baseline=[one]))["fid"].change is None, "nothing is held against itself"
    assert _cards(_story(one))["fid"].change is None


def test_another_protocol_gets_its_settings_and_no_number(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [score("fid", 1.2, 0.03)], w=7.0)
    base = write_run(tmp_path / "b", [score("fid", 1.0, 0.04)])
    card = _cards(_story(run, baseline=[base]))["fid"]
    assert card.change == Mark("not-applicable", "other protocol: w 7 and 1")
    assert not any(line.startswith("difference") for line in card.detail)
    rows = _rows(protocol(_story(run, baseline=[base])), "What differs from the baseline").rows
    assert [row[:3] for row in rows] == [("w", "7", "1")]
    assert rows[0][3] == Mark("warn", "not compared, unless a gate file allows it (may_differ)")


def test_what_the_gate_file_lets_differ_is_compared(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [score("fid", 1.2, 0.03)], w=7.0)
    base = write_run(tmp_path / "b", [score("fid", 1.0, 0.04)], seed=1)
    gate = tmp_path / "gate.toml"
    gate.write_text('[protocol]\nmay_differ = ["w"]\n[[rule]]\nscore = "fid"\nmax = 2\n')
    story = _story(run, baseline=[base], gate=gate)
    assert _cards(story)["fid"].change == Mark("worse", "worse, +0.2")
    rows = _rows(protocol(story), "What differs from the baseline").rows
    assert [(row[0], row[3]) for row in rows] == [
        ("w", Mark("pass", "compared: the gate file lets it differ")),
        ("seed", Mark("pass", "compared; other seeds are independent images")),
    ]


def test_what_scores_are_measured_with_can_never_differ(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [score("fid", 1.2, 0.03)], extractor="inception/1")
    base = write_run(tmp_path / "b", [score("fid", 1.0, 0.04)])
    rows = _rows(protocol(_story(run, baseline=[base])), "What differs from the baseline").rows
    assert rows[0][3] == Mark("fail", "not comparable: it is what scores are measured with")


def test_runs_that_are_alike_are_said_to_be(tmp_path: Path) -> None:
    one, copy = (write_run(tmp_path / name, [score("fid", 1.2, 0.03)]) for name in "ab")
    notes = [block for block in protocol(_story(one, baseline=[copy])) if isinstance(block, Note)]
    assert [note.strong for note in notes] == ["All alike."]


def test_a_score_that_the_number_of_images_moves_needs_the_same_n(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [score("recall", 0.7, 0.03, 300, depends_on_n=True)])
    base = write_run(tmp_path / "b", [score("recall", 0.7, 0.03, 1000, depends_on_n=True)])
    card = _cards(_story(run, baseline=[base]))["recall"]
    assert card.change == Mark("none", "the baseline has another n")


def test_scores_stand_by_what_they_measure(tmp_path: Path) -> None:
    names = ("recall", "own_score", "fid", "class_accuracy", "fid_debiased", "precision", "mode_coverage")
    (told,) = read_told([write_run(tmp_path / "a", [score(name, 1.0, 0.1) for name in names])])
    assert told.results is not None
    assert titles(told.results) == [
        "fid_debiased", "fid", "recall", "precision", "class_accuracy", "mode_coverage", "own_score"
    ]  # fmt: skip


def test_differences_have_a_sign_and_three_digits() -> None:
    assert [signed(value) for value in (0.123456, -0.5, 0.0)] == ["+0.123", "−0.5", "0"]


def test_two_runs_are_a_table_of_differences(tmp_path: Path) -> None:
    one = write_run(tmp_path / "a", [score("fid", 1.2, 0.03), score("kid", 1.0, 0.03)], checkpoint="new")
    other = write_run(
        tmp_path / "b", [score("fid", 1.0, 0.04), score("kid", 1.0, 0.04)], seed=1, checkpoint="old", sha="ef" * 32
    )
    table = _rows(compare(_story(one, other)), "Every score by run")
    assert table.columns == ("score", "what is proven", "difference", "A new", "B old")
    space = "\N{NO-BREAK SPACE}"
    assert table.rows[0][:3] == ("fid", Mark("better", "B is better"), f"+0.2 (+0.102{space}..{space}+0.298)")
    assert table.rows[1][1] == Mark("same", "not told apart")


def test_three_runs_share_letters_where_they_are_not_told_apart(tmp_path: Path) -> None:
    # 1.0 and 1.1 are two errors of 0.05 apart, and not told apart after Holm; 9 is worse than both.
    runs = [
        write_run(tmp_path / name, [score("fid", value, 0.05)], seed=seed, sha=sha * 32, checkpoint=name)
        for name, value, seed, sha in (("x", 1.1, 1, "aa"), ("y", 9.0, 2, "bb"), ("z", 1.0, 3, "cc"))
    ]
    table = _rows(compare(_story(*runs)), "Every score by run")
    assert table.rows[0][:2] == ("fid", "best: C or A; 2 of 3 pairs told apart")
    cells = table.rows[0][2:]
    assert [cell.status if isinstance(cell, Mark) else "" for cell in cells] == ["better", "", "better"]
    assert [(cell.text if isinstance(cell, Mark) else cell).split(" ")[:2] for cell in cells] == [
        ["1.1", "a"],
        ["9", "b"],
        ["1", "a"],
    ]


def test_pairs_that_compare_are_judged_beside_one_that_does_not(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / name, [score("fid", value, 0.05)], seed=seed, sha=sha * 32, checkpoint=name, w=w)
        for name, value, seed, sha, w in (("x", 1.1, 1, "aa", 1.0), ("y", 9.0, 2, "bb", 1.0), ("z", 1.0, 3, "cc", 2.0))
    ]
    blocks = compare(_story(*runs))
    assert _rows(blocks, "Every score by run").rows[0][1] == "A before B"
    assert any(isinstance(one, Note) and one.text == "A x and C z differ in w 1 and 2." for one in blocks)


def test_checkpoints_of_one_training_stand_at_their_steps(tmp_path: Path) -> None:
    runs = [
        write_run(
            tmp_path / f"run{step}", [score("fid", value, 0.1, null=0.05)], checkpoint=path.split("/")[-1], path=path,
            step=step, sha=f"{step % 97:02x}" * 32,
        )
        for path, step, value in (("t", 600, 1.0), ("t/steps/000200", 200, 3.0), ("t/steps/000400", 400, 2.0))
    ]  # fmt: skip
    places = places_of(read_told(runs))
    assert (places.title, places.at, places.steps) == ("training step", (600, 200, 400), True)
    figure = next(iter(compare(_story(*runs))))
    assert isinstance(figure, Figure)
    assert figure.sentence.startswith(
        "fid goes from 3 at training step 200 to 1 at 600; 1 of 1 scores end with a better"
    )
    assert '"x": [200, 400, 600], "y": [3.0, 2.0, 1.0]' in figure.json, "in the order of training"
    assert _rows(compare(_story(*runs)), "Every score by run").columns[2:] == ("step 600", "step 200", "step 400")


@pytest.mark.parametrize(
    ("paths", "steps", "title"),
    [
        (("m/checkpoint-500", "m/checkpoint-1000"), (None, None), "step, as the checkpoints' names say"),
        (("m/epoch5.pt", "m/epoch10.pt"), (None, None), "epoch, as the checkpoints' names say"),
        (("m/one/checkpoint-500", "m/two/checkpoint-1000"), (None, None), ""),
        (("out/one", "out/two"), (400, 600), ""),
        (("m/v1-final", "m/v2-final"), (None, None), ""),
        (("out/t/steps/200", "out/t"), (200, None), ""),
    ],
)
def test_steps_are_those_of_one_training_or_none(
    tmp_path: Path, paths: tuple[str, str], steps: tuple[int | None, int | None], title: str
) -> None:
    runs = [
        write_run(tmp_path / str(place), [score("fid", 1.0, 0.1)], checkpoint=Path(path).name, path=path, step=step)
        for place, (path, step) in enumerate(zip(paths, steps, strict=True))
    ]
    places = places_of(read_told(runs))
    assert places.title == title
    assert places.steps is bool(title)
    if not title:
        assert places.at == ("A", "B")


def test_runs_of_other_settings_are_hollow_and_never_called_best(tmp_path: Path) -> None:
    # The guided run reads lowest by far, and measures something else; of the two alike the second reads lower.
    values = {"a": (1.0, 1.0), "b": (0.9, 1.0), "c": (0.1, 7.0)}
    runs = [
        write_run(tmp_path / name, [score("fid", value, 0.03)], w=w, sha=name * 64, checkpoint=f"model-{name}")
        for name, (value, w) in values.items()
    ]
    (figure,) = [one for one in compare(_story(*runs)) if isinstance(one, Figure)]
    assert figure.sentence.startswith("fid reads lowest, which is better, for B: 0.9 (")
    assert "Hollow marks are runs of other settings, which do not compare with the full ones: C." in figure.sentence
    traces = [one for one in json.loads(figure.json)["data"] if one["mode"] == "markers"]
    assert [(one["x"], one["marker"].get("symbol", "circle")) for one in traces] == [
        (["A", "B"], "circle"),
        (["C"], "circle-open"),
    ]


def test_no_line_leads_to_a_checkpoint_of_other_settings(tmp_path: Path) -> None:
    runs = [
        write_run(
            tmp_path / str(step), [score("fid", value, 0.1)], sha=f"{step:064d}", checkpoint=f"step-{step}",
            path=f"out/step-{step}", steps=steps,
        )
        for step, value, steps in ((100, 3.0, 10), (200, 2.0, 10), (300, 0.5, 50))
    ]  # fmt: skip
    (figure,) = [one for one in compare(_story(*runs)) if isinstance(one, Figure)]
    assert figure.sentence.startswith("fid goes from 3 at step, as the checkpoints' names say 100 to 2 at 200; 1 of 1")
    assert "do not compare with the full ones: step 300." in figure.sentence
    lines = [one["x"] for one in json.loads(figure.json)["data"] if one["mode"] == "lines+markers"]
    assert lines == [[100, 200], [300]]


def test_ready_made_images_beside_sampled_ones_differ_in_that_alone(tmp_path: Path) -> None:
    made = {"sampler_config": {}, "steps": None, "w": None, "labels": "as given", "rounding": None, "dtype": None}
    ours = write_run(tmp_path / "a", [score("fid", 1.2, 0.03)], sampler=None, **made)
    base = write_run(tmp_path / "b", [score("fid", 1.0, 0.04)])
    story = _story(ours, baseline=[base])
    assert _cards(story)["fid"].change == Mark(
        "not-applicable", "other protocol: source (ready-made images and sampled ones)"
    )
    rows = _rows(protocol(story), "What differs from the baseline").rows
    assert [row[:3] for row in rows] == [("source", "ready-made images", "sampled ones")]
    assert rows[0][3] == Mark("warn", "not compared, unless a gate file allows it (may_differ)")


def test_checks_are_held_against_no_baseline(tmp_path: Path) -> None:
    """Checks have no extractor: beside a baseline of scores that is no difference."""
    passed = CheckResult("determinism", "pass", "equal")
    run = write_run(tmp_path / "a", checks=[passed], task="check", extractor=None, resize=None)
    base = write_run(tmp_path / "b", [score("fid", 1.0, 0.04)])
    assert not [
        one
        for one in protocol(_story(run, baseline=[base]))
        if isinstance(one, Rows) and one.title == "What differs from the baseline"
    ]


def test_checks_that_end_otherwise_are_a_matrix(tmp_path: Path) -> None:
    good = [
        CheckResult("ema", "pass", "fine"),
        CheckResult("vae", "pass", "fine"),
        CheckResult("untrained", "pass", ""),
    ]
    bad = [CheckResult("ema", "fail", "broken"), CheckResult("vae", "pass", "fine")]
    runs = [
        write_run(tmp_path / "a", checks=good, checkpoint="good"),
        write_run(tmp_path / "b", checks=bad, checkpoint="bad", sha="ef" * 32),
    ]
    table = _rows(compare(_story(*runs)), "Checks that did not end alike")
    assert table.columns == ("check", "good", "bad")
    assert table.rows == (("ema", Mark("pass", "pass"), Mark("fail", "fail")),)
    assert table.sentence == "1 of 2 checks ended alike. 1 were made of one checkpoint alone."


def test_one_run_has_nothing_beside_it(tmp_path: Path) -> None:
    assert compare(_story(write_run(tmp_path / "a", [score("fid", 1.0, 0.1)]))) == []


def test_commands_are_quoted_and_versions_are_what_pip_takes(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "my run", [score("fid", 1.0, 0.1)], command=("__main__.py", "eval", "my model", "--n", "1000"),
        versions={"python": "3.11.7", "torch": "2.15.0+cu130", "diffeval": "0.1.0", "scipy": "missing"},
    )  # fmt: skip
    commands = next(block for block in reproduce(_story(run)) if isinstance(block, Commands))
    assert commands.commands == (
        ("the versions, on Python 3.11.7", "pip install diffeval==0.1.0 torch==2.15.0"),
        ("model", "python -m diffeval eval 'my model' --n 1000"),
        ("this page", f"diffeval report '{run}' -o report.html"),
    )


@pytest.mark.parametrize(("ranks", "machine"), [(1, "cpu, 1 thread, "), (3, "cpu, 3 ranks of 1 thread, ")])
def test_what_made_the_images_is_told(ranks: int, machine: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [score("fid", 1.0, 0.1)], ranks=ranks)
    (origin,) = (block for block in reproduce(_story(run)) if isinstance(block, Facts))
    assert dict(origin.rows)["machine"].startswith(machine)
    (known,) = (
        block for block in protocol(_story(run)) if isinstance(block, Facts) and block.title.startswith("Provenance")
    )
    assert dict(known.rows)["ranks"] == str(ranks)


def test_the_command_of_the_page_names_gate_and_baseline(tmp_path: Path) -> None:
    run, base = (write_run(tmp_path / name, [score("fid", 1.0, 0.1)], seed=len(name)) for name in ("a", "bb"))
    gate = tmp_path / "gate.toml"
    gate.write_text('[[rule]]\nscore = "fid"\nmax = 2\n')
    commands = next(one for one in reproduce(_story(run, baseline=[base], gate=gate)) if isinstance(one, Commands))
    assert commands.commands[-1][1] == f"diffeval report {run} --gate {gate} --baseline {base} -o report.html"


def test_warnings_are_one_list(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "a", [score("fid", 9.0, 0.1, biased=True), score("kid", None, error="too few images")],
        warnings=["5 of 10 classes are bad"], status="stopped",
    )  # fmt: skip
    (table,) = warnings(_story(run))
    assert isinstance(table, Rows)
    assert table.rows == (
        (Mark("warn", "stopped"), "it is not finished: its numbers are of what there is so far"),
        (Mark("warn", "warning"), "5 of 10 classes are bad"),
        (Mark("warn", "not computed"), "kid at n=1,000: too few images"),
        (Mark("warn", "biased"), "fid at n=1,000 reads too high by its own bias; see fid_debiased"),
    )
    assert warnings(_story(write_run(tmp_path / "b", [score("fid", 9.0, 0.1)]))) == []
