"""Writes what a benchmark measured: JSON with the machine, date and versions, and the same as a table."""

import datetime
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

FOLDER = Path(__file__).parent / "results"
STARTED = time.monotonic()


def machine() -> str:
    """Processor and cores, without the host's name."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores"


def save(name: str, rows: Sequence[Mapping[str, object]], libraries: Sequence[str]) -> None:
    """Writes ``results/NAME.json`` and ``results/NAME.md``, and prints the table.

    The command and its seconds are those of this process; a study that was stopped and went on took longer.
    """
    FOLDER.mkdir(exist_ok=True)
    versions = {library: metadata.version(library) for library in libraries}
    document = {
        "benchmark": name,
        "machine": machine(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "seconds": round(time.monotonic() - STARTED),
        "python": platform.python_version(),
        "versions": versions,
    }
    (FOLDER / f"{name}.json").write_text(json.dumps({**document, "rows": list(rows)}, indent=2, default=str) + "\n")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(column)) for column in columns) + " |" for row in rows]
    told = ", ".join(f"{library} {version}" for library, version in versions.items())
    where = f"{document['machine']}; {document['date']}; Python {document['python']}, {told}"
    text = where + "\n\n" + "\n".join(lines) + "\n"
    (FOLDER / f"{name}.md").write_text(text)
    print(text)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
