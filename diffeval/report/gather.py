"""Run directories to what the page shows of them."""

import json
from pathlib import Path

from diffeval.errors import DiffevalError
from diffeval.report.check_view import check_view
from diffeval.report.facts import facts, protocol_table, provenance_table
from diffeval.report.figures import fid_against_n, probe_heatmaps, training_curves
from diffeval.report.images import captions_of, tiles
from diffeval.report.lists import lists
from diffeval.report.mode_view import mode_figures, mode_galleries
from diffeval.report.sweep_view import sweep_view
from diffeval.report.text_view import prompt_galleries, text_figures
from diffeval.report.view import Card, Figure, Gallery, RunView, Table, Tile
from diffeval.report.words import first_score, floor_sentence, interval_text, number, score_title, settings_line
from diffeval.runs.directory import RunDirectory, RunState
from diffeval.runs.logs import read_log
from diffeval.runs.records import Results, Score


def run_view(path: Path, index: int) -> RunView:
    """What is shown of one run.

    Raises:
        DiffevalError: if the folder is no run, or holds nothing to show yet.
    """
    if not path.is_dir():
        raise DiffevalError(f"report: {path} is no folder; give a run directory, e.g. one under runs/")
    run = RunDirectory(path)
    state = run.state()
    if state is None:
        raise DiffevalError(f"report: {path} is no run directory (it has no run.json); give one, e.g. under runs/")
    if state.task == "train":
        return _training_view(run, state, index)
    if state.task == "check" and (results := run.results()) is not None:
        return check_view(run, state, results, index)
    if state.task.startswith("sweep") and (results := run.results()) is not None:
        return sweep_view(run, state, results, index)
    results = run.results()
    if results is None:
        raise DiffevalError(
            f"report: {path} has no results yet (it is {state.status}); run its command again to finish it"
        )
    return _evaluation_view(run, state, results, index)


def _evaluation_view(run: RunDirectory, state: RunState, results: Results, index: int) -> RunView:
    figure = fid_against_n(results, f"fid-{index}")
    floor = floor_sentence(results)
    grid = _grid(run, None if results.protocol.sampler is None else state.seed)
    return RunView(
        title=f"{results.provenance.checkpoint}: {results.protocol.task}{_guidance(results)}",
        settings=settings_line(results),
        status=state.status,
        cards=tuple(_card(results, title) for title in _titles(results)),
        figures=(
            *(() if figure is None else (figure,)),
            *text_figures(run, results, index),
            *mode_figures(run, results, index),
        ),
        galleries=(
            *prompt_galleries(run, results),
            *mode_galleries(run, results),
            *((Gallery("Samples", _grid_sentence(results, len(grid)), grid),) if grid else ()),
        ),
        lists=lists(results),
        tables=(
            protocol_table(results),
            *(
                Table("Extractor", "How images became features.", facts(dict(row)))
                for row in results.tables.get("extractor", ())
            ),
            provenance_table(results, f" {floor}." if floor else ""),
        ),
        warnings=results.warnings,
        command=" ".join(results.provenance.command),
    )


def _training_view(run: RunDirectory, state: RunState, index: int) -> RunView:
    log, probe = read_log(run.path / "log.jsonl"), read_log(run.path / "probe.jsonl")
    figures: list[Figure] = []
    if log:
        figures += training_curves(log, f"training-{index}")
    if len(probe) > 1:  # one column is no development
        figures += probe_heatmaps(probe, f"probe-{index}")
    card_path = run.path / "diffeval.json"
    card = json.loads(card_path.read_text(encoding="utf-8")) if card_path.exists() else {}
    known = {key: value for key, value in card.items() if key not in {"provenance", "schema"}}
    step = log[-1]["step"] if log else 0
    return RunView(
        title=f"{run.path.resolve().name}: training",
        settings=f"step {step:,} of {state.n:,} · batch {state.batch} · seed {state.seed}",
        status=state.status,
        figures=tuple(figures),
        tables=(Table("Checkpoint", "What diffeval.json says of it.", facts(known)),) if known else (),
        warnings=state.warnings,
    )


def _titles(results: Results) -> list[str]:
    """Of the scores, in the order of the results, the first one first."""
    return sorted(dict.fromkeys(map(score_title, results.scores)), key=lambda title: title != first_score(results))


def _grid_sentence(results: Results, count: int) -> str:
    if results.protocol.sampler is None:
        return (
            f"The first {count} images in the order in which they count, which is drawn at random: nothing was chosen."
        )
    return f"Images 0 to {count - 1} of seed {results.provenance.seed}, in order: nothing was chosen."


def _guidance(results: Results) -> str:
    return "" if results.protocol.w is None else f" at w={results.protocol.w:g}"


def _card(results: Results, title: str) -> Card:
    score = max((one for one in results.scores if score_title(one) == title), key=lambda one: one.n)
    if score.value is None:
        return Card(title, "–", "", f"not computed: {score.error}")
    return Card(title, number(score.value), "biased" if score.params.get("biased") else "", _detail(score))


def _detail(score: Score) -> str:
    parts = [f"n={score.n:,}"]
    if score.ci95 is not None:
        parts.append(f"95% interval {interval_text(score.ci95)}")
    elif score.std_error is not None:
        parts.append(f"standard error {number(score.std_error)}")
    if score.null is not None:
        parts.append(f"real images {number(score.null.value)} (n={score.null.n})")
    parts.append("higher is better" if score.higher_is_better else "lower is better")
    return " · ".join(parts)


def _grid(run: RunDirectory, seed: int | None) -> tuple[Tile, ...]:
    arrays = run.arrays("grid")
    if arrays is None:
        return ()
    labels = arrays["labels"].tolist() if "labels" in arrays else None
    return tiles(arrays["images"], captions_of(len(arrays["images"]), labels, seed))
