"""Prompts from files: lines of text, tables (CSV, TSV), JSON lines, COCO's captions, PartiPrompts' table.

Every prompt has an id, by which it is paired with images: never by the luck of an order. Nothing in a prompt is ever
executed, and what could act on a terminal or a page is refused by name.
"""

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diffeval.errors import DiffevalError
from diffeval.registry import did_you_mean

# Characters of a prompt, and bytes of a file, at most: no encoder reads more than some hundred words.
LONGEST, LARGEST = 10_000, 512 * 2**20
# Categories of characters that are refused, and those that turn the direction of what is written.
ACTING, TURNING = ("Cc", "Cs", "Zl", "Zp"), "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"
# What columns and keys are called, by what they mean; the first that is there counts. Without regard to case.
NAMES: Mapping[str, Sequence[str]] = {
    "text": ("prompt", "caption", "text"),
    "id": ("id", "prompt_id", "image_id", "name", "file_name"),
    "negative": ("negative_prompt", "negative"),
    "group": ("group", "category", "challenge", "type"),
    "seed": ("seed",),
    "concept": ("concept", "class", "label"),
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """What an image is to show.

    Attributes:
        id: by which it is paired; its line, counted from 0, where the file has none.
        text: of the prompt.
        negative: what the image is not to show; empty without.
        group: that it is told apart by; empty without.
        seed: of its image; None without.
        concept: what it asks for, which other wordings may share; of a class-conditional checkpoint the class, by
            name or index. Empty where the file has none.
        image: that it is one of several captions of, in COCO's files; empty elsewhere.
        numbered: whether its id is its place in the file, for want of one.
    """

    id: str
    text: str
    negative: str = ""
    group: str = ""
    seed: int | None = None
    concept: str = ""
    image: str = ""
    numbered: bool = field(default=False, compare=False)


def read_prompts(path: Path) -> tuple[Prompt, ...]:
    """The prompts of a file, in its order.

    ``.txt`` has one in each line, and empty lines count for nothing; ``.csv`` and ``.tsv`` have a head with a column
    ``prompt`` (or ``caption``, ``text``), and what else there is of id, negative_prompt, group (or PartiPrompts'
    Category), seed and concept (or class); ``.jsonl`` has an object with these keys in each line; ``.json`` is a list
    of such objects, or COCO's captions, of which an image may have several: ids are then ``IMAGE/NUMBER``.

    Raises:
        DiffevalError: for a file that is missing, of another kind, or empty, for prompts that are empty, too long, or
            have control characters, and for ids that occur twice.
    """
    if not path.is_file():
        raise DiffevalError(f"prompts: {path} is no file; give one with {', '.join(READERS)}")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DiffevalError(f"prompts: {path.name} ends in none of {', '.join(READERS)}")
    if path.stat().st_size > LARGEST:
        raise DiffevalError(
            f"prompts: {path.name} has {path.stat().st_size / 2**20:.0f} MB, more than any list of prompts"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DiffevalError(f"prompts: {path.name} is no UTF-8 text (byte {error.start}); save it as such") from error
    found = tuple(_checked(path.name, one) for one in reader(path.name, text))
    if not found:
        raise DiffevalError(f"prompts: {path.name} holds none")
    without = [place for place, one in enumerate(found, start=1) if one.numbered]
    if 0 < len(without) < len(found):
        raise DiffevalError(f"prompts: {path.name}, prompt {without[0]} has no id, where others have one")
    _refuse_twice(path.name, found)
    return found


def _lines(name: str, text: str) -> Iterator[Prompt]:
    for number, line in enumerate(line for line in text.split("\n") if line.strip()):
        yield Prompt(str(number), line.strip(), numbered=True)


def _table(name: str, text: str) -> Iterator[Prompt]:
    delimiter = "\t" if name.lower().endswith(".tsv") else ","
    csv.field_size_limit(LARGEST)
    rows = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    columns = _columns(name, rows.fieldnames or ())
    for number, row in enumerate(rows):
        if None in row or None in row.values():
            raise DiffevalError(f"prompts: {name}, row {number + 1} has not as many fields as the head; quote commas")
        yield _from_row(name, number, {meaning: row[column] for meaning, column in columns.items()})


def _columns(name: str, there: Sequence[str]) -> dict[str, str]:
    """The column of each meaning."""
    known = {column.strip().lower(): column for column in there}
    found = {
        meaning: known[called]
        for meaning, names in NAMES.items()
        if (called := next((one for one in names if one in known), None)) is not None
    }
    if "text" not in found:
        wanted = ", ".join(NAMES["text"])
        near = f";{did_you_mean(next(iter(known)), NAMES['text'])}" if known else ""
        if len(known) == 1 and ";" in next(iter(known)):
            near = "; its columns are parted by semicolons, save it with commas"
        raise DiffevalError(
            f"prompts: {name} has the columns {', '.join(there) or 'none'}, needs one of {wanted}{near}"
        )
    return found


def _json_lines(name: str, text: str) -> Iterator[Prompt]:
    for number, line in enumerate(line for line in text.split("\n") if line.strip()):
        yield _from_object(name, number, _parsed(f"{name}, line {number + 1}", line))


def _json(name: str, text: str) -> Iterator[Prompt]:
    held = _parsed(name, text)
    if isinstance(held, dict) and isinstance(held.get("annotations"), list):
        yield from _coco(name, held["annotations"])
        return
    if not isinstance(held, list):
        raise DiffevalError(f"prompts: {name} is neither a list of prompts nor COCO's captions (no annotations)")
    for number, one in enumerate(held):
        yield (
            Prompt(str(number), one.strip(), numbered=True)
            if isinstance(one, str)
            else _from_object(name, number, one)
        )


def _coco(name: str, annotations: Sequence[Any]) -> Iterator[Prompt]:
    """Captions in the order of their images' ids, and among these of their own."""
    known = [one for one in annotations if isinstance(one, dict) and {"image_id", "caption"} <= set(one)]
    if len(known) < len(annotations) or not known:
        raise DiffevalError(f"prompts: {name}: {len(annotations) - len(known)} annotations lack image_id or caption")
    counts: dict[str, int] = {}
    for one in sorted(known, key=lambda one: (str(one["image_id"]).zfill(20), str(one.get("id", "")).zfill(20))):
        image = str(one["image_id"])
        counts[image] = counts.get(image, -1) + 1
        yield Prompt(f"{image}/{counts[image]}", str(one["caption"]).strip(), image=image)


def _parsed(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DiffevalError(f"prompts: {where} is no JSON: {str(error)[:80]}") from error


def _from_object(name: str, number: int, held: Any) -> Prompt:
    if not isinstance(held, dict):
        raise DiffevalError(
            f"prompts: {name}, prompt {number + 1} is a {type(held).__name__}, needs an object or a text"
        )
    columns = _columns(f"{name}, prompt {number + 1}", list(held))
    return _from_row(name, number, {meaning: held[column] for meaning, column in columns.items()})


def _from_row(name: str, number: int, held: Mapping[str, Any]) -> Prompt:
    seed, own = held.get("seed"), held.get("id")
    try:
        drawn = None if seed in (None, "") else int(str(seed))
    except ValueError as error:
        raise DiffevalError(
            f"prompts: {name}, prompt {number + 1} has the seed {seed!r}, needs a whole number"
        ) from error
    if "id" in held and own in (None, ""):
        raise DiffevalError(f"prompts: {name}, prompt {number + 1} has no id, where others have one")
    negative, group, concept = (_word(held.get(key)) for key in ("negative", "group", "concept"))
    text = "" if held["text"] is None else held["text"]
    if not isinstance(text, str):
        raise DiffevalError(
            f"prompts: {name}, prompt {number + 1} is a {type(text).__name__} where its text should be"
        )
    named = str(number) if own is None else str(own)
    return Prompt(named, text.strip(), negative, group, drawn, concept, numbered=own is None)


def _word(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _checked(name: str, one: Prompt) -> Prompt:
    """Refuses what no encoder should be given, and what would act where it is printed."""
    if not one.text:
        raise DiffevalError(f"prompts: {name}: prompt {one.id[:40]!r} is empty; leave it out")
    for what, text in (
        ("prompt", one.text), ("negative prompt", one.negative), ("id", one.id), ("group", one.group),
        ("concept", one.concept),
    ):  # fmt: skip
        if len(text) > LONGEST:
            raise DiffevalError(
                f"prompts: {name}: the {what} of {one.id[:40]!r} has {len(text):,} characters, at most {LONGEST:,}"
            )
        bad = control_character(text)
        if bad is not None:
            raise DiffevalError(
                f"prompts: {name}: the {what} of {one.id[:40]!r} holds the control character {bad!r}; take it out"
            )
    return replace(one, text=_spaced(one.text), negative=_spaced(one.negative))


def control_character(text: str) -> str | None:
    """The first character that acts on a terminal or on the direction of a line; joiners of emoji do not."""
    return next((one for one in text if unicodedata.category(one) in ACTING or one in TURNING), None)


def _spaced(text: str) -> str:
    """Spaces of any width as the plain one."""
    return "".join(" " if unicodedata.category(one) == "Zs" else one for one in text)


def _refuse_twice(name: str, prompts: Sequence[Prompt]) -> None:
    seen: set[str] = set()
    twice = list(dict.fromkeys(one.id for one in prompts if one.id in seen or seen.add(one.id)))  # type: ignore[func-returns-value]
    if twice:
        named = ", ".join(repr(one[:40]) for one in twice[:3])
        more = f" and {len(twice) - 3} more" if len(twice) > 3 else ""
        said = f"{len(twice)} ids occur" if len(twice) > 1 else "1 id occurs"
        raise DiffevalError(f"prompts: {name}: {said} twice ({named}{more}); pairing goes by id")


READERS: Mapping[str, Callable[[str, str], Iterator[Prompt]]] = {
    ".txt": _lines, ".csv": _table, ".tsv": _table, ".jsonl": _json_lines, ".json": _json,
}  # fmt: skip
