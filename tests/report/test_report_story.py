"""What a page is about: names, runs that are unfinished, moved, damaged or changed, and who is judged with whom."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from report_records import score, write_run

from diffeval.errors import DiffevalError
from diffeval.gate.evidence import read_runs
from diffeval.gate.promote import promote
from diffeval.gate.reading import find_gate
from diffeval.report.compose import compose
from diffeval.report.judged import read_story
from diffeval.report.names import listed, trailing_number
from diffeval.report.page import render, report
from diffeval.report.story import Story, read_told
from diffeval.report.view import Cards, Note
from diffeval.runs.directory import RunDirectory
from diffeval.runs.records import CheckResult

LIMIT = '[[rule]]\nscore = "fid"\nmax = 5\n'


def _story(*runs: Path, gate: Path | None = None, baseline: tuple[Path, ...] = ()) -> Story:
    return read_story(runs, gate=gate, baseline=baseline)


def _gate(folder: Path, text: str = LIMIT) -> Path:
    path = folder / "gate.toml"
    path.write_text(text)
    return path


def _edit(run: Path) -> None:
    """What somebody would do who wants a better number."""
    path = run / "results.json"
    document = json.loads(path.read_text())
    document["scores"][0]["value"] = 0.5
    path.write_text(json.dumps(document))


def test_runs_are_called_by_what_tells_them_apart(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "a", [score("fid", 1.0)], w=1.0),
        write_run(tmp_path / "b", [score("fid", 1.0)], w=7.0),
        write_run(tmp_path / "c", [score("fid", 1.0)], checkpoint="other", sha="ef" * 32),
    ]
    assert [one.name for one in read_told(runs)] == ["model · w=1", "model · w=7", "other"]


def test_a_checkpoint_called_by_a_number_has_its_training_before_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [score("fid", 1.0)], checkpoint="000200", path="out/train/steps/000200")
    (told,) = read_told([run])
    assert told.subject == "train/000200"
    assert told.spec == "out/train/steps/000200", "commands take the folder"


def test_commands_take_the_checkpoint_as_it_was_typed(tmp_path: Path) -> None:
    typed = ("diffeval", "eval", "--n", "9", "images:my folder/faces.npz")
    run = write_run(
        tmp_path / "a", [score("fid", 1.0)], checkpoint="faces", path="my folder/faces.npz", command=typed,
        sampler=None,
    )  # fmt: skip
    (told,) = read_told([run])
    assert told.spec == "images:my folder/faces.npz"
    assert "diffeval check 'images:my folder/faces.npz'" in dict(compose(_story(run)).missing).values()


def test_many_names_are_counted() -> None:
    assert listed(["a", "b", "a"]) == "a, b"
    assert listed("abcdef") == "a, b, c and 3 more"
    assert trailing_number("checkpoint-5000") == ("checkpoint-", 5000)
    assert trailing_number("epoch12.pt") == ("epoch", 12)
    assert trailing_number("final") is None


def test_a_run_that_is_given_twice_is_one_line(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [score("fid", 1.0)])
    with pytest.raises(DiffevalError, match="is given twice"):
        read_told([run, tmp_path / "b" / ".." / "a"])


def test_a_run_that_has_only_begun_is_shown_where_there_is_anything_to_show(tmp_path: Path) -> None:
    bare = write_run(tmp_path / "bare", status="running", results=False)
    with pytest.raises(DiffevalError, match=r"has no results yet \(it is running\)"):
        read_told([bare])
    page = compose(_story(write_run(tmp_path / "a", status="running", results=False, grid=True)))
    assert page.notices == ("a is running: what follows is what there is so far.",)
    assert page.banners[0].word == "NO GATE"


def test_a_run_that_has_only_begun_is_no_checkpoint_in_a_command(tmp_path: Path) -> None:
    begun = write_run(tmp_path / "a", status="stopped", results=False, grid=True)
    page = compose(_story(begun))
    assert dict(page.missing)["Scores"] == "diffeval eval CHECKPOINT --n 10000"


def test_commands_that_fill_a_section_read_and_measure_as_the_run_did(tmp_path: Path) -> None:
    typed = (
        "python",
        "-m",
        "diffeval",
        "eval",
        "--model",
        "net.py:make",
        "w.pt",
        "--raw",
        "--n",
        "9",
        "--extractor=a.b:c",
    )
    run = write_run(
        tmp_path / "a", [score("fid", 1.0)], checkpoint="w.pt", path="w.pt", command=(*typed, "--ref", "folder:a b"),
        prompts="somebody's",
    )  # fmt: skip
    missing = dict(compose(_story(run)).missing)
    measured = "--model net.py:make --raw --extractor=a.b:c --ref 'folder:a b'"
    assert missing["Mode coverage"] == f"diffeval coverage w.pt --n 5000 {measured}"
    assert missing["Health checks"] == "diffeval check w.pt --model net.py:make --raw --ref 'folder:a b'"
    assert missing["Text"] == f"diffeval clip w.pt --prompts prompts.txt {measured}"
    assert missing["Side by side"] == f"diffeval report {tmp_path / 'a'} OTHER_RUN -o report.html"


def test_of_ready_made_images_all_are_measured_and_nothing_is_swept(tmp_path: Path) -> None:
    typed = ("diffeval", "fid", "images:faces", "--ref", "folder:real")
    made = {"sampler": None, "sampler_config": {}, "steps": None, "w": None}
    run = write_run(tmp_path / "a", [score("fid", 1.0)], checkpoint="faces", path="faces", command=typed, **made)
    missing = dict(compose(_story(run)).missing)
    assert missing["Mode coverage"] == "diffeval coverage images:faces --ref folder:real"
    assert not {"Guidance sweep", "Steps and samplers"} & set(missing)


def test_a_run_that_lost_its_results_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [score("fid", 1.0)], grid=True)
    (run / "results.json").unlink()
    assert compose(_story(run)).notices == (
        "a has lost its results: results.json is gone. Its first images are all that is left.",
    )


@pytest.mark.parametrize("status", ["running", "stopped", "failed"])
def test_a_run_that_is_not_finished_never_passes(tmp_path: Path, status: str) -> None:
    """Its numbers may be those of fewer images than were asked for; ``diffeval gate`` refuses it, too."""
    run = write_run(tmp_path / "a", [score("fid", 1.0, 0.01)], status=status)
    (judged,) = _story(run, gate=_gate(tmp_path)).verdicts
    assert judged.verdict.status == "no-evidence"
    assert judged.verdict.sentence == f"gate: {run} is not finished, it is {status}; run its command again"


def test_a_moved_run_reads_the_same(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [score("fid", 1.0, 0.1)], grid=True)
    before = compose(_story(run)).banners
    shutil.move(run, tmp_path / "moved")
    page = compose(_story(tmp_path / "moved"))
    assert (page.banners, page.notices) == (before, ())


def test_a_damaged_file_is_named_and_the_rest_is_drawn(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [score("fid", 1.0, 0.1)], grid=True)
    (run / "grid.npz").write_bytes((run / "grid.npz").read_bytes()[:100])
    page = compose(_story(run))
    assert page.notices == (
        "model: grid.npz is damaged, and what it holds is not shown; run its command again with --fresh.",
    )
    assert "scores" in [one.id for one in page.sections]


def test_arrays_of_another_shape_are_said_and_the_rest_is_drawn(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [score("fid", 1.0, 0.1)], [CheckResult("trajectory", "pass", "fine")], grid=True)
    for name in ("grid", "pictures_trajectory"):
        RunDirectory(run).save_arrays(name, {"images": np.zeros((3, 3)), "counts": np.zeros(2)})
    page = compose(_story(run))
    said = [block for one in page.sections for block in one.blocks if isinstance(block, Note) and block.tone == "warn"]
    assert {one.strong for one in said} == {"model", "This section could not be drawn."}
    assert any(isinstance(block, Cards) for one in page.sections for block in one.blocks)


def test_images_of_complex_numbers_are_said(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [score("fid", 1.0, 0.1)], grid=True)
    RunDirectory(run).save_arrays("grid", {"images": np.zeros((4, 1, 8, 8), dtype=np.complex64)})
    text = report([run], tmp_path / "page.html").read_text()
    assert "an image is uint8 [1 or 3, H, W], got complex64 (1, 8, 8)" in text


def test_changed_results_are_drawn_and_said_and_never_judged(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [score("fid", 9.0, 0.1)])
    other = write_run(tmp_path / "b", [score("fid", 9.0, 0.1)], seed=1)
    _edit(run)
    alone = compose(_story(run))
    assert (alone.banners[0].status, alone.banners[0].word) == ("error", "CHANGED")
    assert "was changed after it was written" in alone.notices[0]
    judged = _story(run, gate=_gate(tmp_path))
    assert [one.verdict.status for one in judged.verdicts] == ["error"], "0.5 would pass"
    beside = _story(run, baseline=(other,))
    (section,) = [one for one in compose(beside).sections if one.id == "scores"]
    assert not any(card.change for block in section.blocks if isinstance(block, Cards) for card in block.cards)


def test_terms_of_another_run_are_a_change_too(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [score("fid", 1.0, 0.1)])
    shutil.copy(write_run(tmp_path / "b", [score("fid", 1.0, 0.1, 500)]) / "terms.npz", run / "terms.npz")
    (told,) = read_told([run])
    assert told.side is None
    assert "is not the file that the results were written with" in told.changed


def test_a_changed_baseline_is_refused_in_one_line(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [score("fid", 9.0, 0.1)])
    other = write_run(tmp_path / "b", [score("fid", 9.0, 0.1)], seed=1)
    _edit(other)
    with pytest.raises(DiffevalError, match="was changed after the run wrote it"):
        _story(run, baseline=(other,))


def test_the_banner_says_which_images_and_against_what(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [score("fid", 1.0, 0.1)], step=400)
    base = write_run(tmp_path / "b", [score("fid", 1.0, 0.1)], checkpoint="old", sha="ef" * 32)
    (banner,) = compose(_story(run, gate=_gate(tmp_path), baseline=(base,))).banners
    assert (banner.status, banner.word, banner.about) == ("pass", "PASS", "model")
    assert banner.sentence == "Every rule passes (1)."
    assert banner.detail == (
        "checkpoint abababab · training step 400 · n=1,000 · seed 0, images 0 to 999 · measured 2026-11-20 · "
        "against old efefefef, 2026-11-20"
    )


def test_evaluations_of_one_checkpoint_are_judged_one_by_one_with_its_checks(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "good", [score("fid", 1.0, 0.1)]),
        write_run(tmp_path / "bad", [score("fid", 9.0, 0.1)], w=7.0),
        write_run(tmp_path / "check", checks=[CheckResult("ema", "pass", "fine")], task="check"),
    ]
    story = _story(*runs, gate=_gate(tmp_path, LIMIT + '[[rule]]\ncheck = "ema"\n'))
    assert [(one.first.name, one.verdict.status) for one in story.verdicts] == [
        ("model · eval · w=1", "pass"),
        ("model · eval · w=7", "fail"),
    ]
    assert all(len(one.runs) == 2 for one in story.verdicts)


def test_a_gate_that_passes_says_which_failing_checks_no_rule_looks_at(tmp_path: Path) -> None:
    checks = [CheckResult(name, "fail", "it is broken") for name in ("determinism", "memorization")]
    run = write_run(tmp_path / "a", [score("fid", 1.0, 0.01)], checks)
    page = compose(_story(run, gate=_gate(tmp_path)))
    assert (page.banners[0].status, page.banners[0].sentence) == (
        "pass",
        "Every rule passes (1). No rule looks at a health check that fails: determinism, memorization.",
    )
    named = _gate(tmp_path, f'{LIMIT}[[rule]]\ncheck = "determinism"\n[[rule]]\ncheck = "memorization"\n')
    (banner,) = compose(_story(run, gate=named)).banners
    assert (banner.status, "No rule" in banner.sentence) == ("fail", False)


def test_a_baseline_ages_to_the_day_that_a_reproducible_build_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "a", [score("fid", 1.0, 0.01)])
    base = write_run(tmp_path / "b", [score("fid", 1.0, 0.01)], seed=1, sha="ef" * 32)  # begun on 20 November 2026
    gate = _gate(tmp_path, '[baseline]\nmax_age_days = 30\n[[rule]]\nscore = "fid"\nmax_regression = { abs = 1 }\n')

    def status(day: datetime) -> str:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int(day.timestamp())))
        (judged,) = _story(run, gate=gate, baseline=(base,)).verdicts
        return judged.verdict.status

    assert status(datetime(2026, 12, 1, tzinfo=UTC)) == "pass"
    assert status(datetime(2027, 1, 1, tzinfo=UTC)) == "no-evidence"
    for wrong in ("yesterday", "9" * 30):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
        with pytest.raises(DiffevalError, match="report: SOURCE_DATE_EPOCH needs seconds since 1970, got"):
            _story(run, gate=gate, baseline=(base,))


def test_a_page_with_a_promoted_baseline_is_the_same_on_another_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "a", [score("fid", 1.0, 0.01)])
    gate = _gate(tmp_path)
    promote(read_runs([run]), tmp_path / "main.json", gate=find_gate(gate), baseline=None)
    pages = []
    for day in ("1900000000", "2000000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", day)
        pages.append(render(compose(_story(run, gate=gate, baseline=(tmp_path / "main.json",)))))
    assert pages[0] == pages[1]


def test_the_baseline_itself_is_not_judged(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [score("fid", 1.0, 0.1)])
    story = _story(run, gate=_gate(tmp_path), baseline=(run,))
    assert story.verdicts == ()
    assert compose(story).banners[0].word == "NOT JUDGED"
