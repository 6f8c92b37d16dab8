"""``--config FILE``: options from a TOML file, below flags and environment variables."""

import sys
import tomllib
from pathlib import Path
from typing import Any, NoReturn

import typer

from diffeval.errors import ExitCode
from diffeval.registry import did_you_mean


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Puts the file's values in the place of the command's defaults.

    A file may hold options at its top, which every command that has them takes, and options in a table named after a
    command, which must be that command's.
    """
    if path is None:
        return None
    from diffeval.runs.paths import regular

    try:
        data = tomllib.loads(regular(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        _refuse(f"cannot read {path}: {error}")
    own = context.info_name or ""
    commands: dict[str, Any] = getattr(context.parent.command, "commands", {}) if context.parent else {}
    options = {name: _options(command) for name, command in commands.items()} or {own: _options(context.command)}
    values: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            if key not in options:
                _refuse(f"{path}: there is no command {key!r};{did_you_mean(key, options)}")
            _check(path, value, options[key], f"{key} has no")
        elif key in options:
            _refuse(f"{path}: {key} is a command; write its options in a table, [{key}]")
        else:
            _check(path, {key: value}, set().union(*options.values()), "no command has an")
            if _spelled(key) in options[own]:
                values[_spelled(key)] = value
    values |= {_spelled(key): value for key, value in data.get(own, {}).items()}
    context.default_map = {**(context.default_map or {}), **values}
    return path


def _options(command: Any) -> set[str]:
    return {parameter.name for parameter in command.params if parameter.name} - {"config"}


def _spelled(key: str) -> str:
    return key.replace("-", "_")


def _check(path: Path, values: dict[str, Any], known: set[str], who: str) -> None:
    for key in values:
        if _spelled(key) not in known:
            _refuse(f"{path}: {who} option {key!r};{did_you_mean(key, known)}")


def _refuse(message: str) -> NoReturn:
    print(f"error: --config: {message}", file=sys.stderr)
    raise typer.Exit(int(ExitCode.USAGE))
