"""The published layouts, made again small, and read by torchvision's own classes for comparison."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat
from torchvision import datasets

from diffeval.data.source import OpenOptions, open_source
from diffeval.errors import DiffevalError

RANDOM = np.random.default_rng(0)


def batch(n: int, key: str, classes: int) -> dict[str, Any]:
    data = RANDOM.integers(0, 256, (n, 3072), dtype=np.uint8)
    return {"data": data, key: [int(x) for x in RANDOM.integers(0, classes, n)], "batch_label": "x"}


def dump(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-py"
    for number in range(1, 6):
        dump(folder / f"data_batch_{number}", batch(4, "labels", 10))
    dump(folder / "test_batch", batch(6, "labels", 10))
    dump(folder / "batches.meta", {"label_names": [str(i) for i in range(10)]})
    folder = tmp_path / "cifar-100-python"
    dump(folder / "train", batch(9, "fine_labels", 100))
    dump(folder / "test", batch(5, "fine_labels", 100))
    dump(folder / "meta", {"fine_label_names": [f"class {i}" for i in range(100)]})
    return tmp_path


def unchecked(monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    """Ours are not the published files, so torchvision's checksums cannot hold."""
    monkeypatch.setattr(kind, "_check_integrity", lambda self: True)


@pytest.mark.parametrize(("name", "kind"), [("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)])
def test_cifar_is_what_torchvision_reads(cifar: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: type) -> None:
    unchecked(monkeypatch, kind)
    monkeypatch.setattr(kind, "_load_meta", lambda self: None)
    for split, train in (("train", True), ("test", False), ("heldout", False)):
        ours, theirs = open_source(f"{name}:{cifar}@{split}"), kind(str(cifar), train=train)
        assert np.array_equal(ours.images, theirs.data.transpose(0, 3, 1, 2))
        assert ours.labels is not None
        assert ours.labels.tolist() == theirs.targets
    assert len(open_source(f"{name}:{cifar}@all")) == {"cifar10": 26, "cifar100": 14}[name]
    assert open_source(f"{name}:{cifar}").classes[-1] == {"cifar10": "truck", "cifar100": "class 99"}[name]


def test_cifar_pickled_by_python_2_has_bytes_for_strings(cifar: Path) -> None:
    content = {key.encode(): value for key, value in batch(6, "labels", 10).items()}
    dump(cifar / "cifar-10-batches-py" / "test_batch", content)
    assert np.array_equal(open_source(f"cifar10:{cifar}@test").images.reshape(6, -1), content[b"data"])


def test_a_pickle_that_would_run_something_runs_nothing(cifar: Path, tmp_path: Path) -> None:
    class Planted:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return (Path.touch, (tmp_path / "planted",))

    for planted in (Planted(), {"data": Planted()}):
        dump(cifar / "cifar-10-batches-py" / "test_batch", planted)
        with pytest.raises(DiffevalError, match="which is never run here"):
            open_source(f"cifar10:{cifar}@test")
    assert not (tmp_path / "planted").exists()


def test_damaged_batches_say_so(cifar: Path) -> None:
    path = cifar / "cifar-10-batches-py" / "test_batch"
    whole, good = path.read_bytes(), batch(6, "labels", 10)
    for data, message in (
        (whole[:1000], "cannot read .*test_batch"),
        (pickle.dumps([1]), "holds a list"),
        (pickle.dumps({**good, "data": np.zeros((6, 100), np.uint8)}), "no uint8 rows of 3072"),
        (pickle.dumps({**good, "labels": [1, 2]}), "one label for each image"),
        (pickle.dumps({**good, "labels": [1, 2, 3, 4, 5, 10]}), "labels go from 1 to 10, and there are 10 classes"),
    ):
        path.write_bytes(data)
        with pytest.raises(DiffevalError, match=message) as caught:
            open_source(f"cifar10:{cifar}@test")
        assert "\n" not in str(caught.value)


def test_svhn_is_what_torchvision_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part, n in (("train", 12), ("test", 7)):
        pixels = RANDOM.integers(0, 256, (32, 32, 3, n), dtype=np.uint8)
        savemat(tmp_path / f"{part}_32x32.mat", {"X": pixels, "y": RANDOM.integers(1, 11, (n, 1), dtype=np.uint8)})
    unchecked(monkeypatch, datasets.SVHN)
    for part in ("train", "test"):
        ours, theirs = open_source(f"svhn:{tmp_path}@{part}"), datasets.SVHN(str(tmp_path), split=part)
        assert np.array_equal(ours.images, theirs.data)
        assert np.array_equal(ours.labels, theirs.labels)  # type: ignore[arg-type]
    assert len(open_source(f"svhn:{tmp_path}@all")) == 19
    (tmp_path / "test_32x32.mat").write_bytes(b"text")
    with pytest.raises(DiffevalError, match=r"cannot read .*test_32x32\.mat"):
        open_source(f"svhn:{tmp_path}@test")


def test_stl10_is_what_torchvision_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    for part, n in (("train", 5), ("test", 3)):
        RANDOM.integers(0, 256, (n, 3 * 96 * 96), dtype=np.uint8).tofile(folder / f"{part}_X.bin")
        RANDOM.integers(1, 11, n, dtype=np.uint8).tofile(folder / f"{part}_y.bin")
    (folder / "fold_indices.txt").write_text("\n".join(["0 1"] * 10))
    unchecked(monkeypatch, datasets.STL10)
    for part in ("train", "test"):
        ours, theirs = open_source(f"stl10:{tmp_path}@{part}"), datasets.STL10(str(tmp_path), split=part)
        assert np.array_equal(ours.images, theirs.data)
        assert np.array_equal(ours.labels, theirs.labels)  # type: ignore[arg-type]
    (folder / "test_X.bin").write_bytes(b"short")
    with pytest.raises(DiffevalError, match="holds 5 bytes, 3 labels need 82944"):
        open_source(f"stl10:{tmp_path}@test")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "stl10"])
def test_what_is_missing_says_how_to_get_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(DiffevalError, match=f"^{name}:.* is not in .*; needs .*; add --download"):
        open_source(f"{name}:{tmp_path}")
    with pytest.raises(DiffevalError, match="--offline forbids a download"):
        open_source(f"{name}:{tmp_path}", options=OpenOptions(download=True, offline=True))
