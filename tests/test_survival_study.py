"""Every command is killed twice, and each other mishap befalls it once: ``benchmarks/survival.py`` plays the rest."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

STUDY = Path(__file__).parents[1] / "benchmarks" / "survival.py"
KILLED = "killed (SIGKILL), then run again"
COMMANDS = ("train", "fid", "sweep-cfg", "check", "report")
# What is played of the others, and whether it takes a small file system. Damage to any file of a finished run is
# played, too, and not held against it yet: its own command does not look at terms and pictures once it is done.
OTHERS = {
    "killed (SIGKILL), its checkpoint read as it lies": (("train",), False),
    "disk full": (COMMANDS, True),
    "read-only output": (COMMANDS, True),
    "a chunk cut or bits of it flipped, scores computed again": (("fid", "sweep-cfg"), False),
    "two processes on one output": (COMMANDS, False),
    "out of memory (simulated)": (("fid", "sweep-cfg"), False),
}

Rounds = Sequence[Mapping[str, Any]]

# The whole study is played before the first of these tests.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    """The study, short."""
    kept = tmp_path_factory.mktemp("survival") / "rounds.jsonl"
    words = [sys.executable, str(STUDY), "--rounds", "2", "--seed", "1", "--keep", str(kept)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert kept.exists(), done.stderr[-2000:]
    return [json.loads(line) for line in kept.read_text().splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_command_is_run_again_and_makes_what_it_should(rounds: Rounds, command: str) -> None:
    mine = [one for one in rounds if (one["case"], one["command"]) == (KILLED, command)]
    assert len(mine) == 2
    assert [one["ended"] for one in mine] == ["right", "right"], mine


@pytest.mark.parametrize(("case", "command"), [(case, one) for case, (names, _) in OTHERS.items() for one in names])
def test_a_mishap_ends_in_the_right_result_or_one_clear_line(rounds: Rounds, case: str, command: str) -> None:
    mine = [one for one in rounds if (one["case"], one["command"]) == (case, command)]
    if not mine and OTHERS[case][1]:
        pytest.skip("mounting a small file system needs root")
    assert len(mine) == 1
    assert mine[0]["ended"] in ("right", "told"), mine
