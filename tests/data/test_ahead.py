"""Reading ahead gives the same images, whatever is asked for."""

import numpy as np
import pytest

from diffeval.data.ahead import ReadAhead
from diffeval.data.pixels import Images, InMemory, Rows
from diffeval.errors import DiffevalError

NONE = np.empty(0, dtype=np.int64)


class _Files:
    """Images that are their own numbers, and a record of what was read."""

    shapes = np.tile(np.array([1, 1, 1]), (100, 1))

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def __len__(self) -> int:
        return 100

    def read(self, rows: Rows) -> Images:
        numbers = np.asarray(rows, dtype=np.int64)
        self.asked.append(numbers.tolist())
        if 66 in numbers:
            raise DiffevalError("66 cannot be read")
        return numbers.astype(np.uint8).reshape(-1, 1, 1, 1)

    def content_hash(self) -> str:
        return ""

    def name(self, row: int) -> str:
        return str(row)


def _read(ahead: ReadAhead, rows: range, then: range) -> list[int]:
    found: list[int] = ahead.read(np.array(rows), np.array(then, dtype=np.int64)).ravel().tolist()
    return found


def test_rows_that_were_foretold_are_read_once() -> None:
    files = _Files()
    ahead = ReadAhead(files)
    for start in range(0, 40, 10):
        assert _read(ahead, range(start, start + 10), range(start + 10, min(start + 20, 40))) == list(
            range(start, start + 10)
        )
    assert files.asked == [list(range(start, start + 10)) for start in range(0, 40, 10)]


def test_other_rows_than_foretold_are_right_all_the_same() -> None:
    ahead = ReadAhead(_Files())
    assert _read(ahead, range(5), range(5, 10)) == list(range(5))
    assert _read(ahead, range(7, 9), range(9, 9)) == [7, 8]
    assert _read(ahead, range(5, 10), range(0)) == list(range(5, 10))


def test_an_error_comes_with_the_rows_that_have_it() -> None:
    ahead = ReadAhead(_Files())
    assert _read(ahead, range(60, 65), range(65, 70)) == list(range(60, 65))
    with pytest.raises(DiffevalError, match="66 cannot be read"):
        _read(ahead, range(65, 70), range(0))
    assert _read(ahead, range(70, 72), range(0)) == [70, 71]


def test_what_is_in_memory_is_not_read_ahead() -> None:
    ahead = ReadAhead(InMemory(np.arange(9, dtype=np.uint8).reshape(9, 1, 1, 1)))
    assert ahead.read(np.array([3, 1]), np.array([4])).ravel().tolist() == [3, 1]
    assert ahead._expected is None
    assert len(ahead.read(NONE, NONE)) == 0
