"""Strategies of damage: to values, JSON documents, bytes of any file, and to places where files should be."""

import contextlib
import json
import os
import socket
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import hypothesis.strategies as st

Place = Literal[
    "file", "missing", "folder", "loop", "dangling", "outside", "empty", "pipe", "socket", "zeros", "nothing"
]
PLACES: tuple[Place, ...] = (
    "missing", "folder", "loop", "dangling", "outside", "empty", "pipe", "socket", "zeros", "nothing",
)  # fmt: skip
DEVICES: Mapping[Place, str] = {"zeros": "/dev/zero", "nothing": "/dev/null"}
# Deeper than Python's own stack, and than the limit of every parser.
DEEP = 100_000

_NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2, 3, 7, 255, 2**31, 2**63, -(2**63), 10**7, 10**9, 10**12, 10**30, -(10**30), 10**400, 0.0, -0.0,
    0.5, 1.5, -1.5,
    1e-320, 1e-8, 1e8, 1e308, float("nan"), float("inf"), -float("inf"),
)  # fmt: skip
_TEXTS = (
    "", " ", "x", "1", "-1", "nan", "1e999", "none", "../x", "/etc/passwd", "a\nb", "a\x00b", "\x1b[2J", "\u202e",
    "\ud800",
    "٣", "é" * 300, "<script>alert(1)</script>", "{{7*7}}", "%s%n", "linear", "epsilon", "DDIMScheduler",
    "os.system", "x" * 5000,
)  # fmt: skip
_NESTS: tuple[Any, ...] = (
    [],
    {},
    [1],
    [[1]],
    [None],
    [None, None],
    {"a": 1},
    {"": []},
    [0.5] * 3,
    [-1, 10**9],
    ["a", "b"],
    [[]] * 5,
)


def numbers() -> st.SearchStrategy[Any]:
    """Numbers, most of them nasty."""
    return st.sampled_from(_NUMBERS) | st.integers() | st.floats()


def texts() -> st.SearchStrategy[str]:
    """Texts, most of them nasty."""
    return st.sampled_from(_TEXTS) | st.text(max_size=20)


def values() -> st.SearchStrategy[Any]:
    """Whatever JSON can say."""
    return st.sampled_from((None, True, False)) | numbers() | texts() | st.sampled_from(_NESTS).map(deepcopy)


@st.composite
def documents(draw: st.DrawFn, base: Mapping[str, Any]) -> dict[str, Any]:
    """A document with one to three of its fields replaced, removed, moved, or added to."""
    made: dict[str, Any] = deepcopy(dict(base))
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        holders = list(_holders(made))
        holder = draw(st.sampled_from(holders))
        keys: Sequence[Any] = list(holder) if isinstance(holder, dict) else range(len(holder))
        how = draw(st.sampled_from(("replace", "replace", "replace", "replace", "remove", "add", "nest", "scale")))
        if how == "add" and isinstance(holder, dict):
            holder[draw(texts())] = draw(values())
        elif how == "add":
            holder.append(draw(values()))
        elif keys:
            key = draw(st.sampled_from(keys))
            if how == "remove":
                del holder[key]
            elif how == "nest":
                holder[key] = draw(
                    st.sampled_from(([holder[key]], {"a": holder[key]}, [deepcopy(holder[key]) for _ in range(3)]))
                )
            elif how == "scale" and type(holder[key]) in (int, float):
                holder[key] *= draw(st.sampled_from((-1, 2, 0.5, 10, 1000, 10**6)))
            else:
                holder[key] = draw(values())
    return made


def _holders(value: Any) -> Any:
    """All dicts and lists of a document; those near the top come up more often, for they are whole branches."""
    if isinstance(value, dict | list):
        yield value
        for one in value.values() if isinstance(value, dict) else value:
            yield from _holders(one)


@st.composite
def json_files(draw: st.DrawFn, base: Mapping[str, Any]) -> bytes:
    """A JSON file that is damaged: in what it says, mostly, or as a text."""
    if draw(st.integers(0, 3)):
        return json_bytes(draw(documents(base)))
    text = json.dumps(base)
    how = draw(st.sampled_from(("bytes", "twice", "deep", "deep inside", "coding", "other")))
    if how == "bytes":
        return draw(broken(text.encode()))
    if how == "twice":
        key = draw(st.sampled_from(sorted(base)))
        return f"{text[:-1]}, {json.dumps(key)}: {json.dumps(draw(values()))}}}".encode(errors="surrogatepass")
    if how == "deep":
        return draw(st.sampled_from((b"[" * DEEP, b'{"a":' * DEEP, b"[" * DEEP + b"]" * DEEP)))
    if how == "deep inside":
        key = draw(st.sampled_from(sorted(base)))
        return f"{text[:-1]}, {json.dumps(key)}: {'[' * DEEP}{']' * DEEP}}}".encode()
    if how == "coding":
        return text.encode(draw(st.sampled_from(("utf-16", "utf-8-sig", "utf-32"))))
    return draw(
        st.sampled_from(
            (b"", b"null", b"[]", b'"x"', b"NaN", b"1" * 5000, b"\x00" * 64, b"\xff\xfe", b"{}", b"<html>")
        )
    )


def json_bytes(document: Any) -> bytes:
    """JSON as careless tools write it: with NaN, and with surrogates."""
    return json.dumps(document).encode(errors="surrogatepass")


@st.composite
def broken(draw: st.DrawFn, content: bytes) -> bytes:
    """A file cut short, with bits turned over, bytes overwritten, put in or added."""
    made = bytearray(content)
    how = draw(st.sampled_from(("cut", "flip", "flip", "flip", "overwrite", "insert", "append", "zeros", "swap")))
    at = draw(st.integers(0, max(0, len(made) - 1)))
    if how == "cut":
        return bytes(made[:at])
    if how == "flip" and made:
        # The head of a file says most of it.
        for place in draw(
            st.lists(st.integers(0, len(made) - 1) | st.integers(0, min(400, len(made) - 1)), min_size=1, max_size=8)
        ):
            made[place] ^= 1 << draw(st.integers(0, 7))
    elif how == "overwrite":
        made[at : at + 4] = draw(
            st.sampled_from((b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f", b"\n\n\n\n"))
        )
    elif how == "insert":
        made[at:at] = draw(st.binary(min_size=1, max_size=64))
    elif how == "append":
        made += draw(st.binary(min_size=1, max_size=64))
    elif how == "zeros":
        made[at : at + 256] = bytes(len(made[at : at + 256]))
    else:
        made[:] = made[at:] + made[:at]
    return bytes(made)


def put(path: Path, content: bytes, place: Place = "file") -> None:
    """Writes a file, or what stands in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if place == "file":
        path.write_bytes(content)
    elif place == "empty":
        path.write_bytes(b"")
    elif place == "folder":
        path.mkdir()
    elif place == "loop":
        path.symlink_to(path.name)
    elif place == "dangling":
        path.symlink_to("nowhere")
    elif place == "pipe":  # nobody writes into it, so that who opens it waits without end
        os.mkfifo(path)
    elif place == "socket":
        with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(path.parent):
            made.bind(path.name)  # names of sockets are short
    elif place in DEVICES:
        path.symlink_to(DEVICES[place])
    elif place == "outside":
        path.symlink_to(Path(*[".."] * (len(path.parts) - 1), "etc", "hostname"))


class Runs:
    """Writes a file outside, if a pickle that holds it is ever run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("open('../outside.txt', 'w').write('run')",)
