from pathlib import Path

import numpy as np
import pytest

from diffeval.data import npz
from diffeval.data.source import OpenOptions, open_source
from diffeval.errors import DiffevalError

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 8, 6, 3), dtype=np.uint8)
EXPECTED = IMAGES.transpose(0, 3, 1, 2)


def saved(tmp_path: Path, **arrays: np.ndarray) -> str:
    np.savez(tmp_path / "x.npz", **arrays)
    return f"npz:{tmp_path / 'x.npz'}"


def packed(tmp_path: Path, **arrays: np.ndarray) -> str:
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    return f"npz:{tmp_path / 'x.npz'}"


def test_a_sample_file_of_adm_has_images_and_labels(tmp_path: Path) -> None:
    labels = np.arange(30) % 5
    source = open_source(saved(tmp_path, arr_0=IMAGES, arr_1=labels))
    assert (source.split, source.shape, source.classes) == ("all", (3, 8, 6), ("0", "1", "2", "3", "4"))
    assert np.array_equal(source.images, EXPECTED)
    assert source.labels is not None
    assert np.array_equal(source.labels, labels)
    assert source.notes == ()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (EXPECTED, "uint8 NCHW"),
        ((IMAGES / np.float32(255)).astype(np.float32), "float32 NHWC, values from 0 to 1, read as [0, 1]"),
        ((EXPECTED / 127.5 - 1).astype(np.float32), "float32 NCHW, values from -1 to 1, read as [-1, 1]"),
        (IMAGES / 127.5 - 1, "float64 NHWC, values from -1 to 1, read as [-1, 1]"),
        (IMAGES.astype(np.float32), "float32 NHWC, values from 0 to 255, read as [0, 255]"),
        (IMAGES.astype(np.int64), "int64 NHWC, values from 0 to 255, read as [0, 255]"),
        ((IMAGES / 127.5 - 1) * 1.0005, "float64 NHWC, values from -1 to 1, read as [-1, 1]"),
    ],
)
def test_type_range_and_layout_are_recognised_and_said(tmp_path: Path, array: np.ndarray, words: str) -> None:
    source = open_source(packed(tmp_path, arr_0=array))
    assert np.array_equal(source.images, EXPECTED)
    assert source.notes == (f"arr_0 holds {words}",)


def test_grey_without_a_channel_axis(tmp_path: Path) -> None:
    source = open_source(saved(tmp_path, images=IMAGES[..., 0]))
    assert source.shape == (1, 8, 6)
    assert np.array_equal(source.images[:, 0], IMAGES[..., 0])


def test_a_split_is_seeded_and_covers_everything(tmp_path: Path) -> None:
    spec = saved(tmp_path, arr_0=IMAGES, arr_1=np.arange(30) % 3)
    train, heldout = open_source(f"{spec}@train"), open_source(f"{spec}@heldout")
    assert (len(train), len(heldout)) == (27, 3)
    assert sorted(heldout.labels) == [0, 1, 2]  # type: ignore[arg-type]
    rows = sorted(image.tobytes() for image in np.concatenate([train.images, heldout.images]))
    assert rows == sorted(image.tobytes() for image in np.ascontiguousarray(EXPECTED))


def test_nan_is_counted_and_named_and_can_be_left_out(tmp_path: Path) -> None:
    array = (IMAGES / 255).astype(np.float32)
    array[[4, 9], 0, 0, 0] = np.nan, np.inf
    spec = saved(tmp_path, arr_0=array, arr_1=np.arange(30))
    with pytest.raises(DiffevalError, match=r"2 of 30 images hold NaN or infinity: image 4, image 9; .*--on-bad skip"):
        open_source(spec)
    source = open_source(spec, options=OpenOptions(on_bad="skip"))
    assert len(source) == 28
    assert np.array_equal(source.images, np.delete(EXPECTED, [4, 9], axis=0))
    assert np.array_equal(source.labels, np.delete(np.arange(30), [4, 9]))  # type: ignore[arg-type]
    assert source.triage.looked_at == 30
    array[:] = np.nan
    with pytest.raises(DiffevalError, match="NaN or infinity in every image"):
        open_source(saved(tmp_path, arr_0=array), options=OpenOptions(on_bad="skip"))


