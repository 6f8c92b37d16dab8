"""The demo's gate: the file that ``gate init`` writes, and a baseline beside it."""

from collections.abc import Sequence
from pathlib import Path

from diffeval.gate.evidence import read_runs
from diffeval.gate.promote import promote
from diffeval.gate.reading import find_gate
from diffeval.gate.starter import starter_text
from diffeval.runs.files import replace_text

# How the starter file shows where a baseline may be named.
SOURCE = '# source = "baselines/main.json"'


def write_gate(runs: Sequence[Path], gate: Path, baseline: Path) -> None:
    """Writes the starter gate file of these runs, which names the baseline, and promotes the runs to be it.

    Raises:
        DiffevalError: if a run cannot be read, or a file cannot be written.
    """
    evidence = read_runs(runs)
    text = starter_text(evidence)
    assert SOURCE in text, "the starter file shows where a baseline goes"
    replace_text(gate, text.replace(SOURCE, f'source = "{baseline.name}"', 1))
    promote(evidence, baseline, gate=find_gate(gate), baseline=evidence)
