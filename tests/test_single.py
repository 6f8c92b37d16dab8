"""Single images of a seed are those of the run."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from diffeval.cli.app import make_app
from diffeval.diffusion.conditions import balanced_labels
from diffeval.errors import DiffevalError
from diffeval.evaluate import sample
from diffeval.plan import Settings
from diffeval.single import draw_single

FAST = ("--steps", "2", "--device", "cpu", "--seed", "3")


def _run(*words: str):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(make_app(), list(words), prog_name="diffeval")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_they_are_those_of_the_run(tiny_checkpoint: Path, tmp_path: Path) -> None:
    settings = Settings(n=60, steps=2, seed=3, device="cpu")
    _, harvest = sample(tiny_checkpoint, settings=settings, out=tmp_path / "run")
    assert harvest.images is not None
    expected = harvest.images.gather("images", 60)[[42, 7]].astype(int)
    folder = draw_single(tiny_checkpoint, [42, 7], settings=settings, out=tmp_path / "few")
    assert sorted(path.name for path in folder.iterdir()) == ["00000007.png", "00000042.png"]
    found = np.stack([np.asarray(Image.open(folder / f"{index:08d}.png")) for index in (42, 7)])
    assert np.abs(found - expected[:, 0]).max() <= 1
    # Another one is put beside them.
    draw_single(tiny_checkpoint, [8], settings=settings, out=tmp_path / "few")
    assert len(list(folder.iterdir())) == 3


def test_the_command_draws_them_into_a_folder_or_one_file(tiny_checkpoint: Path, tmp_path: Path) -> None:
    done = _run("sample", str(tiny_checkpoint), *FAST, "--indices", "17,4,17", "--format", "npz", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["indices"] == [17, 4]
    with np.load(document["images"]) as held:
        assert held["arr_0"].shape == (2, 8, 8, 1)
        assert held["indices"].tolist() == [17, 4]
        assert held["arr_1"].tolist() == balanced_labels(0, 20, 10)[[17, 4]].tolist()
    done = _run("sample", str(tiny_checkpoint), *FAST, "--indices", "0", "--out", "one")
    assert done.exit_code == 0, done.output
    assert done.stdout == "1 image in one/png\n"


@pytest.mark.parametrize("text", ["a", "1,,2", "-1", "1.5", ""])
def test_what_is_no_index(text: str, tiny_checkpoint: Path) -> None:
    done = _run("sample", str(tiny_checkpoint), *FAST, "--indices", text)
    assert done.exit_code == 2
    assert "is no index; write whole numbers from 0, e.g. --indices 17,42" in " ".join(done.output.split())


def test_a_number_of_images_beside_them_is_refused(tiny_checkpoint: Path) -> None:
    done = _run("sample", str(tiny_checkpoint), *FAST, "--indices", "3", "--n", "10")
    assert done.exit_code == 2
    assert "--indices names the images" in done.output


def test_a_run_is_not_written_into(tiny_checkpoint: Path, tmp_path: Path) -> None:
    settings = Settings(n=4, steps=2, device="cpu")
    sample(tiny_checkpoint, settings=settings, out=tmp_path / "run")
    with pytest.raises(DiffevalError, match="is a run directory, and --indices makes no run; choose another --out"):
        draw_single(tiny_checkpoint, [1], settings=settings, out=tmp_path / "run")
