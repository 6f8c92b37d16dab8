"""What the user declares otherwise than the files, and the identity that this gives a checkpoint."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from diffeval.checkpoints.declaration import UNIT_RANGE, Declaration, parse_preconditioning
from diffeval.checkpoints.options import LoadOptions, flag
from diffeval.checkpoints.schedules import declared_schedule
from diffeval.diffusion.schedule import NoiseSchedule
from diffeval.errors import DiffevalError


def overridden(declaration: Declaration, options: LoadOptions, embeddings: int | None) -> Declaration:
    """The declaration with the user's words in the place of its own."""
    changes: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("prediction", "value_range", "time", "shape", "preconditioning", "learned_variance")
        if getattr(options, name) is not None
    }
    if parse_preconditioning(options.preconditioning) is not None:
        # It sets these two; what was declared of them belonged to the network without it.
        changes = {"time": None, "prediction": None, **changes}
    changes |= _class_changes(declaration, options, embeddings)
    if options.schedule is not None:
        changes |= {"schedule": options.schedule, "alpha_bar": None, "betas": None, "zero_snr": False}
        if declaration.timesteps is None and isinstance(declaration.schedule, NoiseSchedule):
            changes["timesteps"] = declaration.schedule.timesteps
    named = isinstance(changes.get("schedule", declaration.schedule), str)
    for name in ("timesteps", "zero_snr"):
        value = getattr(options, name)
        if value is None:
            continue
        gridded = name == "timesteps" and parse_preconditioning(
            changes.get("preconditioning", declaration.preconditioning)
        )
        if not named and not gridded:
            raise DiffevalError(
                f"checkpoint: {flag(name)} is given, but the noise schedule has no name; give --schedule, too"
            )
        changes[name] = value
    return dataclasses.replace(declaration, **changes)


def _class_changes(declaration: Declaration, options: LoadOptions, embeddings: int | None) -> dict[str, Any]:
    """Of K embeddings, one is the null class where the user names it, and the others are the classes."""
    null = options.null_class
    changes: dict[str, Any] = {} if null is None else {"null_class": None if null == "none" else null}
    count = options.classes
    if embeddings is not None and isinstance(null, int) and null != declaration.null_class:
        if not 0 <= null < embeddings:
            raise DiffevalError(
                f"checkpoint: --null-class {null}, but the network has {embeddings} class embeddings, "
                f"0 to {embeddings - 1}"
            )
        # By number from here on: declared names belong to the declared null class.
        count = changes["classes"] = embeddings - 1 if count is None else count
    if embeddings is not None and count is not None:
        most = embeddings - (1 if isinstance(changes.get("null_class", declaration.null_class), int) else 0)
        if not 1 <= count <= most:
            raise DiffevalError(
                f"checkpoint: {count} classes are asked for, but the network has {embeddings} class embeddings, "
                f"of which {most} are classes"
            )
    if count is not None and count != count_of(declaration.classes):
        changes["classes"] = count
    return changes


def count_of(classes: int | Sequence[str]) -> int:
    """Number of classes, given as such or by their names."""
    return classes if isinstance(classes, int) else len(classes)


def _facts(declaration: Declaration) -> dict[str, Any]:
    """What a declaration comes to, by option; what it leaves open counts as what would be assumed."""
    edm = parse_preconditioning(declaration.preconditioning)
    try:
        schedule = declared_schedule(declaration, edm)[0]
        arrays = f"{schedule.name}, T={schedule.timesteps}, sha256 {schedule.sha256()[:12]}"
    except DiffevalError:
        arrays = "none"
    time = declaration.time or "step"
    # Preconditioning says what the network takes as time.
    taken = {} if edm else {"time": "function" if callable(time) else time}
    return {
        **taken,
        "schedule": arrays,
        "prediction": declaration.prediction or "epsilon",
        "value_range": ",".join(map(_number, declaration.value_range or UNIT_RANGE)),
        "classes": count_of(declaration.classes),
        "null_class": "none" if declaration.null_class is None else declaration.null_class,
        "shape": ",".join(map(str, declaration.shape or ())),
        "preconditioning": declaration.preconditioning or "none",
        "learned_variance": declaration.learned_variance,
    }


def _number(value: float) -> str:
    """As short as it can be said exactly."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def changes_of(declared: Declaration, used: Declaration) -> dict[str, Any]:
    """What the user's options changed. A flag that confirms what is declared changes nothing."""
    before, after = _facts(declared), _facts(used)
    return {name: value for name, value in after.items() if value != before.get(name)}


def identity_of(sha256: str, changes: Mapping[str, Any]) -> str:
    """Overrides define the model as its files do: with others, it is another checkpoint."""
    if not changes:
        return sha256
    return hashlib.sha256(f"{sha256} {json.dumps(changes, sort_keys=True)}".encode()).hexdigest()
