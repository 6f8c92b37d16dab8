"""The names of scores and checks, those of a run and those that diffeval has."""

import difflib
from collections.abc import Iterable

from diffeval.gate.classes import ERRORS, SHARES
from diffeval.gate.evidence import Evidence
from diffeval.registry import did_you_mean

# What the registries hold, written down: these import torch, which a gate has not, and a test compares both.
SCORES = frozenset(
    {
        "brightness_ratio",
        "class_accuracy",
        "clip_margin",
        "clip_score",
        "cmmd",
        "colour_saturation",
        "contrast_ratio",
        "coverage",
        "density",
        "fid",
        "fid_debiased",
        "inception_score",
        "js_divergence",
        "kid",
        "missing_mass",
        "mode_coverage",
        "precision",
        "r_precision",
        "recall",
        "saturated_pixels",
        "unscored_images",
        "vendi",
        "vendi_within_class",
        "within_class_distance",
        "within_prompt_diversity",
    }
)
CHECKS = frozenset(
    {
        "batch-norm",
        "data-range",
        "determinism",
        "ema",
        "guidance-branch",
        "loss-profile",
        "memorization",
        "noise-schedule",
        "prediction-type",
        "receptive-field",
        "reproduction",
        "step-convergence",
        "terminal-snr",
        "timestep-embedding",
        "training-log",
        "trajectory",
        "untrained",
        "vae",
    }
)


def unknown_score(name: str, run: Evidence | None, *, by_class: bool) -> str:
    """What is wrong with the name of a score; empty where nothing is."""
    if by_class:
        known: set[str] = {*SHARES, *ERRORS}
        return "" if name in known else f"there is no {name} by class;{did_you_mean(name, known)}"
    held = set() if run is None else set(run.titles)
    if name in held:
        return ""
    known = held | SCORES
    return "" if name.split(" (")[0] in known else f"there is no score {name!r};{did_you_mean(name, known)}"


def unknown_check(name: str, run: Evidence | None) -> str:
    """What is wrong with the name of a check; empty where nothing is."""
    held = set() if run is None else {one.name for one in run.checks}
    if name in held:
        return ""
    known = held | CHECKS
    return "" if name in known else f"there is no check {name!r};{did_you_mean(name, known)}"


def misspelt(name: str, known: Iterable[str]) -> str | None:
    """The known name that was meant, if one is so near that it must have been; None otherwise.

    A name that diffeval has is meant as it stands: that runs lack it is missing evidence.
    """
    names = set(known)
    ours = name.split(" (")[0] in SCORES or name in CHECKS
    near = [] if ours or name in names else difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.8)
    return near[0] if near else None