def test_constant_images_and_copies_are_named_by_their_place_in_the_file(tmp_path: Path) -> None:
    array = IMAGES.copy()
    array[[3, 5]] = 0
    array[20] = array[8]
    source = open_source(saved(tmp_path, arr_0=array))
    assert source.triage.warnings() == (
        "2 of 30 images are of a single colour: image 3, image 5",
        "1 of 30 images is an exact copy of an earlier one: image 20",
    )


@pytest.mark.parametrize("save", [saved, packed])
def test_what_is_too_large_for_memory_is_read_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: object
) -> None:
    spec = save(tmp_path, arr_0=(IMAGES / 127.5 - 1), arr_1=np.arange(30) % 2)  # type: ignore[operator]
    held = open_source(f"{spec}@train")
    monkeypatch.setattr(npz, "IN_MEMORY", 0)
    streamed = open_source(f"{spec}@train")
    assert isinstance(streamed.pixels, npz.NpzPixels)
    assert streamed.content_hash() == held.content_hash()
    assert np.array_equal(streamed.pixels.read([20, 3, 4, 5, 3]), held.images[[20, 3, 4, 5, 3]])
    assert np.array_equal(np.concatenate(list(streamed.batches(7))), held.images)


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    cases = {
        "holds statistics": {"mu": np.zeros(4), "sigma": np.eye(4)},
        "holds a, b; call the images": {"a": IMAGES, "b": IMAGES},
        "4 channels are not dropped": {"arr_0": np.zeros((5, 8, 8, 4), np.uint8)},
        "is 5x8x8x2, needs NHWC": {"arr_0": np.zeros((5, 8, 8, 2), np.uint8)},
        "is empty": {"arr_0": np.zeros((0, 8, 8, 3), np.uint8)},
        "values from -3 to 0": {"arr_0": np.full((5, 8, 8, 3), -3.0) * np.array([0, 1, 1])},
        "values from 0 to 300": {"arr_0": np.array([0, 300, 5] * 64).reshape(1, 8, 8, 3)},
        "is bool, needs uint8 or float": {"arr_0": np.zeros((5, 8, 8, 3), bool)},
        "needs one integer for each of the 30": {"arr_0": IMAGES, "arr_1": np.eye(30)},
        "goes from -1 to": {"arr_0": IMAGES, "arr_1": np.arange(30) - 1},
        "is in Fortran order": {"arr_0": np.asfortranarray(IMAGES)},
    }
    for message, arrays in cases.items():
        with pytest.raises(DiffevalError, match=message) as caught:
            open_source(saved(tmp_path, **arrays))
        assert "\n" not in str(caught.value)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Planted:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "planted",))  # type: ignore[return-value]

    np.savez(tmp_path / "x.npz", arr_0=np.array([Planted()], dtype=object), allow_pickle=True)
    with pytest.raises(DiffevalError, match="never unpickled"):
        open_source(f"npz:{tmp_path / 'x.npz'}")
    assert not (tmp_path / "planted").exists()


def test_damage_is_one_line(tmp_path: Path) -> None:
    spec = saved(tmp_path, arr_0=IMAGES)
    path = tmp_path / "x.npz"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[1000] ^= 0xFF
    for data, message in ((whole[:500], "as npz"), (b"text", "as npz"), (b"", "as npz"), (bytes(flipped), "damaged")):
        path.write_bytes(data)
        with pytest.raises(DiffevalError, match=message):
            open_source(spec)
    with pytest.raises(DiffevalError, match="cannot read"):
        open_source(f"npz:{tmp_path / 'none.npz'}")
    with pytest.raises(DiffevalError, match="needs a path"):
        open_source("npz:")
