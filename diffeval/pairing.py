"""Which prompt each image was to follow: by class where classes are asked for, by name where images are ready-made."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from diffeval.data.decode import EXTENSIONS
from diffeval.data.prompts import Prompt, control_character
from diffeval.errors import DiffevalError
from diffeval.features.extractor import Extractor

Rows = npt.NDArray[np.int64]
# Ids that a message names.
NAMED = 3
# What stands for the prompt in a template.
PLACE = "{}"
# Of prompts that are the names of classes.
CLASS_TEMPLATE = "a photo of a {}"


@dataclass(frozen=True, slots=True, eq=False)
class Pairing:
    """Prompts, and the one that each image was to follow.

    Attributes:
        prompts: in the order of their file.
        texts: what the judge reads of each, the template applied.
        concepts: int64 [P]; prompts that ask for the same have the same number, and none is a wrong one for the other.
        rule: how images and prompts were brought together, for the protocol.
        rows: int64, the prompt of image i, for as many images as there are.
        missing: prompts whose image could not be used and was left out.
        notes: what the user should hear.
        turns: prompts of images with these labels, where prompts are told by class; None where they are not.
        whole: how many images there are; None without end. What is missing is missing from all of them.
    """

    prompts: tuple[Prompt, ...]
    texts: tuple[str, ...]
    concepts: Rows
    rule: str
    rows: Callable[[int], Rows]
    missing: int = 0
    notes: tuple[str, ...] = ()
    turns: Callable[[Rows], Rows] | None = None
    whole: int | None = None

    def content_hash(self) -> str:
        """sha256 that changes when any id, text, negative prompt, seed, group, concept, or the rule does."""
        held = [
            [one.id, text, one.negative, one.seed, one.group, int(concept)]
            for one, text, concept in zip(self.prompts, self.texts, self.concepts, strict=True)
        ]
        return hashlib.sha256(json.dumps([self.rule, held]).encode()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What the images of a run were to show, and who judges it.

    Attributes:
        judge: an extractor that reads texts, too.
        pairing: the prompt of each image.
        template: that the prompts were put in.
        scale: of the score.
    """

    judge: Extractor
    pairing: Pairing
    template: str
    scale: str = "100"


def filled(template: str, prompts: Sequence[Prompt]) -> tuple[str, ...]:
    """The prompts in the template.

    Raises:
        DiffevalError: if the template has not exactly one place for them.
    """
    bad = control_character(template)
    if bad is not None:
        raise DiffevalError(f"--template holds the control character {bad!r}; take it out")
    if template.count(PLACE) != 1:
        raise DiffevalError(
            f"--template {template!r} has {template.count(PLACE)} places for the prompt, needs one {{}}"
        )
    return tuple(template.replace(PLACE, one.text) for one in prompts)


def class_prompts(classes: Sequence[str], words: Mapping[str, str]) -> tuple[Prompt, ...]:
    """A prompt for each class: its name, or the word for it where there is one."""
    return tuple(Prompt(name, words.get(name, name), concept=name) for name in classes)


def by_class(
    prompts: tuple[Prompt, ...],
    texts: tuple[str, ...],
    classes: Sequence[str],
    labels: Callable[[int], Rows],
) -> Pairing:
    """Each image has a prompt of its class; of several wordings they take turns.

    Args:
        prompts: with the class, by name or index, as concept, or else as id.
        texts: what the judge reads.
        classes: names.
        labels: of the first n images.

    Raises:
        DiffevalError: for a prompt of no class, and a class without a prompt.
    """
    numbers = [_class_of(one, classes) for one in prompts]
    strange = [one for one, number in zip(prompts, numbers, strict=True) if number is None]
    if strange:
        first = strange[0]
        said = f"the class {first.concept!r}" if first.concept else f"no class, and the id {first.id[:40]!r} is none"
        raise DiffevalError(
            f"prompts: {len(strange)} of {len(prompts)} ask for no class: prompt {first.id[:40]!r} has {said}; give a "
            f"column class with one of {_listed(classes)}"
        )
    concepts = np.array(numbers, dtype=np.int64)
    bare = [name for number, name in enumerate(classes) if number not in numbers]
    if bare:
        raise DiffevalError(
            f"prompts: none asks for {_listed(bare)}, and every class is sampled; give a prompt for each class"
        )
    wordings = [np.flatnonzero(concepts == number) for number in range(len(classes))]

    def turns(of: Rows) -> Rows:
        found = np.empty(len(of), dtype=np.int64)
        for number, mine in enumerate(wordings):
            places = np.flatnonzero(of == number)
            found[places] = mine[np.arange(len(places)) % len(mine)]
        return found

    return Pairing(prompts, texts, concepts, "by class, wordings in turn", lambda n: turns(labels(n)), turns=turns)


def names_classes(prompts: Sequence[Prompt], classes: Sequence[str]) -> bool:
    """Whether every prompt says which class it asks for."""
    return bool(classes) and all(_class_of(one, classes) is not None for one in prompts)


def _class_of(prompt: Prompt, classes: Sequence[str]) -> int | None:
    named = prompt.concept or ("" if prompt.numbered else prompt.id)
    if named in classes:
        return list(classes).index(named)
    by_index = bool(prompt.concept) and named.isdecimal() and int(named) < len(classes)
    return int(named) if by_index else None


