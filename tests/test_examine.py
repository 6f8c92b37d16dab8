"""A run of checks: what it holds is not computed again, and what is missing is."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import diffeval
from diffeval.checks.check import CHECKS, Check, Finding, Pictures, Subject
from diffeval.data.source import open_source
from diffeval.errors import DiffevalError, StoppedError
from diffeval.examine import check, chosen, describe
from diffeval.plan import Settings
from diffeval.progress import SilentReporter
from diffeval.report.page import report
from diffeval.runs.directory import RunDirectory

FAST = Settings(n=4, steps=2, device="cpu")


class Notes(SilentReporter):
    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two checks and no others, one with pictures; the names of those that were run, as they are run."""
    names: list[str] = []

    def plain(subject: Subject) -> Finding:
        names.append("b-plain")
        return Finding("pass", f"{subject.n} seeds", {"n": float(subject.n)}, rows=({"at": 1, "value": 2.0},))

    def shown(subject: Subject) -> Finding:
        names.append("a-shown")
        if subject.n > 4:
            return Finding("warn", "too many to show")
        images = np.full((2, 3, 1, 8, 8), subject.n, dtype=np.uint8)
        return Finding("warn", "look", pictures=Pictures(images, ("r1", "r2"), ("c1", "c2", "c3"), "What it is."))

    entries = {
        "a-shown": Check("a-shown", shown, "has pictures", (), {}),
        "b-plain": Check("b-plain", plain, "has a table", (), {"depth": 3}),
    }
    CHECKS.names()
    monkeypatch.setattr(CHECKS, "_entries", entries)
    return names


def test_a_second_call_shows_and_computes_nothing(looked: list[str], tiny_checkpoint: Path, tmp_path: Path) -> None:
    first = check(tiny_checkpoint, settings=FAST, out=tmp_path / "run")
    assert looked == ["a-shown", "b-plain"]
    reporter = Notes()
    again = check(tiny_checkpoint, settings=FAST, out=tmp_path / "run", reporter=reporter)
    assert looked == ["a-shown", "b-plain"]
    assert (again.checks, again.tables) == (first.checks, first.tables)
    assert [one.name for one in again.checks] == ["a-shown", "b-plain"]
    assert again.checks[1].params == {"depth": 3}
    assert any("they are shown, nothing was computed" in note for note in reporter.notes)
    arrays = RunDirectory(tmp_path / "run").arrays("pictures_a-shown")
    assert arrays is not None
    assert arrays["images"].shape == (2, 3, 1, 8, 8)
    assert (list(arrays["rows"]), str(arrays["sentence"])) == (["r1", "r2"], "What it is.")


