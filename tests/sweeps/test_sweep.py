"""Whole sweeps of small networks: resumed, extended, refused, and what they find planted."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from diffeval.checkpoints.checkpoint import load
from diffeval.errors import DiffevalError
from diffeval.plan import Settings, plan_images
from diffeval.progress import SilentReporter
from diffeval.runs.directory import RunDirectory
from diffeval.sweeps.run import evaluations
from diffeval.sweeps.sweep import sweep, sweep_scales

FAST = Settings(n=200, steps=2, device="cpu", batch=50)


class Notes(SilentReporter):
    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(scope="module")
def swept(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sweep") / "run"
    sweep_scales(tiny_checkpoint, (1.0, 3.0), settings=FAST, out=out)
    return out


def test_every_score_stands_at_every_scale_in_the_table_and_the_file(swept: Path) -> None:
    results = RunDirectory(swept).results()
    assert results is not None
    rows = results.tables["curve"]
    names = {str(row["score"]) for row in rows}
    assert {"fid_debiased", "kid", "precision", "recall", "class_accuracy", "within_class_distance"} <= names
    assert all({row["w"] for row in rows if row["score"] == name} == {1.0, 3.0} for name in names)
    with (swept / "sweep.csv").open() as file:
        read = list(csv.DictReader(file))
    assert len(read) == len(rows)
    assert float(read[0]["value"]) == rows[0]["value"]
    assert [score.params["w"] for score in results.scores if score.name == "kid"] == [1.0, 3.0]


def test_a_point_agrees_with_a_run_by_itself(swept: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    from diffeval.evaluate import evaluate

    alone = evaluate(
        tiny_checkpoint,
        metrics=("fid", "kid"),
        settings=Settings(n=200, steps=2, device="cpu", batch=50, w=3.0),
        at=(200,),
        out=tmp_path / "alone",
    )
    point = RunDirectory(swept / "points" / "w=3").results()
    assert point is not None
    for name in ("fid_debiased", "kid"):
        assert point.score(name).value == alone.score(name).value
        assert point.score(name).std_error == alone.score(name).std_error


def test_the_same_sweep_samples_nothing_again_and_a_longer_one_only_what_is_new(
    swept: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(swept, copy)
    before = RunDirectory(copy).results()
    reporter = Notes()
    again = sweep_scales(tiny_checkpoint, (1.0, 3.0), settings=FAST, out=copy, reporter=reporter)
    assert before is not None
    assert again.tables == before.tables
    assert sum("is finished" in note for note in reporter.notes) == 2
    stamps = {path: path.stat().st_mtime_ns for path in copy.glob("points/*/features/*/*.npz")}
    longer = sweep_scales(tiny_checkpoint, (1.0, 2.0, 3.0), settings=FAST, out=copy)
    assert [row["w"] for row in longer.tables["curve"] if row["score"] == "kid"] == [1.0, 2.0, 3.0]
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


def test_an_unconditional_checkpoint_has_no_scale_but_may_sweep_its_steps(
    unconditional_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(DiffevalError, match=r"plain is unconditional.*--over steps"):
        sweep_scales(unconditional_checkpoint, (1.0, 2.0), settings=FAST, out=tmp_path / "no")
    results = sweep(unconditional_checkpoint, [{"steps": 2}, {"steps": 4}], settings=FAST, out=tmp_path / "run")
    assert [row["evaluations"] for row in results.tables["cost"]] == [2, 4]
    (row,) = [row for row in results.tables["choices"] if row["curve"] == "fid_debiased"]
    assert row["best"] in {"steps=2", "steps=4"}
    assert row["cheapest_of_them"] in str(row["indistinguishable"])


def test_ready_made_images_and_settings_that_cannot_be_honoured_are_refused_first(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(DiffevalError, match="unknown sampler 'ddmi'"):
        sweep(tiny_checkpoint, [{"steps": 2}, {"sampler": "ddmi"}], settings=FAST, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    np.savez(tmp_path / "x.npz", arr_0=np.zeros((60, 8, 8, 1), dtype=np.uint8))
    with pytest.raises(DiffevalError, match="ready-made images"):
        sweep(f"images:{tmp_path / 'x.npz'}", [{"steps": 2}], settings=FAST)


def test_network_evaluations_count_both_branches_of_guidance_and_heuns_second_call() -> None:
    checkpoint = load("digits")

    def count(**settings: object) -> int:
        return evaluations(plan_images(checkpoint, Settings(n=8, device="cpu", **settings)))  # type: ignore[arg-type]

    assert (count(w=1.0, steps=10), count(w=0.0, steps=10), count(w=2.0, steps=10)) == (10, 10, 20)
    assert count(w=1.0, steps=10, sampler="heun") == 19


def test_a_model_that_ignores_its_label_is_found_to_have_no_guidance(tiny_checkpoint: Path, tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    shutil.copytree(tiny_checkpoint, deaf)
    from safetensors.torch import load_file, save_file

    path = deaf / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["class_embedding.weight"] = torch.zeros_like(weights["class_embedding.weight"])
    save_file(weights, path)
    card = json.loads((deaf / "diffeval.json").read_text())
    (deaf / "diffeval.json").write_text(json.dumps({**card, "weights": {}}))  # as if it had been trained so
    results = sweep_scales(deaf, (1.0, 2.0, 7.0), settings=FAST, out=tmp_path / "run")
    assert [row["name"] for row in results.tables["pathologies"]].count("guidance-has-no-effect") == 1


def test_digits_at_moderate_guidance_raise_nothing(tmp_path: Path) -> None:
    results = sweep_scales("digits", (1.0, 2.0, 3.0), settings=Settings(n=300, device="cpu"), out=tmp_path / "run")
    assert "pathologies" not in results.tables
    accuracy = [row["value"] for row in results.tables["curve"] if row["score"] == "class_accuracy"]
    assert isinstance(accuracy[0], float)
    assert isinstance(accuracy[2], float)
    assert accuracy[2] >= accuracy[0]
