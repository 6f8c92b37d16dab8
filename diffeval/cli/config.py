"""``--config FILE``: options from a TOML file, below flags and environment variables."""

import tomllib
from pathlib import Path

import typer

from diffeval.registry import did_you_mean


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Puts the file's values in the place of the command's defaults.

    A file may hold options at its top, for any command, and in a table named after a command.
    """
    if path is None:
        return None
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise typer.BadParameter(f"cannot read {path}: {error}") from error
    command = context.info_name or ""
    values = {key: value for key, value in data.items() if not isinstance(value, dict)}
    values |= data.get(command, {})
    known = {parameter.name for parameter in context.command.params if parameter.name} - {"config"}
    for key in values:
        if key.replace("-", "_") not in known:
            raise typer.BadParameter(f"{path}: {command} has no option {key!r};{did_you_mean(key, known)}")
    context.default_map = {**(context.default_map or {}), **{key.replace("-", "_"): values[key] for key in values}}
    return path
