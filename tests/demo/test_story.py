"""The demo at sizes of a test: one story, told once; then what becomes of it when it is told again."""

import shutil
from importlib import import_module
from pathlib import Path

import pytest

import diffeval
from diffeval.demo.quiet import WithoutNotes
from diffeval.demo.sizes import FULL, NAMED, SHORT, Sizes
from diffeval.demo.story import STAGES, Clock, Demo, tell
from diffeval.demo.twin import SILENCED
from diffeval.errors import StoppedError
from diffeval.progress import SilentReporter

Heard = list[tuple[str, str]]


def _section(name: str) -> str:
    return f'id="{name}"'


def test_one_page_tells_all_of_it(told: tuple[Demo, Heard]) -> None:
    demo, _ = told
    page = demo.page.read_text(encoding="utf-8")
    assert "<title>digits, broken-twin" in page
    for section in ("gate", "scores", "samples", "fid", "modes", "sweep-cfg", "checks"):
        assert _section(section) in page, section
    assert demo.verdicts[1].sentence in page


def test_the_page_is_there_after_the_first_scores_and_grows(told: tuple[Demo, Heard]) -> None:
    _, heard = told
    pages = {line.strip()[:3]: page for line, page in heard if line.startswith("\n")}
    assert not pages["1/7"]
    assert _section("scores") in pages["2/7"]
    assert _section("checks") not in pages["2/7"]
    assert _section("checks") in pages["4/7"]
    assert _section("sweep-cfg") not in pages["4/7"]
    assert sum("demo.html is drawn anew" in line for line, _ in heard) == 4


def test_the_twin_fails_with_its_cause_and_the_schedule_is_not_blamed(told: tuple[Demo, Heard]) -> None:
    demo, heard = told
    runs = {Path(one.run).name: one for one in demo.runs}
    assert {one.name: one.status for one in runs["model-checks"].checks} == dict.fromkeys(NAMED, "pass")
    found = {one.name: one for one in runs["twin-checks"].checks}
    assert found["timestep-embedding"].status == "fail"
    assert SILENCED in found["timestep-embedding"].fix
    assert found["noise-schedule"].status == "inconclusive"
    assert any(SILENCED in line for line, _ in heard)


def test_the_gate_names_it_too_and_lets_the_model_pass(told: tuple[Demo, Heard]) -> None:
    demo, _ = told
    model, twin = demo.verdicts
    assert model.status == "pass", model.sentence
    assert twin.status == "fail"
    assert "timestep-embedding" in twin.sentence
    again = diffeval.gate([demo.runs[0].run, demo.runs[1].run], config=demo.gate)
    assert again.outcomes == model.outcomes


def test_a_finished_demo_measures_nothing(
    told: tuple[Demo, Heard], tiny_demo: Sizes, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo, _ = told
    _nothing_is_measured(monkeypatch)
    again = tell(tiny_demo, demo.gate.parent, demo.page, say=lambda text: None)
    assert [one.scores for one in again.runs] == [one.scores for one in demo.runs]
    assert [one.outcomes for one in again.verdicts] == [one.outcomes for one in demo.verdicts]
    assert demo.computed
    assert not again.computed


def test_a_stopped_demo_goes_on_where_it_was(
    told: tuple[Demo, Heard], tiny_demo: Sizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run is whole, and stays as it is; the stop comes before the second stage."""
    demo, _ = told
    shutil.copytree(demo.runs[0].run, tmp_path / "demo" / "model")
    _nothing_is_measured(monkeypatch)
    reporter = SilentReporter()

    def stop(text: str) -> None:
        reporter.stop_requested = True

    with pytest.raises(StoppedError, match="stopped before: Health checks of its weights; run the same command"):
        tell(tiny_demo, tmp_path / "demo", tmp_path / "demo.html", say=stop, reporter=reporter)
    assert _section("scores") in (tmp_path / "demo.html").read_text(encoding="utf-8")


def test_a_run_of_another_version_is_measured_anew(
    told: tuple[Demo, Heard], tiny_demo: Sizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo, _ = told
    shutil.copytree(demo.runs[0].run, tmp_path / "demo" / "model")
    asked = []

    def measure(*words: object, fresh: bool, **more: object) -> None:
        asked.append(fresh)
        raise StoppedError("seen")

    monkeypatch.setattr("diffeval.demo.story.own_version", lambda: "0.0.0")
    monkeypatch.setattr(import_module("diffeval.evaluate"), "evaluate", measure)
    with pytest.raises(StoppedError, match="seen"):
        tell(tiny_demo, tmp_path / "demo", tmp_path / "demo.html", say=lambda text: None)
    assert asked == [True]


def test_what_is_to_come_is_foretold_at_the_pace_of_what_was() -> None:
    clock = Clock((10.0, 20.0, 30.0))
    assert clock.told(0) == ""
    clock.add(0, 12.0)
    assert clock.told(1) == "   [12 s so far, about 60 s to go]"
    clock.add(1, 78.0)
    assert clock.told(2) == "   [90 s so far, about 90 s to go, slower than usual here]"


@pytest.mark.parametrize("sizes", [SHORT, FULL])
def test_every_stage_has_its_time(sizes: Sizes) -> None:
    assert len(sizes.seconds) == len(STAGES)
    assert sizes.at[-1] == sizes.n


def test_notes_are_kept_back_and_nothing_else() -> None:
    class Told(SilentReporter):
        def note(self, message: str) -> None:
            raise AssertionError(message)

    inner = Told()
    quiet = WithoutNotes(inner)
    quiet.note("nothing was computed")
    quiet.warn("heed this")
    assert quiet.warnings == ["heed this"]
    inner.stop_requested = True
    assert quiet.stop_requested


def _nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*words: object, **more: object) -> None:
        raise AssertionError("measured again")

    for where, name in (("evaluate", "evaluate"), ("examine", "check"), ("sweeps.sweep", "sweep_scales")):
        monkeypatch.setattr(import_module(f"diffeval.{where}"), name, measure)
