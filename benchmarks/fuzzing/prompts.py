"""Damaged prompt files of every kind that is read, and training logs, which come in the same kinds."""

import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st

from diffeval.data.prompts import READERS, read_prompts
from diffeval.training_log import read_training_log
from fuzzing.damage import broken, json_files, numbers, texts, values
from fuzzing.outcome import Kind

Named = tuple[str, bytes]

_ROW = {"id": "a", "prompt": "a cat", "negative_prompt": "dog", "group": "animals", "seed": 3, "concept": "cat"}
_COCO = {
    "images": [{"id": 1, "file_name": "1.jpg"}],
    "annotations": [{"image_id": 1, "id": 1, "caption": "a cat"}, {"image_id": 2, "id": 2, "caption": "a dog"}],
}
_SAID = ("a cat", "", " ", "\x00", "a\x1b[31mb", "a\tb", "\u202egnp", "\u2028", "<script>alert(1)</script>",
"{{7*7}}", "=cmd|' /C calc'!A0",
         "x" * 10_001, "é" * 9_999, "\ufeff", "👩‍👩‍👧", '"', '""', "'", ";", ",", "\ud800", "٣")  # fmt: skip


def _texts() -> st.SearchStrategy[str]:
    return st.sampled_from(_SAID) | st.text(max_size=30) | texts()


@st.composite
def lines(draw: st.DrawFn) -> Named:
    """``.txt``: any lines, any line ends, any coding."""
    end = draw(st.sampled_from(("\n", "\r\n", "\r", "\x0b", "\u2028", "")))
    text = end.join(draw(st.lists(_texts(), max_size=6)))
    coding = draw(st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252")))
    content = text.encode(coding, "surrogatepass" if coding.startswith("utf-8") else "replace")
    return "prompts.txt", draw(broken(content)) if draw(st.integers(0, 3)) == 0 else content


@st.composite
def tables(draw: st.DrawFn, stem: str, head: tuple[str, ...], row: tuple[str, ...]) -> Named:
    """``.csv`` and ``.tsv``: wrong quotes, fields and heads."""
    mark, kind = draw(st.sampled_from(((",", "csv"), ("\t", "tsv"), (";", "csv"), ("|", "tsv"))))
    heads = list(head)
    for _ in range(draw(st.sampled_from((0, 0, 1, 2)))):
        at = draw(st.integers(0, len(heads) - 1))
        heads[at : at + 1] = draw(st.sampled_from(([heads[0]], [], [draw(texts())], [heads[at].upper()]))) or [""]
    rows = [heads]
    for number in range(draw(st.integers(0, 4))):
        fields = [f"{one}{number}" if one.isalpha() else one for one in row]
        if draw(st.booleans()):
            fields[draw(st.integers(0, len(fields) - 1))] = draw(_texts() | numbers().map(str))
        if draw(st.integers(0, 4)) == 0:
            fields = draw(st.sampled_from((fields[:1], [*fields, "more"], [])))
        rows.append(fields)
    quote = draw(st.sampled_from(("", "", '"', "'")))
    text = "\n".join(mark.join(f"{quote}{one}{quote}" for one in fields) for fields in rows)
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(('"', '\n"', "\x00", "\r", '"' * 3))) + text[at:]
    content = text.encode(errors="surrogatepass")
    return f"{stem}.{kind}", draw(broken(content)) if draw(st.integers(0, 4)) == 0 else content


@st.composite
def objects(draw: st.DrawFn, stem: str, row: dict[str, Any]) -> Named:
    """``.jsonl``: an object in each line, or what should be one."""
    found = []
    for number in range(draw(st.integers(0, 4))):
        held = {**row, **({"id": f"a{number}"} if "id" in row else {"step": number})}
        if draw(st.booleans()):
            held[draw(st.sampled_from(sorted(row)))] = draw(values() | _texts())
        line = json.dumps(held).encode()
        found.append(draw(json_files(held)).replace(b"\n", b" ") if draw(st.integers(0, 5)) == 0 else line)
    content = draw(st.sampled_from((b"\n", b"\r\n", b"\n\n"))).join(found)
    return f"{stem}.jsonl", draw(broken(content)) if draw(st.integers(0, 4)) == 0 else content


def documents() -> st.SearchStrategy[Named]:
    """``.json``: COCO's captions, and lists."""
    lists = st.lists(st.sampled_from((_ROW, "a cat")) | values(), max_size=4).map(
        lambda held: json.dumps(held).encode(errors="surrogatepass")
    )
    return (json_files(_COCO) | lists).map(lambda content: ("prompts.json", content))


def read(folder: Path, drawn: Named) -> None:
    """Reads prompts."""
    name, content = drawn
    (folder / name).write_bytes(content)
    assert Path(name).suffix in READERS
    for one in read_prompts(folder / name):
        json.dumps([one.id, one.text, one.negative, one.group, one.concept], ensure_ascii=False).encode()


def read_log(folder: Path, drawn: Named) -> None:
    """Reads a training log."""
    name, content = drawn
    (folder / name).write_bytes(content)
    read_training_log(folder / name)


_HEAD = ("id", "prompt", "negative_prompt", "group", "seed")
_LOG = {"step": 1, "loss": 0.5, "gradient_norm": 1.0}

KINDS = (
    Kind("prompts: .txt", lines(), read),
    Kind("prompts: .csv, .tsv", tables("prompts", _HEAD, ("a", "cat", "dog", "animals", "3")), read),
    Kind("prompts: .jsonl", objects("prompts", _ROW), read),
    Kind("prompts: .json, COCO's captions", documents(), read),
    Kind(
        "training log: .csv, .jsonl", tables("log", tuple(_LOG), ("1", "0.5", "1.0")) | objects("log", _LOG), read_log
    ),
)
