"""Reads a gate file, or the table of one in a pyproject; every mistake is one line that says where and what to do."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, get_args

from pydantic import BaseModel, ValidationError

from diffeval.compare.protocols import check_names
from diffeval.errors import DiffevalError
from diffeval.gate.config import SCHEMA, GateFile, Rule
from diffeval.registry import did_you_mean
from diffeval.runs.paths import regular

USUAL = "gate.toml"
PYPROJECT = "pyproject.toml"
# pydantic's words for what is no table or no list, in those of a file.
SAID = {"model_type": "needs a table", "dict_type": "needs a table", "tuple_type": "needs a list"}


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate that was read.

    Attributes:
        file: what it says.
        path: where it lies; relative paths in it start there.
        sha256: of its text.
    """

    file: GateFile
    path: Path
    sha256: str

    @property
    def rules(self) -> tuple[tuple[str, Rule], ...]:
        """The rules that are looked at, each with a name of its own."""
        named: dict[str, Rule] = {}
        for rule in self.file.rule:
            name, count = rule.named, 1
            while name in named:
                count += 1
                name = f"{rule.named}.{count}"
            named[name] = rule
        return tuple((name, rule) for name, rule in named.items() if rule.level != "off")

    def ageless(self) -> "Gate":
        """The same gate with a baseline of any age."""
        known = self.file.baseline.model_copy(update={"max_age_days": None})
        return replace(self, file=self.file.model_copy(update={"baseline": known}))

    def beside(self, path: str) -> Path:
        """A path that the gate file names."""
        return self.path.parent / Path(path).expanduser()


def is_here(folder: Path | None = None) -> bool:
    """Whether this folder has a gate file, or a pyproject with one."""
    folder = folder or Path()
    project = folder / PYPROJECT
    return (folder / USUAL).exists() or (project.exists() and _table(_toml(project)) is not None)


def find_gate(path: Path | None, folder: Path | None = None) -> Gate:
    """The gate file that is named, or the one of this folder.

    Raises:
        DiffevalError: if there is none, or it does not say what a gate file may say.
    """
    if path is not None:
        return read_gate(path)
    folder = folder or Path()
    usual, project = folder / USUAL, folder / PYPROJECT
    if is_here(folder):
        return read_gate(usual if usual.exists() else project)
    raise DiffevalError(
        f"gate: there is no {USUAL} here; give --config FILE, or write one with diffeval gate init RUN -o {USUAL}"
    )


def read_gate(path: Path) -> Gate:
    """Reads a gate file; of a pyproject the table ``[tool.diffeval.gate]``.

    Raises:
        DiffevalError: if it cannot be read, or does not say what a gate file may say.
    """
    data = _toml(path)
    if path.name == PYPROJECT:
        table = _table(data)
        if table is None:
            raise DiffevalError(f"gate: {path} has no table [tool.diffeval.gate]; add it, or give another --config")
        data = table
    text = path.read_bytes()
    return Gate(parse_gate(data, str(path)), path, hashlib.sha256(text).hexdigest())


def parse_gate(data: Mapping[str, Any], where: str) -> GateFile:
    """Checks plain data.

    Raises:
        DiffevalError: for the first mistake, saying how many there are.
    """
    schema = data.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise DiffevalError(f"gate: {where} has schema {schema!r}, this version reads {SCHEMA!r}; update diffeval")
    if not data.get("rule"):
        raise DiffevalError(f"gate: {where} has no [[rule]]; without one anything would pass")
    try:
        file = GateFile.model_validate(dict(data))
    except ValidationError as error:
        _refuse(error, data, where)
    try:
        check_names(file.protocol.may_differ)
    except DiffevalError as error:
        raise DiffevalError(f"gate: {where}: protocol.may_differ: {str(error).removeprefix('compare: ')}") from error
    return file


def _toml(path: Path) -> dict[str, Any]:
    try:
        # Editors of some systems begin with a mark.
        return tomllib.loads(regular(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DiffevalError(f"gate: there is no {path}; write one with diffeval gate init RUN -o {USUAL}") from error
    except OSError as error:
        raise DiffevalError(f"gate: cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DiffevalError(f"gate: {path} is no text in UTF-8; a gate file is TOML") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DiffevalError(f"gate: {path} is no TOML: {error}") from error


def _table(data: Mapping[str, Any]) -> dict[str, Any] | None:
    found: Any = data
    for key in ("tool", "diffeval", "gate"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _refuse(error: ValidationError, data: Mapping[str, Any], where: str) -> NoReturn:
    """The first mistake in words; unknown keys first, since they may be what makes others look missing."""
    mistakes = sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    first = mistakes[0]
    place, said = _place(first["loc"], data), first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        name = str(first["loc"][-1])
        said = f"unknown key {name!r};{did_you_mean(name, _known(first['loc']))}"
        place = _place(first["loc"][:-1], data)
    elif first["type"] in SAID:
        said = f"{SAID[first['type']]}, got {first['input']!r}"
    elif first["type"] not in ("value_error", "missing"):
        said = f"{said}, got {first['input']!r}"
    more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    raise DiffevalError(f"gate: {where}: {f'{place}: ' if place else ''}{said}{more}") from error


def _place(location: tuple[int | str, ...], data: Mapping[str, Any]) -> str:
    """``rule 2 (fid).max``: rules are counted from 1, as people do, and named by what they are about."""
    words: list[str] = []
    for key in location:
        if isinstance(key, int) and words == ["rule"]:
            about = data["rule"][key] if isinstance(data["rule"], list) and key < len(data["rule"]) else {}
            subject = about.get("id") or about.get("score") or about.get("check") if isinstance(about, dict) else None
            words = [f"rule {key + 1}" + (f" ({subject})" if subject else "")]
        elif not (isinstance(key, str) and key.startswith(("function-", "constrained-", "tuple["))):
            words.append(str(key))
    return ".".join(words)


def _known(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the model at a place."""
    model: Any = GateFile
    for key in location[:-1]:
        if isinstance(key, int):
            continue
        field = model.model_fields.get(key)
        found = [one for one in _types(field.annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
        model = found[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _types(annotation: Any) -> list[Any]:
    inner = get_args(annotation)
    return [annotation, *(one for part in inner for one in _types(part))]
