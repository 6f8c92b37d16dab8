import numpy as np
import pytest

from diffeval.data.source import open_source
from diffeval.errors import DiffevalError


def test_split_sizes_and_range() -> None:
    train, heldout, everything = (open_source(f"digits@{split}") for split in ("train", "heldout", "all"))
    assert (len(train), len(heldout), len(everything)) == (1297, 500, 1797)
    assert train.images.dtype == np.uint8
    assert train.shape == (1, 8, 8)
    assert (train.images.min(), train.images.max()) == (0, 255)
    assert len(np.unique(train.images)) == 17


def test_splits_are_disjoint_and_complete() -> None:
    train, heldout, everything = (open_source(f"digits@{split}") for split in ("train", "heldout", "all"))
    rows = sorted(image.tobytes() for image in np.concatenate([train.images, heldout.images]))
    assert rows == sorted(image.tobytes() for image in everything.images)


def test_held_out_is_stratified() -> None:
    train, heldout = open_source("digits@train"), open_source("digits@heldout")
    assert train.labels is not None
    assert heldout.labels is not None
    shares = [np.bincount(part.labels) / len(part) for part in (train, heldout)]  # type: ignore[arg-type]
    assert np.abs(shares[0] - shares[1]).max() < 0.002


def test_default_split_is_train() -> None:
    assert open_source("digits").spec == "digits@train"


def test_hash_follows_content() -> None:
    assert open_source("digits").content_hash() == open_source("digits@train").content_hash()
    assert open_source("digits").content_hash() != open_source("digits@heldout").content_hash()


def test_batches_cover_everything_in_order() -> None:
    source = open_source("digits@heldout")
    parts = list(source.batches(64))
    assert [len(part) for part in parts] == [64] * 7 + [52]
    assert np.array_equal(np.concatenate(parts), source.images)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("digit", "did you mean 'digits'"),
        ("digits@trian", "did you mean 'train'"),
        ("digits@test", "use train, heldout or all"),
        ("digits:folder", "takes no argument"),
    ],
)
def test_wrong_specs(spec: str, message: str) -> None:
    with pytest.raises(DiffevalError, match=message):
        open_source(spec)
