"""What the page shows of health checks, and of several checkpoints side by side."""

import html
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from diffeval.checks.check import CHECKS, Check, Finding, Pictures, Subject
from diffeval.examine import check
from diffeval.plan import Settings
from diffeval.report.page import report
from diffeval.report.sections.checks import checks, matrix, side_by_side
from diffeval.report.story import Story, read_told
from diffeval.report.view import CheckCard, Mark
from diffeval.runs.records import CheckStatus

HOSTILE = "moved by <script>alert(1)</script> & 'more'"
FIX = "look at <b>sigma_min</b>"


@pytest.fixture
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three checks and no others; one has pictures, a curve and a summary that wants to be a script."""

    def finding(status: CheckStatus) -> Callable[[Subject], Finding]:
        return lambda subject: Finding(status, f"it is {status}")

    def failed(subject: Subject) -> Finding:
        images = np.zeros((2, 3, 1, 8, 8), dtype=np.uint8)
        pictures = Pictures(images, ("row 1", "row 2"), ("x", "y", "<i>z</i>"), "There is nothing to see.")
        rows = ({"steps": 5, "error": 0.5, "spread": None}, {"steps": 10, "error": 0.25, "spread": 1.5})
        return Finding("fail", HOSTILE, {"a": 1.0}, FIX, ("the <u>data</u>", "the schedule"), rows, pictures=pictures)

    entries = {
        "a-pass": Check("a-pass", finding("pass"), "", (), {}),
        "b-absent": Check("b-absent", finding("not-applicable"), "", (), {}),
        "c-fail": Check("c-fail", failed, "", (), {}),
        "d-warn": Check("d-warn", finding("warn"), "", (), {}),
    }
    CHECKS.names()
    monkeypatch.setattr(CHECKS, "_entries", entries)


@pytest.fixture
def run(_planted: None, tiny_checkpoint: Path, tmp_path: Path) -> Path:
    check(tiny_checkpoint, settings=Settings(n=4, steps=2, device="cpu"), out=tmp_path / "run")
    return tmp_path / "run"


def _without_scripts(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_every_check_is_on_the_page_the_worst_first(run: Path) -> None:
    body = _without_scripts(report([run], run / "page.html").read_text())
    cards = re.findall(
        r'<(?:details|div) class="check ([a-z-]+)"[^>]*>.*?<span class="badge ([a-z-]+)[^>]*>.*?<h\d>([a-z-]+)</h\d>',
        body,
        flags=re.DOTALL,
    )
    assert cards == [
        ("fail", "fail", "c-fail"),
        ("warn", "warn", "d-warn"),
        ("pass", "pass", "a-pass"),
        ("not-applicable", "not-applicable", "b-absent"),
    ]
    assert "<strong>What to do</strong> look at &lt;b&gt;sigma_min&lt;/b&gt;." in body
    assert "<strong>Not the cause</strong> the &lt;u&gt;data&lt;/u&gt;; the schedule." in body
    assert "There is nothing to see." in body
    assert body.count('class="tile"') == 6
    assert 'alt="row 2: x"' in body
    assert "digits@train" in body


def test_what_a_check_says_is_text_and_never_markup(run: Path) -> None:
    page = report([run], run / "page.html").read_text()
    assert "<script>alert(1)" not in page
    assert html.escape("<script>alert(1)</script>") in page
    assert "<i>z</i>" not in page
    assert "<b>sigma_min" not in page


def test_curves_are_drawn_against_the_first_column_and_leave_gaps_out(run: Path) -> None:
    page = report([run], run / "page.html").read_text()
    (block,) = re.findall(
        r'<script type="application/json" data-plot="c-fail-0">(.*?)</script>', page, flags=re.DOTALL
    )
    error, spread = json.loads(block)["data"]
    assert (error["x"], error["y"]) == ([5, 10], [0.5, 0.25])
    assert (spread["x"], spread["y"]) == ([10], [1.5])
    assert (error["xaxis"], spread["xaxis"]) == ("x", "x2")
    assert re.search(r'<th scope="col"[^>]*>steps</th>', page)
    assert re.search(r"<td[^>]*>–</td>", page)
    # The check fails: its curves are seen without scripts, too.
    assert re.search(r'id="c-fail-0"[^>]*><div class="static"[^>]*><svg', page)


def test_checks_of_several_runs_stand_beside_each_other_the_worst_first(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    document = json.loads((other / "results.json").read_text())
    document["checks"] = [{**one, "status": "fail"} for one in document["checks"] if one["name"] == "a-pass"]
    (other / "results.json").write_text(json.dumps(document))
    assert list(matrix(read_told([run]))) == []
    (table,) = matrix(read_told([run, other]))
    assert [row[0] for row in table.rows] == ["a-pass", "c-fail", "d-warn", "b-absent"]
    assert table.rows[0][1:] == (Mark("pass", "pass"), Mark("fail", "fail"))
    assert table.rows[1][1:] == (Mark("fail", "fail"), "–")
    assert "1 of 4 fail" in table.sentence
    assert "1 of 1 fail" in table.sentence


def test_a_run_that_was_stopped_says_so(run: Path) -> None:
    state = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**state, "status": "stopped"}))
    assert "is stopped: what follows is what there is so far." in report([run], run / "page.html").read_text()


def _trajectory(checkpoint: Path | str, out: Path, seed: int = 0, steps: int = 4) -> Path:
    settings = Settings(n=16, steps=steps, seed=seed, device="cpu")
    check(checkpoint, only=["trajectory"], settings=settings, out=out)
    return out


def test_the_same_seeds_stand_side_by_side_in_the_order_given(tiny_checkpoint: Path, tmp_path: Path) -> None:
    early = _trajectory(tiny_checkpoint, tmp_path / "early")
    late = _trajectory("digits", tmp_path / "late")
    for runs, names in (((early, late), ["tiny", "digits"]), ((late, early), ["digits", "tiny"])):
        galleries = list(side_by_side(read_told(runs)))
        assert len(galleries) == 4
        first = galleries[0]
        assert list(first.rows) == names
        assert first.columns == len(first.names) == 9
        assert len(first.tiles) == 18
        assert first.names[0] == "x at t=999"
        assert first.names[-1] == "image"
        assert first.tiles[0].alt.startswith(f"{names[0]}, seed 0, image 0, class ")
        assert first.tiles[9].alt.startswith(f"{names[1]}, seed 0, image 0, class ")
        # x_T is the same noise whatever the checkpoint; what becomes of it is not.
        assert np.array_equal(first.tiles[0].pixels, first.tiles[9].pixels)
        assert not np.array_equal(first.tiles[8].pixels, first.tiles[17].pixels)
    page = report([early, late], tmp_path / "page.html").read_text()
    assert "<h1>tiny, digits</h1>" in page
    assert re.findall(r'<div class="whose"><h3>(.*?)</h3>', page)[:2] == ["tiny", "digits"]


def test_other_steps_or_seeds_do_not_stand_side_by_side(tiny_checkpoint: Path, tmp_path: Path) -> None:
    one = _trajectory(tiny_checkpoint, tmp_path / "one")
    steps = _trajectory(tiny_checkpoint, tmp_path / "steps", steps=8)
    seed = _trajectory(tiny_checkpoint, tmp_path / "seed", seed=1)
    for runs in ([one], [one, steps], [one, seed]):
        assert list(side_by_side(read_told(runs))) == []
    page = report([one, steps], tmp_path / "page.html").read_text()
    assert "Side by side: seed" not in page


def test_curves_of_the_two_checks_that_draw_their_own(tmp_path: Path) -> None:
    check(
        "digits", only=["trajectory", "step-convergence"], settings=Settings(n=4, device="cpu"), out=tmp_path / "run"
    )
    drawn_checks = checks(Story(read_told([tmp_path / "run"])))
    cards = {card.name: card for card in drawn_checks if isinstance(card, CheckCard)}
    (convergence,) = cards["step-convergence"].figures
    drawn = json.loads(convergence.json)
    assert drawn["layout"]["xaxis"]["type"] == drawn["layout"]["yaxis"]["type"] == "log"
    assert drawn["data"][0]["x"] == [5, 10, 20, 40]
    assert cards["step-convergence"].gallery is None
    (trajectory,) = cards["trajectory"].figures
    assert "Moment ratio: mean of x_t^2" in trajectory.sentence
    # The image itself has no timestep: it stands in no curve, and ends the table.
    assert all(len(trace["x"]) == 10 for trace in json.loads(trajectory.json)["data"][:1])
    assert trajectory.columns[0] == "t"
    assert trajectory.rows[-1][0] == "–"
    assert cards["trajectory"].gallery is not None
    assert cards["trajectory"].gallery.columns == 11
