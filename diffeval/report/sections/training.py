"""The training log: loss, gradients and learning rate over steps, and by timestep."""

import json
from collections.abc import Iterator

from diffeval.report.facts import facts
from diffeval.report.figures.training import probe_heatmaps, training_curves
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block, Facts
from diffeval.runs.logs import read_log


@section("training", "Training", 100)
def training(story: Story) -> list[Block]:
    """The log of each training."""
    return story.by_run(_of_run)


def _of_run(told: Told) -> Iterator[Block]:
    path = told.run.path
    if told.task != "train":
        return
    log, probe = read_log(path / "log.jsonl"), read_log(path / "probe.jsonl")
    if log:
        yield from training_curves(log, f"training-{told.place}")
    if len(probe) > 1:  # one column is no development
        yield from probe_heatmaps(probe, f"probe-{told.place}")
    card_path = path / "diffeval.json"
    card = json.loads(card_path.read_text(encoding="utf-8")) if card_path.exists() else {}
    known = {key: value for key, value in card.items() if key not in {"provenance", "schema"}}
    if known:
        yield Facts("Checkpoint", "What diffeval.json says of it.", facts(known))
