"""Damaged arrays: ``.npz`` files with images or statistics, EDM2's pickles, ``.npy`` noise schedules."""

import io
import pickle
import struct
import zipfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np

from diffeval.checkpoints.declaration import Declaration
from diffeval.checkpoints.schedules import declared_schedule
from diffeval.data.source import OpenOptions, open_source
from diffeval.features.statistics_files import FORMATS, read_statistics
from diffeval.refs import convert, facts
from fuzzing.damage import Runs, broken, values
from fuzzing.outcome import Kind

# Shapes that no memory holds, or that are none.
SHAPES = ("(100000, 100000, 100000, 3)", "(10000000000,)", "(-1, 8, 8, 3)", "(4, 8, 8, 3.0)", "4", "(4, 8, 8, '3')",
"(18446744073709551616,)",
          "(0, 8, 8, 3)", "(4, 0, 8, 3)", "()", "(4,)", "(4, 8, 8)", "(4, 8, 8, 2)", "(4, 8, 8, 3)", "(4, 3, 8, 8)",
          "(4, 8, 8, 4)",
          "(1, 40000, 40000, 3)", "(4,) * 10**9", "__import__('os')", "(" * 3000 + ")" * 3000)  # fmt: skip
DTYPES = (
    "|u1",
    "<f4",
    "<f2",
    "<f8",
    "<i8",
    "|b1",
    "<c8",
    "|O",
    "<U3",
    "|V4",
    "<M8[s]",
    ">f4",
    "|S1",
    "<U99999999",
    "<f16",
    "x",
    "[('a', '<f4')]",
    "",
)
NAMES = (
    "arr_0",
    "images",
    "x",
    "arr_1",
    "labels",
    "mu",
    "sigma",
    "mu_s",
    "sigma_s",
    "diffeval",
    "features",
    "../x",
    "/x",
    "a\nb",
    "\x1b[2J",
    "",
    ".",
    "é",
)


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive, with what its header and the directory claim."""

    name: str
    dtype: str
    shape: str
    data: bytes
    claimed: int | None = None
    flags: int = 0
    method: int = zipfile.ZIP_DEFLATED


def npy(member: Member) -> bytes:
    """The bytes of an ``.npy`` file, whatever its header says."""
    descr = member.dtype if member.dtype.startswith("[") else repr(member.dtype)
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {member.shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", min(65535, len(header))) + header + member.data


def archive(members: list[Member]) -> bytes:
    """A zip file written by hand: sizes, flags and names may say what they like."""
    body, directory = b"", b""
    for one in members:
        content, name = npy(one), f"{one.name}.npy".encode()
        packer = zlib.compressobj(wbits=-15)
        packed = packer.compress(content) + packer.flush() if one.method == zipfile.ZIP_DEFLATED else content
        size = len(content) if one.claimed is None else one.claimed
        extra = struct.pack("<HHQ", 1, 8, size) if size >= 2**32 - 1 else b""
        head = struct.pack(
            "<HHHHHLLLHH",
            20,
            one.flags,
            one.method,
            0,
            33,
            zlib.crc32(content),
            len(packed),
            min(size, 2**32 - 1),
            len(name),
            len(extra),
        )
        directory += b"PK\x01\x02\x14\x00" + head + struct.pack("<HHHLL", 0, 0, 0, 0, len(body)) + name + extra
        body += b"PK\x03\x04" + head + name + extra + packed
    return (
        body
        + directory
        + struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, len(members), len(members), len(directory), len(body), 0)
    )


def _numbers(dtype: str, count: int, seed: int) -> bytes:
    random = np.random.Generator(np.random.Philox(seed))
    kinds = {"|u1": np.uint8, "<f4": np.float32, "<f8": np.float64, "<f2": np.float16, "<i8": np.int64}
    made = random.integers(0, 2 if dtype == "<i8" else 256, count) / (255.0 if dtype.startswith("<f") else 1)
    return made.astype(kinds.get(dtype, np.uint8)).tobytes()


def _changes(draw: st.DrawFn, how: str, one: Member) -> dict[str, Any]:
    """What one kind of damage changes of a member."""
    if how == "shape":
        return {"shape": draw(st.sampled_from(SHAPES))}
    if how == "claim":
        return {"shape": f"({draw(st.sampled_from((10**4, 10**7, 10**10)))}, 8, 8, 3)"}
    if how == "dtype":
        return {"dtype": draw(st.sampled_from(DTYPES))}
    if how == "name":
        return {"name": draw(st.sampled_from(NAMES))}
    if how == "encrypted":
        return {"flags": draw(st.sampled_from((1, 0x41, 0x2001)))}
    if how == "method":
        return {"method": draw(st.sampled_from((0, 1, 9, 12, 14, 99)))}
    if how == "numbers":
        return {"data": draw(st.sampled_from((b"\x00\x00\xc0\x7f", b"\xff\xff\xff\xff"))) * (len(one.data) // 4)}
    if how == "pickle":
        return {"dtype": "|O", "data": pickle.dumps(Runs())}
    return {"name": draw(st.sampled_from(NAMES)), "dtype": draw(st.sampled_from(DTYPES))} if how == "more" else {}


@st.composite
def _members(draw: st.DrawFn, base: tuple[Member, ...]) -> bytes:
    """An archive of which one or two members are damaged, doubled, or joined by others."""
    members = list(base)
    for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2)))):
        at = draw(st.integers(0, len(members) - 1))
        one = members[at]
        how = draw(
            st.sampled_from(
                ("shape", "claim", "dtype", "name", "twice", "encrypted", "method", "numbers", "pickle", "more")
            )
        )
        changes = _changes(draw, how, one)
        made = Member(**{**{name: getattr(one, name) for name in Member.__slots__}, **changes})
        if how == "claim":
            size = int(made.shape[1:].split(",")[0]) * 192 * np.dtype(made.dtype).itemsize
            made = Member(
                **{
                    **{name: getattr(made, name) for name in Member.__slots__},
                    "claimed": len(npy(made)) - len(made.data) + size,
                }
            )
        members[at : at + (0 if how in ("twice", "more") else 1)] = [made]
    content = archive(members)
    return draw(broken(content)) if draw(st.integers(0, 3)) == 0 else content


def _images(dtype: str = "|u1") -> tuple[Member, ...]:
    labels = np.arange(12, dtype=np.int64) % 3
    return (
        Member("arr_0", dtype, "(12, 8, 8, 3)", _numbers(dtype, 12 * 192, 0)),
        Member("arr_1", "<i8", "(12,)", labels.tobytes()),
    )


def _statistics() -> tuple[Member, ...]:
    sigma = np.eye(6) + 0.1
    return Member("mu", "<f8", "(6,)", _numbers("<f8", 6, 0)), Member("sigma", "<f8", "(6, 6)", sigma.tobytes())


@cache
def _bomb() -> bytes:
    """Real zeros, 150 MB of them in 150 kB: what is claimed is also true."""
    count = 200_000
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, 8, 8, 3), }}\n".encode()
    begin = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made,
        made.open("arr_0.npy", "w", force_zip64=True) as file,
    ):
        file.write(begin)
        for _ in range(count * 192 * 4 // (1 << 24)):
            file.write(bytes(1 << 24))
        file.write(bytes(count * 192 * 4 % (1 << 24)))
    return buffer.getvalue()


def images() -> st.SearchStrategy[bytes]:
    """Archives of images."""
    return st.sampled_from(("|u1", "<f4", "<f8")).flatmap(lambda dtype: _members(_images(dtype)))


def statistics() -> st.SearchStrategy[bytes]:
    """Archives of statistics."""
    return _members(_statistics())


@st.composite
def edm2(draw: st.DrawFn) -> bytes:
    """EDM2's pickles: damaged, of other things, or of code."""
    held: dict[str, Any] = {
        name: {"mu": np.zeros(6), "sigma": np.eye(6)}
        for name in draw(st.sampled_from((("fid",), ("fid", "fd_dinov2"), ())))
    }
    held["num_images"] = draw(st.just(100) | values())
    how = draw(st.sampled_from(("bytes", "other", "code", "sides", "whole", "huge")))
    if how == "sides" and "fid" in held:
        held["fid"][draw(st.sampled_from(("mu", "sigma")))] = draw(
            values()
            | st.sampled_from(
                (
                    np.zeros(5),
                    np.zeros((6, 5)),
                    np.full(6, np.nan),
                    np.array(["x"]),
                    np.array(3.0),
                    np.zeros(0),
                    [[1.0], [1.0, 2.0]],
                    np.full((6, 6), 1e308),
                )
            )
        )
    if how == "other":
        return pickle.dumps(draw(values()), protocol=draw(st.sampled_from((0, 2, 4, 5))))
    if how == "code":
        return pickle.dumps({"fid": {"mu": Runs(), "sigma": np.eye(2)}})
    if how == "huge":  # asks for memory by its opcodes alone
        return draw(
            st.sampled_from(
                (
                    b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f",
                    b"\x80\x04B\xff\xff\xff\x7f",
                    b"\x80\x04" + b"(" * 10**6,
                    b"\x80\x04" + b"]" * 10**6 + b".",
                )
            )
        )
    content = pickle.dumps(held, protocol=draw(st.sampled_from((0, 2, 4, 5))))
    return draw(broken(content)) if how == "bytes" else content


