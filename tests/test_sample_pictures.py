"""Which images of a run are kept for its page: choices by hand on planted features, and the wiring with a network."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from diffeval.data.pixels import InMemory
from diffeval.data.source import ImageSource
from diffeval.diffusion.sampling import Generator
from diffeval.evaluate import evaluate
from diffeval.harvest import Harvest, Memory
from diffeval.metrics.metric import FeatureSet
from diffeval.plan import Settings
from diffeval.real import RealImages
from diffeval.runs.directory import RunDirectory
from diffeval.sample_pictures import CLASSES, LARGEST, Setting, sample_pictures, shrunk

N, M = 120, 200


class _Maker:
    """Image i is flat, of level i; it remembers what it was asked for."""

    image_shape, device, limit = (1, 4, 4), torch.device("cpu"), None

    def __init__(self) -> None:
        self.asked: list[int] = []

    def images(self, indices: Sequence[int]) -> np.ndarray:
        self.asked += list(indices)
        return np.array(indices, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 4, 4), dtype=np.uint8)

    def labels(self, indices: Sequence[int]) -> None:
        return None


def _images(n: int, seed: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).integers(0, 256, (n, 1, 4, 4), dtype=np.uint8)


def _setting(**changes: object) -> Setting:
    """Image 17 lies far from all real ones, image 40 a hair from real image 5, others somewhere among them."""
    random = np.random.Generator(np.random.Philox(1))
    real, ours = random.normal(size=(M, 3)), random.normal(size=(N, 3))
    ours[17], ours[40] = 50.0, real[5] + 1e-3
    labels = np.arange(N) % 4
    reference = ImageSource("planted", "train", InMemory(_images(M, 2), "real"))
    known = FeatureSet(real)
    generated = FeatureSet(ours, labels, classes=("cat", "dog", "cow", "owl"))
    tables = {"raises_fid": tuple({"index": one, "influence": 1.0} for one in (17, 3, 9))}
    made = Setting(
        generated, RealImages("planted@train", "f", known, None, False, ()), reference, _Maker(), None,
        "planted@train", tables,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def _pixel(found: dict[str, np.ndarray], index: int) -> int:
    return int(found["images"][found["index"].tolist().index(index), 0, 0, 0])


def test_the_planted_outlier_is_worst_and_the_planted_copy_nearest() -> None:
    setting = _setting()
    found = sample_pictures(setting, setting.maker.images, None)
    assert found["worst"][0] == 17
    assert found["worst_realism"][0] < 0.1
    assert (np.diff(found["worst_realism"]) >= 0).all()
    assert (np.diff(found["best_realism"]) <= 0).all()
    assert found["nearest.index"][0] == 40
    assert found["nearest.distance"][0, 0] == pytest.approx(1e-3 * np.sqrt(3), rel=1e-6)
    assert found["nearest.name"][0, 0] == "row 5"
    np.testing.assert_array_equal(found["nearest.real"][0, 0], setting.reference.pixels.read([5])[0])
    assert bool(found["trained"])
    assert found["raises_fid"].tolist() == [17, 3, 9]
    # Nothing is held out, so that there is no yardstick.
    assert "beaten" not in found


def test_each_image_is_drawn_once_and_is_the_one_of_its_index() -> None:
    setting = _setting()
    found = sample_pictures(setting, setting.maker.images, None)
    assert isinstance(setting.maker, _Maker)
    assert sorted(setting.maker.asked) == found["index"].tolist() == sorted(set(setting.maker.asked))
    assert all(_pixel(found, index) == index for index in found["index"].tolist())


def test_classes_show_their_first_images() -> None:
    setting = _setting()
    found = sample_pictures(setting, setting.maker.images, None)
    assert found["classes"].tolist() == ["cat", "dog", "cow", "owl"]
    assert found["class_images"][1].tolist() == [1, 5, 9, 13, 17, 21, 25, 29]
    captions = dict(zip(found["index"].tolist(), found["caption"].tolist(), strict=True))
    assert captions[17] == "class dog"
    assert found["grid_caption"][:2].tolist() == ["class cat", "class dog"]


def test_of_many_classes_the_worst_are_shown_and_missing_images_are_marked() -> None:
    names = tuple(f"c{number}" for number in range(30))
    generated = replace(_setting().generated, labels=np.arange(N) % 30, classes=names)
    tables = {"per_class": ({"class": "c29"}, {"class": "c7"})}
    setting = _setting(generated=generated, tables=tables)
    found = sample_pictures(setting, setting.maker.images, None)
    assert len(found["classes"]) == CLASSES
    assert found["classes"][:3].tolist() == ["c29", "c7", "c0"]
    # 120 images of 30 classes are four of each.
    assert found["class_images"][0].tolist() == [29, 59, 89, 119, -1, -1, -1, -1]
    assert int(found["all_classes"]) == 30


def test_what_was_kept_before_is_not_drawn_again() -> None:
    first, setting = _setting(), _setting()
    before = sample_pictures(first, first.maker.images, None)
    again = sample_pictures(setting, setting.maker.images, before)
    assert isinstance(setting.maker, _Maker)
    assert setting.maker.asked == []
    np.testing.assert_array_equal(again["images"], before["images"])


@pytest.mark.parametrize("damage", ["index", "images"])
def test_what_is_not_as_it_should_be_is_drawn_anew(damage: str) -> None:
    setting = _setting()
    before = sample_pictures(setting, setting.maker.images, None)
    del before[damage]
    again = sample_pictures(setting, setting.maker.images, before)
    assert all(_pixel(again, index) == index for index in again["index"].tolist())


def test_moments_alone_leave_what_needs_no_real_images() -> None:
    nothing = RealImages("stats", "f", FeatureSet(np.empty((0, 3))), None, False, ())
    setting = _setting(real=nothing, reference=None)
    found = sample_pictures(setting, setting.maker.images, None)
    assert not {"best", "worst", "nearest.index"} & set(found)
    assert {"classes", "raises_fid"} <= set(found)


def test_large_images_are_shrunk_by_averaging() -> None:
    images = np.zeros((2, 3, 2 * LARGEST, LARGEST), dtype=np.uint8)
    images[:, :, ::2] = 200
    found = shrunk(images)
    assert found.shape == (2, 3, LARGEST, LARGEST // 2)
    assert (found == 100).all()
    assert shrunk(images[:, :, :8, :8]).shape == (2, 3, 8, 8)


def test_memory_holds_what_fits_and_the_rest_is_drawn_in_batches() -> None:
    maker = _Maker()
    harvest = Harvest(None, None, memory=Memory(room=3 * 16))
    harvest.memory.add(range(10, 20), np.full((10, 1, 4, 4), 7, dtype=np.uint8))
    found = harvest.drawn([30, 11, 13, 30], maker, 2)
    # 10, 11 and 12 fit.
    assert found[:, 0, 0, 0].tolist() == [30, 7, 13, 30]
    assert maker.asked == [13, 30]


def test_an_evaluation_keeps_pictures_of_its_largest_count(tiny_checkpoint: Path, tmp_path: Path) -> None:
    run, settings = RunDirectory(tmp_path / "run"), Settings(n=200, steps=2, device="cpu")
    evaluate(tiny_checkpoint, settings=settings, out=run.path)
    first = run.arrays("sample_pictures")
    assert first is not None
    assert len(first["best"]) == len(first["worst"]) == len(first["nearest.index"]) == 16
    assert first["class_images"].shape == (10, 8)
    state = run.state()
    assert state is not None
    assert state.seconds["pictures"] > 0
    grid = run.arrays("grid")
    assert grid is not None
    inside = first["index"] < 64
    np.testing.assert_array_equal(first["images"][inside], grid["images"][first["index"][inside]])
    evaluate(tiny_checkpoint, settings=replace(settings, n=300), out=run.path)
    more = run.arrays("sample_pictures")
    assert more is not None
    assert int(more["nearest.n"]) == 300
    # Fewer images are scored again, and the run stays that of 300.
    evaluate(tiny_checkpoint, settings=replace(settings, n=200), out=run.path)
    kept = run.arrays("sample_pictures")
    assert kept is not None
    assert int(kept["nearest.n"]) == 300


def test_a_run_that_was_continued_keeps_the_same_pictures(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(n=200, steps=2, device="cpu")
    evaluate(tiny_checkpoint, settings=settings, out=tmp_path / "whole")
    monkeypatch.setattr(Memory, "add", lambda *_: None)
    asked: list[int] = []
    images = Generator.images
    monkeypatch.setattr(Generator, "images", lambda self, indices: asked.append(len(indices)) or images(self, indices))
    evaluate(tiny_checkpoint, settings=settings, out=tmp_path / "parts")
    whole, parts = (RunDirectory(tmp_path / name).arrays("sample_pictures") for name in ("whole", "parts"))
    assert whole is not None
    assert parts is not None
    assert whole["index"].tolist() == parts["index"].tolist()
    gaps = np.abs(whole["images"].astype(int) - parts["images"])
    assert gaps.max() <= 1
    assert (gaps > 0).mean() <= 1e-3
    # Drawn anew in whole batches, not one by one.
    assert len(asked) <= 3


def test_ready_made_images_carry_their_file_names(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    levels = np.round(images.reshape(-1, 8, 8, 1) * 255 / 16).astype(np.uint8)
    np.savez(tmp_path / "some.npz", arr_0=levels[:300], arr_1=labels[:300])
    run = RunDirectory(tmp_path / "run")
    evaluate(f"images:{tmp_path / 'some.npz'}", settings=Settings(n=300), ref="digits@heldout", out=run.path)
    found = run.arrays("sample_pictures")
    assert found is not None
    assert all(caption.startswith("row ") for caption in found["caption"])
    row = int(found["caption"][0].removeprefix("row "))
    np.testing.assert_array_equal(found["images"][0, 0], levels[row, ..., 0])
    assert not bool(found["trained"])


def test_a_fresh_run_clears_its_pictures(tmp_path: Path) -> None:
    names = ("sample_pictures.npz", "mode_pictures.npz", "prompt_pictures.npz", "prompts.csv", "grid.npz")
    for name in (*names, "mine.txt"):
        (tmp_path / name).write_bytes(b"")
    RunDirectory(tmp_path).clear()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
