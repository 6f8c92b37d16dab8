"""The noise of scores, as ``gate calibrate`` measured it: what a margin in sigmas is counted in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffeval.errors import DiffevalError, NoEvidenceError
from diffeval.registry import did_you_mean
from diffeval.runs.document import plain
from diffeval.runs.files import replace_text
from diffeval.runs.paths import regular
from diffeval.runs.records import Protocol
from diffeval.runs.seal import digest, matches
from diffeval.runs.typed import record

SCHEMA = "diffeval.calibration/1"
SEAL = "sha256"


@dataclass(frozen=True, slots=True)
class Noise:
    """How much a score moves where nothing but the seed does.

    Attributes:
        score: its name.
        value: its mean over the runs.
        over_seeds: standard deviation over the runs; None of a single one.
        stored: root mean square of the errors that the runs stored, each as its interval says it to the wider side.
        n: images of each run.
        runs: how many there were.
    """

    score: str
    value: float
    over_seeds: float | None
    stored: float
    n: int
    runs: int

    @property
    def sd(self) -> float:
        """The larger of both: few seeds may agree by chance, and stored errors may miss what seeds move."""
        return max(self.stored, self.over_seeds or 0.0)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Noise of the scores of one checkpoint under one protocol.

    Attributes:
        checkpoint: as the user named it.
        checkpoint_sha256: of the checkpoint.
        protocol: of the runs.
        how: ``seeds`` or ``terms``.
        noises: by score.
    """

    checkpoint: str
    checkpoint_sha256: str
    protocol: Protocol
    how: str
    noises: Mapping[str, Noise]

    def sd(self, score: str) -> float:
        """Standard deviation of a score over seeds.

        Raises:
            NoEvidenceError: if it was not calibrated.
        """
        if score not in self.noises:
            raise NoEvidenceError(f"the calibration has no {score};{did_you_mean(score, self.noises)}")
        return self.noises[score].sd


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Writes the file.

    Raises:
        DiffevalError: if it cannot be written.
    """
    document = {"schema": SCHEMA, **plain(calibration)}
    replace_text(path, json.dumps({**document, SEAL: digest(document)}, indent=2, allow_nan=False) + "\n")


def read_calibration(path: Path) -> Calibration:
    """Reads the file.

    Raises:
        DiffevalError: if it is not there, damaged, changed or of another schema.
    """
    try:
        document: Any = json.loads(regular(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DiffevalError(
            f"gate: there is no calibration {path}; write it with diffeval gate calibrate RUN... -o FILE"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DiffevalError(f"gate: {path} is no whole calibration: {error}; calibrate again") from error
    schema = document.get("schema") if isinstance(document, dict) else type(document).__name__
    if schema != SCHEMA:
        raise DiffevalError(
            f"gate: {path} has schema {schema!r}, needs {SCHEMA!r}; calibrate again, or update diffeval"
        )
    seal = document.pop(SEAL, None)
    if not matches(document, seal):
        raise DiffevalError(f"gate: {path} was changed after it was written: its hash does not match; calibrate again")
    try:
        del document["schema"]
        return record(Calibration, document)
    except (KeyError, TypeError, ValueError) as error:
        raise DiffevalError(f"gate: {path} is damaged ({type(error).__name__}: {error}); calibrate again") from error
