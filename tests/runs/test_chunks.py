from pathlib import Path

import numpy as np
import pytest

from diffeval.runs.chunks import ChunkStore


@pytest.fixture
def store(tmp_path: Path) -> ChunkStore:
    return ChunkStore(tmp_path / "features", 4, ("features",))


def test_available_counts_without_gaps(store: ChunkStore) -> None:
    assert store.available() == 0
    store.write(0, {"features": np.arange(4.0)})
    store.write(8, {"features": np.arange(4.0)})
    assert store.available() == 4
    store.write(4, {"features": np.arange(3.0)})
    assert store.available() == 7


def test_gather_is_in_order_and_exact(store: ChunkStore) -> None:
    store.write(0, {"features": np.arange(4.0)})
    store.write(4, {"features": np.arange(4.0, 7.0)})
    assert store.gather("features", 6).tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(LookupError):
        store.gather("features", 8)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut short", b"garbage"])
def test_a_damaged_chunk_counts_as_absent(store: ChunkStore, damage: bytes) -> None:
    store.write(0, {"features": np.arange(4.0)})
    store.path(0).write_bytes(damage)
    assert store.rows(0) == 0


def test_a_truncated_chunk_counts_as_absent(store: ChunkStore) -> None:
    store.write(0, {"features": np.arange(4.0)})
    content = store.path(0).read_bytes()
    store.path(0).write_bytes(content[: len(content) // 2])
    assert store.rows(0) == 0


def test_pickled_arrays_are_not_read(store: ChunkStore) -> None:
    store.folder.mkdir(parents=True)
    np.savez(store.path(0), features=np.array([object()], dtype=object))
    assert store.rows(0) == 0
