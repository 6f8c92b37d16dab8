"""The command that draws single images of a run once more."""

import shlex
from collections.abc import Collection, Iterator, Sequence

from diffeval.report.story import Told

# Options of ``sample`` that go over from the command that made the run; those without a value are the second kind.
WITH_VALUE = (
    "model", "key", "null-class", "schedule", "timesteps", "prediction", "value-range", "time", "classes", "shape",
    "preconditioning", "revision", "sampler", "eta", "interval", "rescale", "threshold", "dtype", "prompts",
    "held-out", "template", "negative",
)  # fmt: skip
FLAGS = (
    "raw", "ema", "zero-snr", "no-zero-snr", "learned-variance", "no-learned-variance", "safety-checker",
    "no-safety-checker", "vae-tiling", "offline", "karras", "no-karras", "offload",
)  # fmt: skip
# Commands whose images are those of ``sample`` with the same options.
ALIKE = ("fid", "eval", "pr", "clip", "coverage", "check", "demo")


def drawing(told: Told, indices: Sequence[int]) -> str:
    """``diffeval sample ... --indices 17,42`` for images of a run; empty where they were not sampled."""
    if told.results is None or told.results.protocol.sampler is None:
        return ""
    protocol, typed = told.results.protocol, told.results.provenance.command
    words = ["diffeval", "sample", told.spec]
    if len(typed) > 1 and typed[0] == "diffeval" and typed[1] in ALIKE:
        words += kept(typed[2:])
    elif protocol.sampler != "declared":
        words += ["--sampler", str(protocol.sampler)]
    words += [] if protocol.w is None else ["--w", f"{protocol.w:g}"]
    words += ["--steps", str(protocol.steps), "--seed", str(told.state.seed)]
    return shlex.join([*words, "--indices", ",".join(map(str, indices))])


def kept(typed: Sequence[str], names: Collection[str] = WITH_VALUE) -> Iterator[str]:
    """Options of these names with their values, and flags, as they were typed: by default how images are drawn."""
    taken = False
    for place, word in enumerate(typed):
        if taken or not word.startswith("--"):
            taken = False
            continue
        name, equals, _ = word[2:].partition("=")
        if name in FLAGS or (name in names and equals):
            yield word
        elif name in names and place + 1 < len(typed):
            yield from (word, typed[place + 1])
            taken = True
