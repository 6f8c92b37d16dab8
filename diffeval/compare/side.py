"""One side of a comparison: what a run stored, read without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffeval.errors import DiffevalError, NoEvidenceError
from diffeval.registry import did_you_mean
from diffeval.runs.directory import RunDirectory
from diffeval.runs.records import Results, Score


def title(score: Score) -> str:
    """The name of a score, and of the kind of modes that it counts, if any: ``recall``, ``mode_coverage (labels)``."""
    kind = score.params.get("modes")
    return score.name if kind is None else f"{score.name} ({kind})"


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A run's results and the arrays of ``terms.npz``.

    Attributes:
        name: where it lies, as messages say it.
        results: what was found.
        arrays: terms of the largest count, named ``SCORE.TERM``, and ``labels``; empty where none are stored.
    """

    name: str
    results: Results
    arrays: Mapping[str, Any]

    @property
    def sampled(self) -> bool:
        """Whether the images were made here, so that the seed says from which noise."""
        return self.results.protocol.sampler is not None

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.results.provenance.seed

    @property
    def sha256(self) -> str:
        """Of the checkpoint, or of ready-made images."""
        return self.results.provenance.checkpoint_sha256

    @property
    def titles(self) -> tuple[str, ...]:
        """Scores, each once, in the order of the results."""
        return tuple(dict.fromkeys(title(score) for score in self.results.scores))

    def counts(self, name: str) -> tuple[int, ...]:
        """At how many images a score is known, ascending."""
        return tuple(sorted({one.n for one in self._called(name) if one.value is not None}))

    def score(self, name: str, n: int | None = None) -> Score:
        """The score of that title at ``n`` images, or at the largest count; it has a value.

        Raises:
            NoEvidenceError: if it was not measured, or could not be computed.
        """
        called = self._called(name)
        if not called:
            raise NoEvidenceError(f"compare: {self.name} has no {name};{did_you_mean(name, self.titles)}")
        titles = dict.fromkeys(map(title, called))
        if len(titles) > 1:
            raise DiffevalError(
                f"compare: {self.name} has several scores called {name}; name one: {', '.join(titles)}"
            )
        found = [one for one in called if one.value is not None and n in (None, one.n)]
        if not found:
            reason = called[-1].error or f"it is not known at n={n}"
            raise NoEvidenceError(f"compare: {self.name} has no value of {name}: {reason}")
        return max(found, key=lambda one: one.n)

    def _called(self, name: str) -> list[Score]:
        exact = [one for one in self.results.scores if title(one) == name]
        return exact or [one for one in self.results.scores if one.name == name]

    def terms(self, name: str) -> dict[str, Any]:
        """The arrays of one score, without its name."""
        start = f"{name}."
        return {key.removeprefix(start): array for key, array in self.arrays.items() if key.startswith(start)}


def read_side(path: Path | str) -> Side:
    """Reads a run directory with its seal.

    Raises:
        DiffevalError: if it is none, or what it holds is damaged, or is not as the run wrote it.
        NoEvidenceError: if it is not finished.
    """
    folder = Path(path)
    if not folder.exists():
        raise DiffevalError(f"compare: there is no {folder}; give the directory of a run, as diffeval fid prints it")
    if not folder.is_dir():
        raise DiffevalError(f"compare: {folder} is a file; give the directory of a run, which holds results.json")
    run = RunDirectory(folder)
    results = run.results()
    if results is None:
        state = run.state()
        if state is None:
            raise DiffevalError(f"compare: {folder} is no run: it holds no results.json; give a run's directory")
        if state.protocol is None:
            raise DiffevalError(
                f"compare: {folder} is a training; measure what it made, e.g. with diffeval fid {folder}"
            )
        raise NoEvidenceError(
            f"compare: {folder} holds no results yet (a {state.task} run, {state.status}); run its command again to "
            f"finish it"
        )
    if results.protocol.task.startswith("sweep"):
        raise DiffevalError(f"compare: {folder} is a sweep; compare its points, the folders in {folder / 'points'}")
    arrays = run.arrays("terms")
    if arrays is None and (folder / "terms.npz").exists():
        raise DiffevalError(f"compare: {folder / 'terms.npz'} is damaged; run its command again with --fresh")
    try:
        run.require_whole()
    except DiffevalError as error:
        raise DiffevalError(f"compare: {str(error).removeprefix('results: ')}") from error
    return Side(str(folder), results, arrays or {})