def test_another_choice_adds_to_the_same_run_and_returns_only_itself(
    looked: list[str], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    one = check(tiny_checkpoint, only=["b-plain"], settings=FAST, out=tmp_path / "run")
    other = check(tiny_checkpoint, only=["a-shown", "a-shown"], settings=FAST, out=tmp_path / "run")
    assert looked == ["b-plain", "a-shown"]
    assert [found.name for found in one.checks] == ["b-plain"]
    assert [found.name for found in other.checks] == ["a-shown"]
    held = RunDirectory(tmp_path / "run").results()
    assert held is not None
    assert [found.name for found in held.checks] == ["a-shown", "b-plain"]
    assert held.tables["b-plain"] == ({"at": 1, "value": 2.0},)
    check(tiny_checkpoint, settings=FAST, out=tmp_path / "run")
    assert looked == ["b-plain", "a-shown"]


def test_fresh_starts_anew(looked: list[str], tiny_checkpoint: Path, tmp_path: Path) -> None:
    check(tiny_checkpoint, settings=FAST, out=tmp_path / "run")
    check(tiny_checkpoint, only=["b-plain"], settings=FAST, out=tmp_path / "run", fresh=True)
    assert looked == ["a-shown", "b-plain", "b-plain"]
    run = RunDirectory(tmp_path / "run")
    held = run.results()
    assert held is not None
    assert [found.name for found in held.checks] == ["b-plain"]
    assert run.arrays("pictures_a-shown") is None


def test_another_number_of_seeds_is_computed_and_leaves_nothing_of_the_old(
    looked: list[str], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    check(tiny_checkpoint, settings=FAST, out=tmp_path / "run")
    more = check(
        tiny_checkpoint, only=["b-plain"], settings=Settings(n=6, steps=2, device="cpu"), out=tmp_path / "run"
    )
    assert looked == ["a-shown", "b-plain", "b-plain"]
    assert more.checks[0].values == {"n": 6.0}
    assert more.provenance.n == 6
    run = RunDirectory(tmp_path / "run")
    held = run.results()
    assert held is not None
    assert [found.name for found in held.checks] == ["b-plain"]
    assert run.arrays("pictures_a-shown") is None


def test_a_stop_between_two_checks_continues_where_it_was(
    looked: list[str], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    reporter = SilentReporter()
    reporter.stop_requested = True
    with pytest.raises(StoppedError, match="stopped after a-shown; run the same command to continue"):
        check(tiny_checkpoint, settings=FAST, out=tmp_path / "run", reporter=reporter)
    run = RunDirectory(tmp_path / "run")
    state = run.state()
    assert state is not None
    assert state.status == "stopped"
    results = check(tiny_checkpoint, settings=FAST, out=tmp_path / "run")
    assert looked == ["a-shown", "b-plain"]
    assert [found.status for found in results.checks] == ["warn", "pass"]
    state = run.state()
    assert state is not None
    assert state.status == "done"
    assert set(state.seconds) == {"a-shown", "b-plain"}


def test_a_stop_at_the_last_check_is_none(looked: list[str], tiny_checkpoint: Path, tmp_path: Path) -> None:
    reporter = SilentReporter()
    reporter.stop_requested = True
    results = check(tiny_checkpoint, only=["b-plain"], settings=FAST, out=tmp_path / "run", reporter=reporter)
    assert results.checks[0].status == "pass"
    assert looked == ["b-plain"]


@pytest.fixture
def copies(tmp_path: Path) -> str:
    """Half of what somebody has sampled are training images."""
    pixels = np.concatenate([open_source("digits").images[:60], open_source("digits@heldout").images[:60]])
    np.savez(tmp_path / "x.npz", arr_0=pixels.transpose(0, 2, 3, 1))
    return f"images:{tmp_path / 'x.npz'}"


def test_of_ready_made_images_memorization_can_be_told(copies: str, tmp_path: Path) -> None:
    results = check(copies, ref="digits", out=tmp_path / "run")
    found = {one.name: one for one in results.checks}
    assert found["memorization"].status == "fail"
    assert found["memorization"].summary.startswith(
        "training images come back, as copies and AuthPct say: 50.0% of 120"
    )
    assert "no denoising gap (ready-made images have no network)" in found["memorization"].summary
    assert {one.status for one in results.checks if one.name != "memorization"} == {"not-applicable"}
    assert found["untrained"].summary == "needs a network, and these are ready-made images"
    assert results.provenance.n == 64
    assert len(results.tables["memorization.pairs"]) == 16
    arrays = RunDirectory(tmp_path / "run").arrays("pictures_memorization")
    assert arrays is not None
    assert arrays["images"].shape == (16, 2, 1, 8, 8)
    page = report([tmp_path / "run"], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "nearest training image" in page


def test_ready_made_images_need_what_they_are_held_against(copies: str, tmp_path: Path) -> None:
    for call in (check, describe):
        with pytest.raises(DiffevalError, match="held against training images alone; give --ref, or a checkpoint"):
            call(copies)
    whole = check(copies, only=["memorization"], ref="digits@all", out=tmp_path / "whole").checks[0]
    assert whole.status == "not-applicable"
    assert "digits@all has none" in whole.summary
    for flag, given in (
        ("--training-log", {"training_log": tmp_path}),
        ("--sampling-scheduler", {"sampling_scheduler": tmp_path}),
    ):
        with pytest.raises(DiffevalError, match=f"is ready-made images, without a network; leave {flag} out"):
            check(copies, ref="digits", **given)  # type: ignore[arg-type]
    with pytest.raises(DiffevalError, match="holds ready-made images; leave --w out"):
        check(copies, ref="digits", settings=Settings(n=8, w=2.0))
    assert describe(copies, only=["memorization"], ref="digits").lines[3].startswith("check       memorization: ")


def test_moments_are_refused_as_real_images(tiny_checkpoint: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "moments.npz", mu=np.zeros(4), sigma=np.eye(4))
    with pytest.raises(DiffevalError, match=r"holds moments; checks need images, e\.g\. folder:DIR"):
        check(tiny_checkpoint, settings=FAST, ref=f"stats:{tmp_path / 'moments.npz'}", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_reference_that_cannot_be_opened_is_an_error_only_where_it_was_named(
    looked: list[str], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(DiffevalError, match="nowhere"):
        check(tiny_checkpoint, settings=FAST, ref=f"folder:{tmp_path / 'nowhere'}", out=tmp_path / "run")
    card = (tiny_checkpoint / "diffeval.json").read_text()
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tiny_checkpoint, elsewhere)
    (elsewhere / "diffeval.json").write_text(card.replace("digits@train", f"folder:{tmp_path / 'gone'}@train"))
    reporter = Notes()
    results = check(elsewhere, settings=FAST, out=tmp_path / "run", reporter=reporter)
    assert results.protocol.reference is None
    assert any(note.startswith("without real images: ") for note in reporter.notes)
    assert looked == ["a-shown", "b-plain"]


def test_other_real_images_are_another_run(looked: list[str], tiny_checkpoint: Path, tmp_path: Path) -> None:
    check(tiny_checkpoint, settings=FAST, out=tmp_path / "run")
    for number in range(4):
        (tmp_path / "photos").mkdir(exist_ok=True)
        pixels = np.full((8, 8), 40 * number, dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    with pytest.raises(DiffevalError, match="give --fresh to replace it, or another --out"):
        check(tiny_checkpoint, settings=FAST, ref=f"folder:{tmp_path / 'photos'}@all", out=tmp_path / "run")


def test_one_seed_is_refused_and_so_is_no_check(tiny_checkpoint: Path) -> None:
    for call in (check, describe):
        with pytest.raises(DiffevalError, match="n is 1, needs at least 2"):
            call(tiny_checkpoint, settings=Settings(n=1, device="cpu"))
    with pytest.raises(DiffevalError, match="none is named; leave --only out"):
        chosen([])


def test_a_description_says_what_would_be_done_and_writes_nothing(
    looked: list[str], tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = describe(tiny_checkpoint, settings=FAST).lines
    assert [line.split()[0] for line in lines] == ["checkpoint", "images", "device", "check", "check", "run"]
    assert lines[1].split() == ["images", "digits@train"]
    assert not list(tmp_path.iterdir())
    results = check(tiny_checkpoint, settings=FAST)
    assert lines[-1].split()[1] == results.run
    assert looked == ["a-shown", "b-plain"]


def test_the_function_of_the_package(looked: list[str], tiny_checkpoint: Path, tmp_path: Path) -> None:
    results = diffeval.check(diffeval.load(tiny_checkpoint), settings=diffeval.Settings(n=4, steps=2), out=tmp_path)
    assert [found.name for found in results.checks] == ["a-shown", "b-plain"]
    assert looked == ["a-shown", "b-plain"]
    assert diffeval.check is check
