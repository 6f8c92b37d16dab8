"""Records as tables of named facts."""

from typing import Any

from diffeval.report.view import Facts
from diffeval.runs.document import plain
from diffeval.runs.records import Results


def protocol_table(results: Results) -> Facts:
    """What defines the numbers of a run."""
    return Facts(
        "Protocol",
        "What defines the quantities above. Numbers compare only where all of this agrees.",
        facts({name: value for name, value in plain(results.protocol).items() if value not in (None, {})}),
    )


def provenance_table(results: Results, more: str = "") -> Facts:
    """Where the numbers of a run come from, and what else is to be said of that."""
    known = plain(results.provenance)
    known["seconds"] = {stage: round(seconds, 1) for stage, seconds in known["seconds"].items()}
    del known["command"]
    if results.protocol.sampler is None:
        del known["seed"]
    return Facts("Provenance", f"Where the numbers come from.{more}", facts(known))


def facts(values: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Named values as rows of text."""
    return tuple((name.replace("_", " "), _text(value)) for name, value in values.items())


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(entry)}" for key, entry in value.items()) or "–"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "–"
    return str(value)
