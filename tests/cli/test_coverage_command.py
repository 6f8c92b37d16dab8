"""``diffeval coverage`` as a user meets it."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from diffeval.cli.app import make_app

FAST = ("--n", "200", "--steps", "2", "--device", "cpu")
SCORES = ("mode_coverage", "missing_mass", "js_divergence")


def _run(*words: str):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(make_app(), list(words), prog_name="diffeval")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _digits_without(dropped: int) -> None:
    """A file of real digits, 400 of them, without one class."""
    images, labels = load_digits(return_X_y=True)
    levels = np.round(images.reshape(-1, 8, 8, 1) * 255 / 16).astype(np.uint8)
    np.savez("some.npz", arr_0=levels[labels != dropped][:400])


def test_the_dropped_class_is_named_and_shown_without_a_network() -> None:
    _digits_without(7)
    done = _run("coverage", "images:some.npz", "--ref", "digits@heldout", "--modes", "labels", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "1 of 10 modes (labels) is missing: 7 (0.00 of its real share)" in " ".join(done.stdout.split())
    (run,) = Path("runs").glob("some-*-coverage-*")
    page = (run / "report.html").read_text()
    assert "class 7" in page
    assert "missing: 0 of its real share. Real images above, generated ones below." in page
    held = np.load(run / "mode_pictures.npz")
    # Missing first: real images above, nothing below.
    assert held["labels_modes"][0] == 7
    assert held["labels_real_count"][0] == 6
    assert held["labels_generated_count"][0] == 0
    assert not held["labels_generated"][0].any()


def test_json_has_every_score_once_for_each_kind(tiny_checkpoint: Path) -> None:
    done = _run("coverage", str(tiny_checkpoint), *FAST, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    found = [(score["params"]["modes"], score["name"]) for score in document["scores"]]
    assert found == [(kind, name) for kind in ("labels", "clusters") for name in SCORES]
    kinds = {row["modes"] for row in document["tables"]["modes"]}
    assert kinds == {"labels", "clusters"}
    assert {row["status"] for row in document["tables"]["modes"]} <= {"missing", "thin", "over", "ok"}
    assert document["tables"]["leakage"]
    for score in document["scores"]:
        assert score["null"]["value"] is not None
        assert score["params"]["extractor"] == "digits"


def test_a_dry_run_says_what_counts_as_a_mode(tiny_checkpoint: Path) -> None:
    done = _run("coverage", str(tiny_checkpoint), "--modes", "clusters", "--clusters", "9", "--dry-run", *FAST)
    assert done.exit_code == 0, done.output
    assert "options     mode_coverage: modes clusters, clusters 9" in done.stdout
    assert not Path("runs").exists()


def test_another_kind_of_modes_is_computed_anew(tiny_checkpoint: Path) -> None:
    first = _run("coverage", str(tiny_checkpoint), "--modes", "labels", *FAST)
    assert "(clusters)" not in first.stdout
    second = _run("coverage", str(tiny_checkpoint), "--modes", "clusters", "--clusters", "5", *FAST, "--json")
    scores = json.loads(second.stdout)["scores"]
    assert {(score["params"]["modes"], score["params"]["count"]) for score in scores} == {("clusters", 5)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--modes", "kinds"), "--modes is 'kinds', must be one of labels, clusters, both"),
        (("--clusters", "1"), "--clusters is 1, needs at least 2"),
        (("--n", "50"), "50 images, needs at least 200"),
        (("--clusters", "200"), "mode_coverage: 200 clusters need 2000 real images, the reference has 1297"),
    ],
)
def test_mistakes_get_one_line(words: tuple[str, ...], message: str) -> None:
    done = _run("coverage", "digits", *words)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
