"""Makes a run the baseline of later ones; one that did not pass only with a reason, which is kept."""

from dataclasses import dataclass
from pathlib import Path

from diffeval.errors import DiffevalError, ExitCode
from diffeval.gate.baseline import write_baseline
from diffeval.gate.evidence import Evidence, Promotion
from diffeval.gate.judge import judge
from diffeval.gate.reading import Gate, find_gate, is_here
from diffeval.gate.verdict import Verdict
from diffeval.runs.provenance import now


class RefusedError(DiffevalError):
    """A run that did not pass its gate is no baseline; the exit code is the verdict's.

    Args:
        message: one line.
        verdict: what the gate said.
    """

    def __init__(self, message: str, verdict: Verdict) -> None:
        super().__init__(message)
        self.exit_code = ExitCode(verdict.exit_code)


@dataclass(frozen=True, slots=True)
class Promoted:
    """A baseline that was written.

    Attributes:
        path: of the file.
        promotion: what the file says of it.
        verdict: of the gate; None where there was none.
    """

    path: Path
    promotion: Promotion
    verdict: Verdict | None


def gate_if_any(config: Path | None, *, required: bool) -> Gate | None:
    """The gate that is named, or lies here; None where there is none, and none is required.

    Raises:
        DiffevalError: if it cannot be read, or one is required and there is none.
    """
    return find_gate(config) if config is not None or required or is_here() else None


def promote(
    run: Evidence, path: Path, *, gate: Gate | None, baseline: Evidence | None = None, reason: str | None = None
) -> Promoted:
    """Writes a run as baseline file.

    Args:
        run: that is to be the baseline.
        path: of the file.
        gate: that the run has to pass; None only with a reason.
        baseline: the present one, however old; without one the run is held against itself, so that limits and checks
            decide.
        reason: why the run is promoted although it did not pass.

    Raises:
        RefusedError: if the run did not pass, and no reason is given.
        DiffevalError: if there is no gate and no reason.
    """
    said = None if reason is None else " ".join(reason.split())
    if said == "":
        raise DiffevalError("gate: --reason is empty; say why the run is to be the baseline all the same")
    if gate is None:
        if said is None:
            raise DiffevalError(
                "gate: there is no gate file that could say whether the run passes; give --config FILE, or --reason "
                "TEXT"
            )
        return _written(run, path, Promotion(now(), None, None, said), None)
    # However old the present baseline is: a newer one is what replaces it.
    verdict = judge(gate.ageless(), run, baseline or run)
    if not verdict.passed and said is None:
        raise RefusedError(
            f"gate: {run.origin} is not promoted: {verdict.status}, {verdict.sentence}; mend it, or say why it is to "
            "be the baseline all the same, with --reason TEXT",
            verdict,
        )
    kept = None if verdict.passed else said
    return _written(run, path, Promotion(now(), verdict.gate, verdict.status, kept), verdict)


def _written(run: Evidence, path: Path, promotion: Promotion, verdict: Verdict | None) -> Promoted:
    write_baseline(run, promotion, path)
    return Promoted(path, promotion, verdict)
