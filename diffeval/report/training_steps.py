"""Where checkpoints stand on an axis: at a training step, or one after the other, as they were given."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffeval.compare.document import label as letter
from diffeval.report.names import trailing_number
from diffeval.report.story import Told

# The folder under a training in which it keeps checkpoints.
KEPT = "steps"


@dataclass(frozen=True, slots=True)
class Places:
    """Where runs stand on an axis.

    Attributes:
        title: of the axis.
        at: of each run: a number of steps, or a letter.
        steps: whether it is numbers, between which a line may be drawn.
        names: of the runs.
    """

    title: str
    at: tuple[int | str, ...]
    steps: bool
    names: tuple[str, ...]

    @property
    def called(self) -> tuple[str, ...]:
        """What each run is called where there is little room: ``step 200``, or its letter."""
        if not self.steps:
            return tuple(map(str, self.at))
        return tuple(f"{'epoch' if self.title.startswith('epoch') else 'step'} {one:,}" for one in self.at)

    @property
    def columns(self) -> tuple[str, ...]:
        """The same with its name, where that says more."""
        return self.called if self.steps else tuple(map(" ".join, zip(self.called, self.names, strict=True)))


def places_of(runs: Sequence[Told]) -> Places:
    """Steps where all runs are of one training, by their cards or by the numbers that their names end with.

    Checkpoints of several trainings have no common axis: step 400 of one is not before step 600 of another.
    """
    names = tuple(one.name for one in runs)
    known = [None if one.results is None else one.results.provenance.training_step for one in runs]
    steps = [step for step in known if step is not None]
    if len(steps) == len(runs) and len({_training(one) for one in runs}) == 1 and len(set(steps)) == len(steps):
        return Places("training step", tuple(steps), True, names)
    ends = [trailing_number(_last(one)) for one in runs]
    numbers = [end for end in ends if end is not None]
    alike = {(_folder(one), end[0]) for one, end in zip(runs, ends, strict=True) if end is not None}
    if len(numbers) == len(runs) and len(alike) == 1 and len({value for _, value in numbers}) == len(runs):
        unit = "epoch" if "epoch" in numbers[0][0].lower() else "step"
        return Places(f"{unit}, as the checkpoints' names say", tuple(value for _, value in numbers), True, names)
    return Places("", tuple(map(letter, range(len(runs)))), False, names)


def _path(told: Told) -> Path:
    return told.run.path if told.results is None else Path(told.results.provenance.checkpoint_path)


def _last(told: Told) -> str:
    return _path(told).name


def _folder(told: Told) -> Path:
    return _path(told).parent


def _training(told: Told) -> Path:
    """The folder of the training that a checkpoint is of: it lies there, or among those that were kept there."""
    path = _path(told)
    return path.parent.parent if path.parent.name == KEPT else path
