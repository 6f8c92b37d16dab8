"""The command that brings a section that is not on the page: of its checkpoint, measured as its run was."""

import re
import shlex
from collections.abc import Iterator

from diffeval.report.again import ALIKE, kept
from diffeval.report.names import UNKNOWN
from diffeval.report.sections import Section
from diffeval.report.story import Story, Told

# What a checkpoint is read with, so that a file of weights is more than numbers; and what it is measured against.
READ_WITH = (
    "model", "key", "null-class", "schedule", "timesteps", "prediction", "value-range", "time", "classes", "shape",
    "preconditioning", "revision", "ref",
)  # fmt: skip
# What images are measured with; checks have no extractor.
MEASURED_WITH = ("extractor", "weights", "resize")
CHECK = "diffeval check"
# What goes over settings of a sampler, which ready-made images do not have.
SWEEPS = ("diffeval sweep", "diffeval sweep-cfg")
COMMANDS = (*ALIKE, "sweep", "sweep-cfg")
N = re.compile(r" --n \d+")
PROMPTS = " --prompts prompts.txt"


def filled(one: Section, story: Story) -> str:
    """The command that would fill a section, for the page's first evaluation; empty where there is none."""
    first = next((run for run in story.runs if run.is_evaluation), story.runs[0])
    pattern = one.fill
    if _is_ready_made(first):
        if pattern.startswith(SWEEPS):
            return ""
        pattern = N.sub("", pattern)  # all of them, however many there are
    if _has_classes(first):
        pattern = pattern.replace(PROMPTS, "")  # the classes are the prompts
    command = pattern.format(checkpoint=shlex.quote(first.spec), run=shlex.quote(str(first.run.path)))
    more = shlex.join(_options(first, command)) if "{checkpoint}" in pattern else ""
    return f"{command} {more}" if more else command


def _is_ready_made(told: Told) -> bool:
    return told.protocol is not None and told.protocol.sampler is None


def _has_classes(told: Told) -> bool:
    """Whether images were made class by class: guidance then has a scale, and there are no prompts."""
    return told.protocol is not None and told.protocol.w is not None and told.protocol.prompts is None


def _options(told: Told, command: str) -> Iterator[str]:
    """How the checkpoint was read and measured, as it was typed."""
    typed = () if told.results is None else told.results.provenance.command
    start = next((place for place, word in enumerate(typed[:4]) if word in COMMANDS), None)
    if start is None or told.spec == UNKNOWN:
        return
    yield from kept(typed[start + 1 :], READ_WITH if command.startswith(CHECK) else READ_WITH + MEASURED_WITH)
