import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from diffeval.data.source import OpenOptions, open_source
from diffeval.errors import DiffevalError

TRAIN, TEST = (
    np.random.default_rng(seed).integers(0, 256, (n, 4, 3), dtype=np.uint8) for seed, n in ((0, 50), (1, 20))
)


def idx(values: np.ndarray) -> bytes:
    """The format as its authors describe it: magic number, big-endian extents, bytes."""
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def write(folder: Path, beginning: str, images: np.ndarray, packed: bool = False, mark: str = "-idx{}-") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    labels = (np.arange(len(images)) % 10).astype(np.uint8)
    for kind, values in (("images", images), ("labels", labels)):
        name = f"{beginning}-{kind}{mark.format(values.ndim)}ubyte"
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(values)))
        else:
            (folder / name).write_bytes(idx(values))
    return folder


def test_both_pairs_are_the_parts(tmp_path: Path) -> None:
    write(tmp_path, "train", TRAIN, packed=True)
    write(tmp_path, "t10k", TEST)
    parts = {split: open_source(f"mnist:{tmp_path}@{split}") for split in ("train", "test", "heldout", "all")}
    assert np.array_equal(parts["train"].images, TRAIN[:, None])
    assert np.array_equal(parts["test"].images, TEST[:, None])
    assert np.array_equal(parts["heldout"].images, TEST[:, None])
    assert np.array_equal(parts["all"].images, np.concatenate([TRAIN, TEST])[:, None])
    assert parts["all"].labels is not None
    assert parts["all"].labels.tolist() == [*(np.arange(50) % 10), *(np.arange(20) % 10)]
    assert parts["train"].notes == ()
    assert open_source(f"mnist:{tmp_path}").spec == f"mnist:{tmp_path}@train"


@pytest.mark.parametrize("place", ["", "raw", "FashionMNIST/raw"])
@pytest.mark.parametrize("mark", ["-idx{}-", ".idx{}-"])
def test_names_and_places_in_use_are_found(tmp_path: Path, place: str, mark: str) -> None:
    write(tmp_path / place, "train", TRAIN, mark=mark)
    source = open_source(f"fashion-mnist:{tmp_path}@all")
    assert len(source) == 50
    assert source.classes[9] == "Ankle boot"


def test_one_pair_is_split_by_seed_and_class_and_said(tmp_path: Path) -> None:
    write(tmp_path, "t10k", np.concatenate([TRAIN, TRAIN + 1]))
    train, heldout = open_source(f"mnist:{tmp_path}"), open_source(f"mnist:{tmp_path}@heldout")
    assert (len(train), len(heldout)) == (90, 10)
    assert sorted(heldout.labels) == list(range(10))  # type: ignore[arg-type]
    seen = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in seen for image in heldout.images)
    assert train.notes == (
        "only the test files are here, so it has no parts of its own; this is a seeded 9:1 split, 90 of 100 images",
    )
    with pytest.raises(DiffevalError, match="has no test part of its own"):
        open_source(f"mnist:{tmp_path}@test")


def test_damaged_files_say_what_is_wrong(tmp_path: Path) -> None:
    write(tmp_path, "train", TRAIN)
    images, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte"
    whole = images.read_bytes()
    for data, message in (
        (whole[:-1], "promises 600 bytes and holds 599"),
        (whole + b"x", "promises 600 bytes and holds more"),
        (whole[:10], "begins with 00000803"),
        (labels.read_bytes(), "begins with 00000801, an IDX file with 00000803"),
        (b"", "begins with nothing"),
        (gzip.compress(whole)[:-20], "cannot read"),
        (struct.pack(">IIII", 0x803, 1 << 31, 1 << 31, 9), "it is damaged"),
        (idx(TRAIN[:40]), "holds 40 images and .* 50 labels"),
        (idx(TRAIN[:0]), "holds 0 images"),
    ):
        images.write_bytes(data)
        with pytest.raises(DiffevalError, match=message) as caught:
            open_source(f"mnist:{tmp_path}@all")
        assert "\n" not in str(caught.value)
    images.write_bytes(whole)
    labels.write_bytes(idx(np.full(50, 11, np.uint8)))
    with pytest.raises(DiffevalError, match="labels go from 11 to 11, and there are 10 classes"):
        open_source(f"mnist:{tmp_path}@all")
    labels.unlink()
    with pytest.raises(DiffevalError, match="is there and its labels are not"):
        open_source(f"mnist:{tmp_path}@all")


def test_what_is_missing_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DiffevalError, match=r"needs train-images-idx3-ubyte\.gz .*add --download"):
        open_source(f"mnist:{tmp_path}")
    with pytest.raises(DiffevalError, match="--offline forbids"):
        open_source(f"mnist:{tmp_path}", options=OpenOptions(download=True, offline=True))


def test_a_download_goes_where_torchvision_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    def fetched(folder: str, download: bool) -> None:
        assert download
        write(Path(folder) / "MNIST" / "raw", "train", TRAIN, packed=True)
        write(Path(folder) / "MNIST" / "raw", "t10k", TEST, packed=True)

    monkeypatch.setenv("DIFFEVAL_CACHE", str(tmp_path))
    monkeypatch.setattr(datasets, "MNIST", fetched)
    assert len(open_source("mnist@test", options=OpenOptions(download=True))) == 20
    assert len(open_source("mnist")) == 50, "a second command finds it without --download"

    def refused(folder: str, download: bool) -> None:
        raise RuntimeError("no\nnetwork")

    monkeypatch.setattr(datasets, "FashionMNIST", refused)
    with pytest.raises(DiffevalError, match=r"cannot download Fashion-MNIST: no network; .* can be put there"):
        open_source("fashion-mnist", options=OpenOptions(download=True))


@pytest.mark.skipif("DIFFEVAL_TEST_MNIST" not in os.environ, reason="DIFFEVAL_TEST_MNIST names no folder")
def test_the_real_test_images() -> None:
    source = open_source(f"mnist:{os.environ['DIFFEVAL_TEST_MNIST']}@all")
    assert (len(source), source.shape) == (10_000, (1, 28, 28))
    # As published: the first labels, and how many there are of each digit.
    assert source.labels is not None
    assert source.labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    assert np.bincount(source.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert source.triage.findings == ()
