"""The shape of the package: who may import whom, and what must not be imported."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import diffeval

PACKAGE = Path(diffeval.__file__).parent

# From the bottom up: a file imports only from rows above its own, or from its own part.
ROWS = (
    ("errors", "registry", "progress", "cache", "usercode", "ranks"),
    ("builtin",),
    ("runs",),
    ("data",),
    ("diffusion",),
    ("checkpoints",),
    ("features",),
    ("metrics",),
    ("training", "training_log"),
    (
        "drift",
        "mode_pictures",
        "sample_pictures",
        "per_class",
        "prepared",
        "pricing",
        "outlook",
        "ready",
        "measured",
        "published",
        "plan",
        "speed",
        "compiling",
        "job",
        "committer",
        "harvest",
        "pairing",
        "prompting",
        "real",
        "precision",
        "scoring",
        "suite",
        "export",
    ),
    ("work", "prompt_tables", "outcome"),
    ("checks",),
    ("evaluate", "single", "examine", "examine_log", "sweeps", "describe", "compare", "refs"),
    ("gate", "doctor"),
    ("report",),
    ("demo",),
    ("cli", "__main__"),
)
ROW_OF = {part: number for number, row in enumerate(ROWS) for part in row}
# Everything in these parts, but for the one file that needs its matrix product.
TORCH_AFTER_ALL = {PACKAGE / "metrics" / "neighbours.py"}
WITHOUT_TORCH = ("runs", "report", "gate", "compare", "errors", "registry", "progress", "cache", "metrics")


def _files() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]


def _part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_from_rows_above(path: Path) -> None:
    own = _part(path)
    for module in _imports(path):
        words = module.split(".")
        if words[0] != "diffeval" or len(words) < 2 or words[1] not in ROW_OF:
            continue
        allowed = words[1] == own or ROW_OF[words[1]] < ROW_OF[own] or words[1] in ROWS[ROW_OF[own]]
        assert allowed, f"{own} imports {module}, which lies in a row below it"


def test_every_part_has_a_row() -> None:
    assert {_part(path) for path in _files()} == set(ROW_OF)


@pytest.mark.parametrize(
    "path", [path for path in _files() if _part(path) in WITHOUT_TORCH and path not in TORCH_AFTER_ALL], ids=str
)
def test_parts_without_torch(path: Path) -> None:
    assert not {module for module in _imports(path) if module.split(".")[0] in {"torch", "diffusers"}}


@pytest.mark.parametrize("words", [("--help",), ("fid", "--help"), ("report", "--help"), ("--version",)])
def test_help_does_not_import_torch(words: tuple[str, ...]) -> None:
    code = f"""
import sys
from diffeval.cli.app import make_app
try:
    make_app()({list(words)!r})
except SystemExit as stop:
    assert stop.code == 0, stop.code
assert "torch" not in sys.modules
assert "numpy" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_files_stay_small() -> None:
    long = {str(path): lines for path in _files() if (lines := len(path.read_text().splitlines())) > 350}
    assert not long