def by_name(prompts: tuple[Prompt, ...], texts: tuple[str, ...], names: Sequence[str], *, skipped: int = 0) -> Pairing:
    """Each image has the prompt whose id is its name, in the first of the ``RULES`` by which every image finds one.

    Args:
        prompts: with their ids.
        texts: what the judge reads.
        names: of the images: files with their folders, or ``row 7``.
        skipped: images that could not be used and were left out; so many prompts may have none, and are counted.

    Raises:
        DiffevalError: if images have no prompt, or prompts no image; it names the first of both.
    """
    tried = [(rule, *rule.tried(prompts, names)) for rule in RULES]
    for rule, rows, empty in tried:
        if (rows >= 0).all() and len(empty) <= skipped:
            notes = (f"prompts: images are paired by {rule.said}",) if rule is not RULES[0] else ()
            return _kept(prompts, texts, rows, f"by {rule.said}", len(empty), notes, all_of_them=not rule.passes_over)
    _, rows, empty = max(tried, key=lambda one: int((one[1] >= 0).sum()))
    without = [name for name, row in zip(names, rows.tolist(), strict=True) if row < 0]
    raise DiffevalError(_mismatch(names, prompts, without, empty))


def _kept(
    prompts: tuple[Prompt, ...], texts: tuple[str, ...], rows: Rows, rule: str, missing: int, notes: tuple[str, ...],
    *, all_of_them: bool,
) -> Pairing:  # fmt: skip
    """Without the prompts that a rule passes over: captions that no image stands for are no wrong ones either."""
    if not all_of_them:
        used, rows = np.unique(rows, return_inverse=True)
        prompts, texts = tuple(prompts[row] for row in used), tuple(texts[row] for row in used)
    return Pairing(prompts, texts, concepts_of(prompts), rule, lambda n: rows[:n], missing, notes, whole=len(rows))


def _mismatch(names: Sequence[str], prompts: Sequence[Prompt], without: list[str], empty: list[str]) -> str:
    parts = []
    if without:
        have = "have" if len(without) > 1 else "has"
        parts.append(f"{len(without)} of {len(names)} images {have} no prompt ({_listed(sorted(without))})")
    if empty:
        have = "have" if len(empty) > 1 else "has"
        parts.append(f"{len(empty)} of {len(prompts)} prompts {have} no image ({_listed(sorted(empty))})")
    return f"prompts: {', and '.join(parts)}; name each image after the id of its prompt, e.g. ID.png or ID/0.png"


def concepts_of(prompts: Sequence[Prompt]) -> Rows:
    """Prompts of the same concept, text or photograph ask for the same thing, and so do those that these tie."""
    parent = list(range(len(prompts)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    seen: dict[tuple[str, str], int] = {}
    for row, one in enumerate(prompts):
        for key in (("text", one.text), ("concept", one.concept), ("image", one.image)):
            if key[1]:
                parent[root(row)] = root(seen.setdefault(key, row))
    return np.unique([root(row) for row in range(len(prompts))], return_inverse=True)[1].astype(np.int64)


def _bare(name: str) -> PurePosixPath:
    """A file without its extension; the number of a row."""
    row = re.fullmatch(r"row (\d+)", name)
    path = PurePosixPath(row[1] if row else name)
    return path.with_suffix("") if path.suffix.lower() in EXTENSIONS else path


def _numbers(text: str) -> list[str]:
    """The number at the end, without leading zeros."""
    end = re.search(r"(\d+)$", text)
    return [str(int(end[1]))] if end else []


def _number_of(identifier: str) -> str | None:
    return str(int(identifier)) if identifier.isdecimal() else None


def _without_copy(name: str) -> str:
    return re.sub(r"[-_]\d+$", "", name)


def _first_caption(identifier: str) -> str | None:
    image, _, number = identifier.partition("/")
    return (_number_of(image) or image) if number == "0" else None


@dataclass(frozen=True, slots=True)
class Rule:
    """A way to bring images and prompts together.

    Attributes:
        said: in words.
        keys: of an image, by its path without extension; the first that a prompt has counts.
        wanted: the key of an id; None for an id that the rule passes over.
        single: whether no two images may share their first key.
        passes_over: whether ids without a key are left out; elsewhere they end the rule.
    """

    said: str
    keys: Callable[[PurePosixPath], list[str]]
    wanted: Callable[[str], str | None]
    single: bool = False
    passes_over: bool = False

    def tried(self, prompts: Sequence[Prompt], names: Sequence[str]) -> tuple[Rows, list[str]]:
        """The prompt of each image, -1 without one; and ids of prompts that have no image."""
        keyed = [(key, number) for number, one in enumerate(prompts) if (key := self.wanted(one.id)) is not None]
        place = dict(keyed)
        images = [self.keys(_bare(name)) for name in names]
        ambiguous = (
            len(place) < len(keyed)
            or (not self.passes_over and len(keyed) < len(prompts))
            or (self.single and len({tuple(keys[:1]) for keys in images}) < len(images))
        )
        if ambiguous:
            return np.full(len(names), -1, dtype=np.int64), [prompts[number].id for _, number in keyed]
        rows = np.array([next((place[key] for key in keys if key in place), -1) for keys in images], dtype=np.int64)
        found = set(rows.tolist())
        return rows, [prompts[number].id for _, number in keyed if number not in found]


RULES = (
    Rule("path", lambda path: [str(path)], lambda one: one),
    Rule("file name", lambda path: [path.name], lambda one: one, single=True),
    Rule("file name, with _ for / in the id", lambda path: [path.name], lambda one: re.sub(r"[/\\]", "_", one), True),
    Rule("folder", lambda path: [str(path.parent), path.parent.name], lambda one: one),
    Rule("file name without the number of a copy", lambda path: [_without_copy(path.name)], lambda one: one),
    Rule("number at the end of the file name", lambda path: _numbers(path.name), _number_of, single=True),
    Rule(
        "image, with the first of its captions",
        lambda path: [path.name, *_numbers(path.name)],
        _first_caption,
        passes_over=True,
    ),
)


def _listed(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return ", ".join(one[:40] for one in ids[:NAMED]) + more
