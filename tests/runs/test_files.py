"""Arrays are read only where the file holds as many bytes as its headers promise."""

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from diffeval.runs.files import read_arrays, regular, require_honest


def _archive(path: Path, shape: str, data: bytes, *, dtype: str = "<f8") -> Path:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data)
    return path


def test_an_honest_file_is_read(tmp_path: Path) -> None:
    found = read_arrays(_archive(tmp_path / "a.npz", "(2,)", np.array([1.0, 2.0]).tobytes()))
    assert found is not None
    assert found["x"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "shape",
    ["(1000000000000,)", "(100000, 100000, 100000)", "(3,)", "(" * 3000 + ")" * 3000, "(18446744073709551616,)"],
)
def test_a_header_that_promises_more_than_there_is_allocates_nothing(tmp_path: Path, shape: str) -> None:
    path = _archive(tmp_path / "a.npz", shape, bytes(16))
    assert read_arrays(path) is None
    with zipfile.ZipFile(path) as archive, pytest.raises(ValueError, match=r"promises|header"):
        require_honest(archive)


def test_a_bomb_and_a_file_that_was_cut_are_named(tmp_path: Path) -> None:
    path = _archive(tmp_path / "a.npz", "(2,)", bytes(16))
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<L", 2_000_000_000)
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive, pytest.raises(ValueError, match="grows from"):
        require_honest(archive)
    content[at + 20 : at + 28] = struct.pack("<LL", 1_000_000_000, 2_000_000_000)
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive, pytest.raises(ValueError, match="cut short"):
        require_honest(archive)


@pytest.mark.parametrize("damage", [b"", b"PK", b"PK\x05\x06" + bytes(18), b"\x93NUMPY"])
def test_what_is_no_archive_is_none(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(damage)
    assert not read_arrays(tmp_path / "a.npz")


def test_what_never_ends_is_no_file(tmp_path: Path) -> None:
    """Opening a pipe that nobody writes into waits for ever; reading ``/dev/zero`` takes all memory."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    for name in ("pipe", "zeros"):
        with pytest.raises(OSError, match="a pipe, a socket or a device, and no file"):
            regular(tmp_path / name)
        assert read_arrays(tmp_path / name) is None
    with pytest.raises(FileNotFoundError):
        regular(tmp_path / "nothing")
    assert regular(tmp_path / "file").read_bytes() == regular(tmp_path / "link").read_bytes() == b"x"
