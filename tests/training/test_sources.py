"""Training on images that people have on disk."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffeval.data.source import ImageSource, OpenOptions, open_source
from diffeval.errors import DiffevalError
from diffeval.progress import SilentReporter
from diffeval.training.recipe import Recipe
from diffeval.training.train import train

FEW = Recipe(steps=2, batch=4, warmup=1)


def write(folder: Path, n: int, size: tuple[int, ...] = (8, 8)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for row in range(n):
        array = np.random.default_rng(row).integers(0, 256, size, dtype=np.uint8)
        Image.fromarray(array).save(folder / f"{row}.png")


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]


class Notes(SilentReporter):
    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_a_folder_trains_with_its_classes_and_the_card_remembers_it(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write(tmp_path / "data" / name, 6)
    source = open_source(f"folder:{tmp_path / 'data'}")
    train(source, FEW, tmp_path / "out", device="cpu")
    card = json.loads((tmp_path / "out" / "diffeval.json").read_text())
    assert (card["data"], card["classes"]) == (source.spec, ["cat", "dog"])
    assert card["data_hash"] == source.content_hash()


def test_the_card_finds_its_data_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "data", 6)
    monkeypatch.chdir(tmp_path)
    train(open_source("folder:data"), FEW, tmp_path / "out", device="cpu")
    card = json.loads((tmp_path / "out" / "diffeval.json").read_text())
    assert card["data"] == f"folder:{(tmp_path / 'data').resolve()}@all"


def test_images_read_batch_by_batch_train_as_those_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "data", 10, (8, 8, 3))
    source = open_source(f"folder:{tmp_path / 'data'}")
    train(source, FEW, tmp_path / "held", device="cpu")
    monkeypatch.setattr(ImageSource, "in_memory", lambda self: self)
    reporter = Notes()
    train(source, FEW, tmp_path / "read", device="cpu", reporter=reporter)
    assert losses(tmp_path / "held") == losses(tmp_path / "read")
    assert any("read anew for every batch" in note for note in reporter.notes)


def test_what_was_skipped_stays_with_the_run(tmp_path: Path) -> None:
    write(tmp_path / "data", 10)
    (tmp_path / "data" / "3.png").write_bytes(b"text")
    reporter = Notes()
    source = open_source(f"folder:{tmp_path / 'data'}", options=OpenOptions(on_bad="skip", reporter=reporter))
    run = train(source, FEW, tmp_path / "out", device="cpu", reporter=reporter)
    state = run.state()
    assert state is not None
    assert any("1 of 10 images cannot be used and was left out, 9 remain: 3.png" in line for line in state.warnings)


def test_images_that_cannot_be_trained_on_leave_no_folder(tmp_path: Path) -> None:
    write(tmp_path / "wide", 4, (8, 12))
    with pytest.raises(DiffevalError, match="images of 8 x 12; crop them to squares first"):
        train(open_source(f"folder:{tmp_path / 'wide'}"), FEW, tmp_path / "out", device="cpu")
    write(tmp_path / "mixed", 4)
    write(tmp_path / "mixed" / "more", 3, (16, 16))
    with pytest.raises(DiffevalError, match=r"different sizes \(4 of 8 x 8, 3 of 16 x 16\)"):
        train(open_source(f"folder:{tmp_path / 'mixed'}"), FEW, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()
