"""``diffeval eval`` and ``diffeval pr`` as a user meets them, and a metric that somebody adds."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import diffeval.metrics
from diffeval.cli.app import make_app
from diffeval.evaluate import evaluate
from diffeval.metrics.metric import METRICS
from diffeval.plan import Settings
from diffeval.runs.document import results_document
from diffeval.suite import choose, listing

FAST = ("--n", "200", "--steps", "2", "--device", "cpu")
PR = ["precision", "recall", "density", "coverage"]


def _run(*words: str):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(make_app(), list(words), prog_name="diffeval")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _names(done) -> list[str]:  # type: ignore[no-untyped-def]
    return [score["name"] for score in json.loads(done.stdout)["scores"]]


def test_list_shows_every_score_on_a_line() -> None:
    done = _run("eval", "--list")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [one.score for one in listing()]
    kid = next(line for line in lines if line.startswith("kid"))
    assert "standard" in kid
    assert "lower" in kid
    assert "Kernel Inception distance in the features given." in kid
    assert "standard" not in next(line for line in lines if line.startswith("vendi"))


def test_list_as_a_document() -> None:
    done = _run("eval", "--list", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["schema"] == "diffeval.metrics/1"
    assert [row["score"] for row in document["scores"]] == [one.score for one in listing()]
    recall = next(row for row in document["scores"] if row["score"] == "recall")
    assert recall["metric"] == "manifold"
    assert recall["standard"] is True
    assert recall["higher_is_better"] is True


def test_the_standard_suite_from_one_extraction(tiny_checkpoint: Path) -> None:
    done = _run("eval", str(tiny_checkpoint), *FAST, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert _names(done) == ["fid", "fid_debiased", "kid", *PR, "inception_score", "class_accuracy"]
    assert set(_names(done)) == choose().shown
    for score in document["scores"]:
        assert score["std_error"] >= 0
        assert (score["ci95"] is None) == (score["name"] == "fid")
        low, high = score["ci95"] or (0, float("inf"))
        assert low <= score["value"] <= high, score["name"]
        assert score["n"] == 200
        assert score["params"]["extractor"] == "digits"
    for score in document["scores"]:
        if score["name"] in PR:
            # Half of the 1,297 training images is more than there are generated ones.
            assert score["params"]["n_k"] == score["null"]["n"] == 200
    assert done.stderr.count("[sampling] 200 images") == 1
    assert len(list(Path("runs").glob("tiny-*-eval-s0-*/report.html"))) == 1


def test_named_metrics_alone(tiny_checkpoint: Path) -> None:
    done = _run("eval", str(tiny_checkpoint), "--metrics", "precision, kid", *FAST, "--json")
    assert done.exit_code == 0, done.output
    assert sorted(_names(done)) == ["kid", "precision"]


def test_precision_and_recall_by_a_command_of_their_own(tiny_checkpoint: Path) -> None:
    done = _run("pr", str(tiny_checkpoint), *FAST)
    assert done.exit_code == 0, done.output
    for name in PR:
        assert name in done.stdout
    assert "kid" not in done.stdout
    assert len(list(Path("runs").glob("tiny-*-pr-s0-*"))) == 1


def test_what_lacks_labels_is_told_after_the_others_are_written(unconditional_checkpoint: Path) -> None:
    words = ("eval", str(unconditional_checkpoint), "--metrics", "kid,class_accuracy", *FAST, "--json")
    done = _run(*words)
    assert done.exit_code == 2, done.output
    scores = {score["name"]: score for score in json.loads(done.stdout)["scores"]}
    alone = _run("eval", str(unconditional_checkpoint), "--metrics", "kid", *FAST, "--json", "--out", "alone")
    assert scores["kid"]["value"] == json.loads(alone.stdout)["scores"][0]["value"]
    assert scores["class_accuracy"]["value"] is None
    assert "no such labels" in scores["class_accuracy"]["params"]["error"]
    assert "error: class_accuracy: class_accuracy needs images made class by class" in done.stderr
    stored = json.loads(next(Path("runs").glob("*/results.json")).read_text())
    assert {score["name"] for score in stored["scores"]} == {"kid", "class_accuracy"}


def test_the_standard_suite_leaves_out_what_lacks_labels(unconditional_checkpoint: Path) -> None:
    done = _run("eval", str(unconditional_checkpoint), *FAST, "--json")
    assert done.exit_code == 0, done.output
    assert "class_accuracy" not in _names(done)
    assert "kid" in _names(done)
    warnings = json.loads(done.stdout)["warnings"]
    assert any(said.startswith("class_accuracy is left out: class_accuracy needs images made") for said in warnings)


def test_the_one_score_that_cannot_be_computed(unconditional_checkpoint: Path) -> None:
    done = _run("eval", str(unconditional_checkpoint), "--metrics", "vendi_within_class", *FAST)
    assert done.exit_code == 5, done.output
    assert "vendi_within_class needs the same classes on both sides" in done.stderr


def test_two_folders_of_images(tmp_path: Path) -> None:
    random = np.random.Generator(np.random.Philox(0))
    for name in ("ours", "real"):
        (tmp_path / name).mkdir()
        for number in range(120):
            pixels = random.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number:03}.png")
    words = ("--ref", "folder:real@all", "--extractor", "digits", "--device", "cpu")
    done = _run("eval", "images:ours", "--metrics", "kid,precision", *words, "--json")
    assert done.exit_code == 0, done.output
    assert sorted(_names(done)) == ["kid", "precision"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("eval", "digits", "--metrics", "precison"), "unknown metric 'precison'; did you mean 'precision'?"),
        (("eval", "digits", "--metrics", ","), "metrics: none is named; leave --metrics out"),
        (("eval", "digits", "--metrics", "precision", "--n", "20"), "20 images, needs at least 50"),
        (("pr", "digits", "--n", "10"), "10 images, needs at least 50"),
        (("pr", "nothing"), "nothing does not exist"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(words: tuple[str, ...], message: str) -> None:
    done = _run(*words)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_no_checkpoint_is_a_usage_error() -> None:
    done = _run("eval")
    assert done.exit_code == 2
    assert "name a checkpoint" in done.stderr


ONE_FILE = '''
"""The mean of the first feature."""

from diffeval.metrics.metric import METRICS, Estimate, Metric


def brightness(generated, reference, independent):
    """The mean of the first feature, for a test.

    Source: nobody.
    """
    first = generated.features[:, 0]
    error = float(first.std() / len(first) ** 0.5)
    return (Estimate("brightness", float(first.mean()), False, error, (-1.0, 1.0)),)


METRICS.register("brightness")(Metric(("brightness",), lambda dim: 2, brightness))
'''


@pytest.fixture
def _one_file_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """The folder of metrics, with one file more in it."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "brightness.py").write_text(ONE_FILE)
    METRICS.names()
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    monkeypatch.setattr(METRICS, "_loaded", False)
    monkeypatch.setattr(diffeval.metrics, "__path__", [*diffeval.metrics.__path__, str(folder)])
    yield
    sys.modules.pop("diffeval.metrics.brightness", None)
    vars(diffeval.metrics).pop("brightness", None)


@pytest.mark.usefixtures("_one_file_more")
def test_a_metric_in_one_file_is_found_by_all(tiny_checkpoint: Path) -> None:
    assert "brightness" in [one.score for one in listing()]
    listed = _run("eval", "--list")
    assert "The mean of the first feature, for a test." in listed.stdout
    done = _run("eval", str(tiny_checkpoint), "--metrics", "brightness,kid", *FAST)
    assert done.exit_code == 0, done.output
    assert "brightness" in done.stdout
    page = next(Path("runs").glob("*/report.html")).read_text()
    assert "brightness" in page
    results = evaluate(tiny_checkpoint, metrics=["brightness"], settings=Settings(n=100, steps=2, device="cpu"))
    scores = results_document(results)["scores"]
    assert [score["name"] for score in scores] == ["brightness"]  # type: ignore[index, union-attr]
    assert scores[0]["value"] == results.scores[0].value  # type: ignore[index]


def test_and_is_gone_afterwards() -> None:
    assert "brightness" not in METRICS
