"""Ready-made images in the place of a checkpoint."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffeval.data.source import ImageSource, OpenOptions, open_source
from diffeval.errors import DiffevalError
from diffeval.evaluate import evaluate
from diffeval.measured import open_measured
from diffeval.plan import Settings, plan_images
from diffeval.ready import ReadyImages, open_images, shown

CPU = torch.device("cpu")


@pytest.fixture
def heldout() -> ImageSource:
    return open_source("digits@heldout")


@pytest.fixture
def archive(tmp_path: Path, heldout: ImageSource) -> Path:
    path = tmp_path / "samples.npz"
    np.savez(path, arr_0=heldout.images.transpose(0, 2, 3, 1), arr_1=heldout.labels)
    return path


def _folder(tmp_path: Path, source: ImageSource) -> Path:
    assert source.labels is not None
    for index, (image, label) in enumerate(zip(source.images, source.labels, strict=True)):
        folder = tmp_path / "pngs" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(folder / f"{index:04d}.png")
    return tmp_path / "pngs"


def test_real_images_as_generated_ones_read_what_the_floor_reads(archive: Path, tmp_path: Path) -> None:
    """The floor of a run is these very images against this very reference, both sides counted."""
    results = evaluate(f"images:{archive}", ref="digits@train", out=tmp_path / "run")
    assert (results.protocol.sampler, results.protocol.steps, results.provenance.n) == (None, None, 500)
    plain = results.score("fid").value
    (floor,) = [row["value"] for row in results.tables["floor"] if row["score"] == "fid"]
    assert plain == pytest.approx(floor, rel=1e-6)
    assert any("unknown whether what made samples was trained on" in said for said in results.warnings)


def test_a_folder_and_an_archive_of_the_same_images_agree(archive: Path, tmp_path: Path, heldout: ImageSource) -> None:
    one = evaluate(f"images:{archive}", ref="digits@train", out=tmp_path / "one", at=[500])
    folder = _folder(tmp_path, heldout)
    other = evaluate(f"images:{folder}", ref="digits@train", out=tmp_path / "other", at=[500])
    assert other.score("fid").value == pytest.approx(one.score("fid").value, rel=1e-9)
    # What raises FID most is named by its file, and by its row in the archive: both hold the order of the source.
    files = [str(row["image"]) for row in other.tables["raises_fid"]]
    rows = [str(row["image"]) for row in one.tables["raises_fid"]]
    assert sorted(rows) == sorted(f"row {int(Path(name).stem)}" for name in files)


def test_an_order_that_hides_no_class(archive: Path, tmp_path: Path, heldout: ImageSource) -> None:
    """Files come sorted by class; the first 100 that count are not ten of one class."""
    ready = open_images(f"images:{_folder(tmp_path, heldout)}", OpenOptions())
    order = shown(ready, CPU).order
    assert sorted(order) == list(range(500))
    assert ready.source.labels is not None
    assert len(np.unique(ready.source.labels[order[:100]])) == 10


def test_classes_of_equal_size_count_as_drawn_class_by_class(tmp_path: Path) -> None:
    pixels = np.random.Generator(np.random.Philox(0)).integers(0, 256, (61, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "even.npz", arr_0=pixels, arr_1=np.sort(np.arange(61) % 4))
    even = shown(open_images(f"images:{tmp_path / 'even.npz'}", OpenOptions()), CPU)
    labels = even.labels(range(61))
    assert labels is not None
    assert all(sorted(labels[start : start + 4]) == [0, 1, 2, 3] for start in range(0, 60, 4))
    np.savez(tmp_path / "uneven.npz", arr_0=pixels, arr_1=np.arange(61) // 30)
    assert shown(open_images(f"images:{tmp_path / 'uneven.npz'}", OpenOptions()), CPU).labels(range(61)) is None


def test_settings_of_sampling_are_refused_by_name(archive: Path) -> None:
    ready = open_measured(f"images:{archive}")
    assert isinstance(ready, ReadyImages)
    for settings, flag in (
        (Settings(n=10, w=2.0), "--w"),
        (Settings(n=10, seed=1), "--seed"),
        (Settings(n=10, sampler="ddim"), "--sampler"),
        (Settings(n=10, dtype="bf16"), "--dtype"),
    ):
        with pytest.raises(DiffevalError, match=f"ready-made images; leave {flag} out"):
            plan_images(ready, settings)
    with pytest.raises(DiffevalError, match="holds 500 images, --n asks for 501"):
        plan_images(ready, Settings(n=501))


def test_images_need_a_reference(archive: Path) -> None:
    with pytest.raises(DiffevalError, match="samples does not say what real images look like; give --ref"):
        evaluate(f"images:{archive}")


def test_a_run_of_images_is_continued_and_extended(archive: Path, tmp_path: Path) -> None:
    settings = Settings(n=200, device="cpu", batch=64)
    evaluate(f"images:{archive}", settings=settings, ref="digits", out=tmp_path / "run")
    more = Settings(n=500, device="cpu", batch=64)
    grown = evaluate(f"images:{archive}", settings=more, ref="digits", out=tmp_path / "run")
    whole = evaluate(f"images:{archive}", settings=more, ref="digits", out=tmp_path / "whole")
    assert grown.score("fid").value == whole.score("fid").value
