"""What ``--dry-run`` prints: every stage that is left, the whole, and nothing on disk."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from diffeval.cli.app import make_app

FAST = ("--device", "cpu", "--steps", "2")


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def _plan(*words: str) -> dict[str, Any]:
    done = CliRunner().invoke(make_app(), [*words, "--dry-run", "--json"])
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["schema"] == "diffeval.plan/1"
    assert document["seconds"] == pytest.approx(sum(one["seconds"] for one in document["stages"]))
    assert document["stages"][0]["stage"] == "start"
    assert all(one["seconds"] >= 0 and one["about"] for one in document["stages"])
    return document


def _names(document: dict[str, Any]) -> list[str]:
    return [one["stage"] for one in document["stages"]]


def test_a_sweep_lists_its_points_and_every_stage(tmp_path: Path) -> None:
    document = _plan("sweep-cfg", "digits", "--scales", "1,2,3", "--n", "100", "--device", "cpu")
    plan = document["plan"]
    assert plan["point"] == [
        "w=1: 100 images, 10 network evaluations each",
        "w=2: 100 images, 20 network evaluations each",
        "w=3: 100 images, 20 network evaluations each",
    ]
    assert _names(document) == ["start", "sampling", "features", "judge", "reference", "scoring", "pictures"]
    assert [line.split()[0] for line in plan["takes"]] == _names(document)
    assert plan["evaluations"].startswith("5000 in all")
    assert plan["total"].startswith("about ")
    assert not list(tmp_path.iterdir())


def test_a_run_is_priced_for_what_is_left_of_it(tiny_checkpoint: Path) -> None:
    words = ("fid", str(tiny_checkpoint), *FAST, "--batch", "32")
    done = CliRunner().invoke(make_app(), [*words, "--n", "200"])
    assert done.exit_code == 0, done.output
    # Batches are whole: 224 images are there, and features of real ones.
    more = _plan(*words, "--n", "300")
    assert more["plan"]["total"].endswith("for what is left, 76 of 300 images here")
    prices = {one["stage"]: one for one in more["stages"]}
    assert prices["sampling"]["about"].startswith("76 images in batches of 32")
    assert prices["reference"]["about"] == "real images: in the cache"
    again = _plan(*words, "--n", "200")
    assert _names(again) == ["start"]
    assert again["plan"]["total"].endswith("everything is there already, and nothing would be computed")
    assert _names(_plan(*words, "--n", "200", "--fresh"))[1:3] == ["sampling", "features"]


def test_a_shard_is_neither_scored_nor_held_against_real_images(tiny_checkpoint: Path) -> None:
    document = _plan("fid", str(tiny_checkpoint), *FAST, "--n", "1000", "--batch", "100", "--shard", "2/3")
    # Chunks of 200 images; the second of three shards has the second and the fifth.
    assert _names(document) == ["start", "sampling", "features"]
    assert document["stages"][1]["about"].startswith("400 images")


def test_a_run_under_a_launcher_is_priced_by_one_rank(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "0")
    document = _plan("fid", str(tiny_checkpoint), *FAST, "--n", "1000", "--batch", "100")
    assert document["stages"][1]["about"].startswith("400 images by each of 4 ranks")


def test_an_extractor_that_is_fitted_first_is_priced(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DIFFEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("diffeval.pricing.features.TRIED", 7)
    document = _plan("fid", str(tiny_checkpoint), *FAST, "--n", "200", "--extractor", "fitted")
    assert _names(document) == ["start", "fitting", "sampling", "features", "reference", "scoring", "pictures"]
    assert document["plan"]["run"] == "runs/... (new)"
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_training_is_tried_and_nothing_of_it_stays(tmp_path: Path) -> None:
    document = _plan("train", "digits", "--out", "model", "--steps", "300", "--batch", "8", "--device", "cpu")
    assert _names(document) == ["start", "training"]
    assert document["stages"][1]["about"].startswith("300 steps, ")
    assert "2 probes and 1 saves" in document["stages"][1]["about"]
    assert not list(tmp_path.iterdir())


def test_checks_are_priced_by_their_calls_of_the_network(tmp_path: Path) -> None:
    words = ("check", "digits", "--n", "8", "--device", "cpu")
    document = _plan(*words, "--only", "noise-schedule,data-range,determinism")
    assert _names(document) == ["start", "risk probe", "data-range", "determinism"]
    assert document["stages"][3]["about"] == "about 206 forward passes"
    assert not list(tmp_path.iterdir())


def test_images_alone_are_priced_with_their_files(tmp_path: Path) -> None:
    words = ("sample", "digits", "--n", "40", *FAST)
    assert _names(_plan(*words)) == ["start", "sampling", "files"]
    assert _names(_plan(*words, "--format", "npz")) == ["start", "sampling"]
    assert not list(tmp_path.iterdir())