@st.composite
def schedules(draw: st.DrawFn) -> bytes:
    """``.npy`` files of alpha-bar."""
    how = draw(st.sampled_from(("numbers", "bytes", "header", "archive")))
    found = np.linspace(0.999, 0.001, 50)
    if how == "numbers":
        found[draw(st.integers(0, 49))] = draw(st.floats())
        buffer = io.BytesIO()
        whole = np.linspace(0.999, 0.001, 50)
        others = (found, found[:1], found[None], np.float32(whole), np.zeros(0), np.zeros(10**6), whole)
        made: Any = draw(st.sampled_from(others))
        np.save(buffer, made)
        return buffer.getvalue()
    if how == "archive":
        return archive(list(_statistics()))
    content = npy(
        Member("", draw(st.sampled_from(DTYPES)), draw(st.sampled_from((*SHAPES, "(50,)"))), found.tobytes())
    )
    return draw(broken(content)) if how == "bytes" else content


def read_images(folder: Path, content: bytes) -> None:
    """Opens the images and reads them all."""
    path = folder / "samples.npz"
    path.write_bytes(content)
    source = open_source(f"npz:{path}", options=OpenOptions(on_bad="skip"))
    source.content_hash()
    for _ in source.batches(64):
        pass


def read_bomb(folder: Path, drawn: object) -> None:
    """The same of a real bomb."""
    read_images(folder, _bomb())


def read_moments(folder: Path, content: bytes) -> None:
    """Reads statistics, shows them, and writes them in another format."""
    path = folder / "stats.npz"
    path.write_bytes(content)
    entries = read_statistics(path)
    for one in entries:
        facts(one)
    convert(entries, folder / "out.npz", FORMATS[1])


def read_pickled(folder: Path, content: bytes) -> None:
    """The same of EDM2's."""
    (folder / "stats.pkl").write_bytes(content)
    entries = read_statistics(folder / "stats.pkl")
    for one in entries:
        facts(one)
    convert(entries, folder / "out.pkl", FORMATS[2])


def read_schedule(folder: Path, content: bytes) -> None:
    """Reads ``--schedule FILE.npy``."""
    (folder / "alpha_bar.npy").write_bytes(content)
    declared_schedule(Declaration(schedule=str(folder / "alpha_bar.npy")), None)


KINDS = (
    Kind("npz: images", images(), read_images),
    Kind("npz: 150 MB of zeros in 150 kB", st.just(None), read_bomb, heavy=100),
    Kind("npz: reference statistics", statistics(), read_moments),
    Kind("pickle: reference statistics of EDM2", edm2(), read_pickled),
    Kind("npy: noise schedule", schedules(), read_schedule),
)
