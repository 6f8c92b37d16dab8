"""Whose a block is: said where one could ask, and nowhere else."""

from pathlib import Path

from report_records import score, write_run

from diffeval.report.compose import compose
from diffeval.report.judged import read_story
from diffeval.report.story import Story
from diffeval.report.view import Heading, Page
from diffeval.runs.records import CheckResult

PASSED = CheckResult("determinism", "pass", "equal calls are equal")


def _story(*runs: Path) -> Story:
    return read_story(list(runs), gate=None, baseline=())


def _headings(page: Page, name: str) -> list[str]:
    (section,) = (one for one in page.sections if one.id == name)
    return [block.title for block in section.blocks if isinstance(block, Heading)]


def test_a_section_that_one_run_of_the_only_checkpoint_fills_names_none(tmp_path: Path) -> None:
    scored = write_run(tmp_path / "a", [score("fid", 1.0)])
    checked = write_run(tmp_path / "b", checks=[PASSED], task="check")
    page = compose(_story(scored, checked))
    assert _headings(page, "checks") == []
    assert _headings(page, "protocol") == ["model · eval", "model · check"]


def test_of_several_checkpoints_each_is_named_even_where_one_alone_has_something(tmp_path: Path) -> None:
    scored = write_run(tmp_path / "a", [score("fid", 1.0)])
    checked = write_run(tmp_path / "b", checks=[PASSED], sha="ef" * 32, checkpoint="other", task="check")
    assert _headings(compose(_story(scored, checked)), "checks") == ["other"]


def test_a_step_that_one_run_knows_is_that_of_all_runs_of_its_checkpoint(tmp_path: Path) -> None:
    scored = write_run(tmp_path / "a", [score("fid", 1.0)], step=400)
    checked = write_run(tmp_path / "b", checks=[PASSED], task="check")
    assert [one.name for one in _story(scored, checked).runs] == ["model · eval", "model · check"]


def test_a_command_that_made_several_runs_stands_once_with_all_their_names(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", [score("fid", 1.0)], command=("diffeval", "demo"))
    second = write_run(tmp_path / "b", checks=[PASSED], task="check", command=("diffeval", "demo"))
    (section,) = (one for one in compose(_story(first, second)).sections if one.id == "reproduce")
    commands = section.blocks[0].commands  # type: ignore[union-attr]
    assert [about for about, text in commands if text == "diffeval demo"] == ["model · eval, model · check"]


def test_a_baseline_that_is_a_run_of_the_page_is_drawn_once(tmp_path: Path) -> None:
    new = write_run(tmp_path / "a", [score("fid_debiased", 1.0, 0.1)])
    old = write_run(tmp_path / "b", [score("fid_debiased", 2.0, 0.1)], sha="ef" * 32, checkpoint="old")
    beside = read_story([new, old], gate=None, baseline=[str(old)])
    assert [one.name for one in beside.compared] == ["model", "old"]
    apart = read_story([new], gate=None, baseline=[str(old)])
    assert [one.name for one in apart.compared] == ["model", "old"]
