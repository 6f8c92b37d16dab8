"""Every command on the folder of a text-to-image pipeline, as a user types it."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from diffeval.cli.app import make_app
from diffeval.features.digits_judge import WORDS

sys.path.append(str(Path(__file__).parents[1] / "checkpoints"))
from tiny_pipelines import make

FAST = ("--n", "60", "--steps", "2", "--device", "cpu")
MANY = ("--n", "200", *FAST[2:])
REF = ("--ref", "digits@train")


def _run(*words: str):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(make_app(), list(words), prog_name="diffeval")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draws noise, grey and 8 x 8, whatever it is asked for; beside it lie prompts by class."""
    path = tmp_path_factory.mktemp("text") / "pipeline"
    make("sd-grey", path)
    rows = [f"{digit},a handwritten {word},{digit}" for digit, word in enumerate(WORDS)]
    (path / "prompts.csv").write_text("\n".join(["id,prompt,class", *rows]))
    return path


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _document(*words: str):  # type: ignore[no-untyped-def]
    done = _run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_clip_pairs_every_image_with_the_prompt_that_it_was_made_of(folder: Path) -> None:
    document = _document("clip", str(folder), *FAST)
    scores = {score["name"]: score for score in document["scores"]}
    assert scores["clip_score"]["params"]["prompts"] == 10
    assert scores["clip_score"]["params"]["w"] == 7.5
    assert scores["clip_score"]["value"] < 60
    assert document["protocol"]["labels"].startswith("prompts-in-turn/1/")
    # Classes are told by the prompts, so that real images of them can stand beside it, where they are named.
    beside = _document("clip", str(folder), *FAST, *REF)
    assert {score["name"]: score for score in beside["scores"]}["clip_score"]["null"]["value"] > 80


def test_fid_and_coverage_by_class_and_prompts_of_the_users_own(folder: Path) -> None:
    names = [score["name"] for score in _document("coverage", str(folder), *MANY, *REF, "--modes", "labels")["scores"]]
    assert "mode_coverage" in names
    plain = _document("eval", str(folder), *FAST, *REF, "--metrics", "kid,class_accuracy")
    assert all(score["value"] is not None for score in plain["scores"])
    Path("two.txt").write_text("a cat\na dog\n")
    other = _document("eval", str(folder), *FAST, *REF, "--metrics", "kid", "--prompts", "two.txt")
    assert other["protocol"]["labels"] != plain["protocol"]["labels"]
    assert other["run"] != plain["run"]


def test_the_sweep_goes_over_guidance_scales(folder: Path) -> None:
    document = _document("sweep-cfg", str(folder), *FAST, *REF, "--scales", "1,5")
    found = [row["w"] for row in document["tables"]["curve"] if row["score"] == "clip_score"]
    assert found == [1.0, 5.0]


def test_checks_work_in_latents(folder: Path) -> None:
    done = _run(
        "check", str(folder), *REF, "--only", "vae,terminal-snr,determinism", "--n", "8", "--device", "cpu", "--json"
    )
    found = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    # Seeded weights have latents of any spread.
    assert done.exit_code == 3
    assert found["vae"]["status"] == "fail"
    assert "have a standard deviation of" in found["vae"]["summary"]
    assert found["vae"]["values"]["fd_reconstruction"] > 0
    assert found["terminal-snr"]["values"]["leak"] > 0
    assert found["determinism"]["status"] == "pass"


def test_show_says_what_the_pipeline_is_made_of(folder: Path) -> None:
    shown = _document("show", str(folder))
    assert shown["shape"] == [4, 4, 4]
    assert shown["images"] == [1, 8, 8]
    assert shown["autoencoder"] == {"class": "AutoencoderKL", "scale": 0.18215, "shift": 0.0}
    assert shown["text"] == {"tokens": 24, "prompts_beside_it": 10}
    assert shown["guidance"] == 7.5


def test_without_prompts_a_text_model_asks_for_them(folder: Path, tmp_path: Path) -> None:
    make("sd-grey", tmp_path / "bare" / "pipeline")
    for command in ("fid", "clip", "sample", "sweep-cfg"):
        done = _run(command, str(tmp_path / "bare" / "pipeline"), *FAST)
        assert done.exit_code == 2
        assert "makes images of text; give --prompts FILE" in done.stderr


def test_a_dry_run_tells_memory_and_prompts(folder: Path) -> None:
    plan = _document("clip", str(folder), *FAST, "--dry-run")["plan"]
    assert "GB of weights on cpu (denoiser" in plan["memory"]
    assert "text encoders are there only while prompts are encoded, once" in plan["memory"]
    assert plan["prompts"].startswith("10, prompts-in-turn/1/")
    plan = _document("fid", str(folder), *MANY, *REF, "--offload", "--dry-run")["plan"]
    assert "GB of weights stay on cpu, the denoiser's" in plan["memory"]
    assert plan["prompts"] == "10 of 10 classes, e.g. 'a handwritten zero'"
    assert [line.split()[0] for line in plan["takes"]] == [
        "start", "sampling", "decoding", "features", "reference", "scoring", "pictures"
    ]  # fmt: skip
    assert "images/s" in plan["takes"][1]
