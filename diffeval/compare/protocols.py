"""Which settings two runs differ in, and whether a score of theirs is then still one and the same number."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from diffeval.errors import DiffevalError
from diffeval.registry import did_you_mean
from diffeval.runs.protocol import differing_keys
from diffeval.runs.records import Protocol, Score

Keys = Mapping[str, tuple[Any, Any]]

# What a score is measured with: where these differ the numbers measure different things, whatever anybody wants.
MEASURES = ("extractor", "resize", "reference", "reference_hash", "judge", "prompts", "template", "clip_scale")
# Of those, what the scores of prompts read, and what all others do.
OF_PROMPTS = ("judge", "clip_scale", "template", "prompts")
OF_IMAGES = ("extractor", "resize", "reference", "reference_hash")
# Which command was given, and what a check was told: no score depends on these.
NO_MATTER = ("task", "sampling_scheduler")
# How images come about; of ready-made ones none of it is known.
MAKING = ("sampler", "sampler_config", "steps", "w", "labels", "rounding", "dtype", "interval", "rescale")
# How a reason begins that is nothing but other settings.
DIFFER = "the runs differ in "
# Ready-made images on one side, sampled ones on the other.
SOURCE = "source"


def prompted(score: Score) -> bool:
    """Whether a score reads prompts, and not the reference."""
    return "judge" in score.params or score.name == "unscored_images"


def differing(one: Protocol, other: Protocol, score: Score | None = None) -> dict[str, tuple[Any, Any]]:
    """The settings that matter and differ, with both values.

    Args:
        one: a protocol.
        other: another.
        score: the one that they are to matter to; None for any.
    """
    found = {key: both for key, both in differing_keys(one, other).items() if key not in NO_MATTER}
    if score is None:
        return found
    unread = OF_IMAGES if prompted(score) else ("judge", "clip_scale", "template")
    found = {key: both for key, both in found.items() if key not in unread}
    if not prompted(score) and None in found.get("prompts", ()):  # prompts that nobody but a judge looks at
        del found["prompts"]
    return found


def allowed(keys: Keys, one: Protocol, other: Protocol, may_differ: Collection[str]) -> Keys:
    """Of differing settings those that nobody allowed to differ.

    Args:
        keys: from ``differing``.
        one: a protocol.
        other: another.
        may_differ: settings under test, by their names in the protocol; ``sampler`` goes for its configuration, too,
            ``reference`` is none of them, and ``source`` stands for all that ready-made images do not know.

    Raises:
        DiffevalError: for a name that is no setting, or that defines what is measured.
    """
    check_names(may_differ)
    free = set(may_differ)
    if "sampler" in free:
        free.add("sampler_config")
    if SOURCE in free and (one.sampler is None) is not (other.sampler is None):
        free |= set(MAKING)
    return {key: both for key, both in keys.items() if key not in free}


def check_names(may_differ: Collection[str]) -> None:
    """Refuses what can never be allowed to differ.

    Raises:
        DiffevalError: for a name that is no setting, or that defines what is measured.
    """
    known = {entry.name for entry in fields(Protocol)} - set(NO_MATTER) | {SOURCE}
    for name in may_differ:
        if name not in known:
            raise DiffevalError(f"compare: unknown setting {name!r};{did_you_mean(name, known - set(MEASURES))}")
        if name in MEASURES:
            raise DiffevalError(
                f"compare: {name} may not differ: it is what scores are measured with; measure both runs alike"
            )


def named(keys: Keys) -> str:
    """Differing settings as a phrase: ``steps 10 and 50, w 1 and 7``."""
    short = {
        key: both for key, both in keys.items() if key != "sampler_config" or not set(keys) & {"sampler", "steps"}
    }
    if "reference_hash" in short and "reference" in short:
        del short["reference_hash"]
    return ", ".join(f"{key} {_short(key, both)}" for key, both in short.items())


def _short(key: str, both: tuple[Any, Any]) -> str:
    left, right = both
    if isinstance(left, dict) and isinstance(right, dict):
        apart = [name for name in sorted({*left, *right}) if left.get(name) != right.get(name)]
        return f"({', '.join(f'{name} {left.get(name)} and {right.get(name)}' for name in apart)})"
    return " and ".join("none" if value is None else _text(value) for value in both)


def _text(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
