"""The package as a library: the functions keep their names, whatever has been imported, and torch waits for them."""

import subprocess
import sys

import pytest

import diffeval


@pytest.mark.parametrize("before", ["", "import diffeval.evaluate, diffeval.report.page", "import diffeval.cli"])
def test_functions_are_not_hidden_by_modules_of_their_name(before: str) -> None:
    code = f"""
{before}
import sys, diffeval
assert "torch" not in sys.modules or {before!r}
for _ in range(2):
    for name in ("load", "evaluate", "sample", "report", "train"):
        assert callable(getattr(diffeval, name)), name
        assert getattr(diffeval, name).__name__ == name
from diffeval import evaluate
assert callable(evaluate)
assert diffeval.Settings(n=5).n == 5
assert diffeval.__version__[0].isdigit()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_all_names_exist() -> None:
    assert all(hasattr(diffeval, name) for name in diffeval.__all__)
    with pytest.raises(AttributeError):
        diffeval.nothing  # noqa: B018
