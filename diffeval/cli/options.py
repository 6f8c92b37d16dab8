"""Options that several commands share, in groups, and the decorator that gives a command some of them."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from diffeval.cli.checkpoint_options import PARTS as PARTS
from diffeval.cli.checkpoint_options import SAMPLING as SAMPLING
from diffeval.cli.checkpoint_options import Loading as Loading
from diffeval.cli.checkpoint_options import Sampling as Sampling
from diffeval.cli.config import read_config

OUTPUT, SCORING, READING, PROMPTS = "Output", "Scores", "Data", "Prompts"


@dataclass(frozen=True, slots=True)
class Common:
    """On every command."""

    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, all else on stderr.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks of errors, too.")] = False
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", callback=read_config, is_eager=True, help="TOML file with options; flags and environment win."
        ),
    ] = None


CKPT_HELP = "digits, a diffusers folder, hf:ORG/NAME, a weights file with --model, or images:DIR."
# What is measured; the argument of every command that scores.
Measured = Annotated[str, typer.Argument(metavar="CKPT", help=CKPT_HELP)]


@dataclass(frozen=True, slots=True)
class Output:
    """Where a run goes."""

    out: Annotated[
        Path | None, typer.Option(help="Run directory; by default named under runs/.", rich_help_panel=OUTPUT)
    ] = None
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Recompute, whatever the run directory holds.", rich_help_panel=OUTPUT)
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check everything, show what would be done, do nothing.", rich_help_panel=OUTPUT
        ),
    ] = False
    time_limit: Annotated[
        str | None,
        typer.Option(
            help="Stop in time with exit code 75, e.g. 90s, 30m, 2h or 3:50:00; the same command continues.",
            rich_help_panel=PARTS,
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Measuring:
    """What images are measured against."""

    ref: Annotated[
        str | None,
        typer.Option(
            help="Real images or statistics, e.g. folder:DIR, mnist:DIR@heldout, stats:FILE; by default what the "
            "checkpoint was trained on.",
            rich_help_panel=SCORING,
        ),
    ] = None
    extractor: Annotated[
        str | None,
        typer.Option(
            help="digits, fitted, inception, dinov2, clip, or pkg.module:factory; by default the data decides.",
            rich_help_panel=SCORING,
        ),
    ] = None
    weights: Annotated[
        Path | None, typer.Option(help="File with the extractor's weights.", rich_help_panel=SCORING)
    ] = None
    resize: Annotated[
        str | None,
        typer.Option(
            help="Resizing protocol of the extractor, e.g. clean or legacy_pytorch.", rich_help_panel=SCORING
        ),
    ] = None
    fast: Annotated[
        bool,
        typer.Option("--fast", help="Extract in bfloat16, compiled; the drift is measured.", rich_help_panel=SCORING),
    ] = False
    protocol: Annotated[
        str | None,
        typer.Option(
            help="A published protocol: adm, edm2, clean-fid or mlperf-sdxl; sets n, resize and rounding.",
            rich_help_panel=SCORING,
        ),
    ] = None
    keep: Annotated[
        str, typer.Option(help="images, features or none: what stays beside the results.", rich_help_panel=OUTPUT)
    ] = "features"


@dataclass(frozen=True, slots=True)
class Reading:
    """How real images are read."""

    download: Annotated[
        bool, typer.Option("--download", help="Fetch real images that are not here yet.", rich_help_panel=READING)
    ] = False
    on_bad: Annotated[
        str,
        typer.Option(help="stop or skip: what to do at images that cannot be used.", rich_help_panel=READING),
    ] = "stop"


@dataclass(frozen=True, slots=True)
class Wording:
    """What images were to show."""

    prompts: Annotated[
        Path | None,
        typer.Option(
            help="Prompts: .txt, .csv, .tsv, .jsonl, or COCO's .json; by default the names of the classes.",
            rich_help_panel=PROMPTS,
        ),
    ] = None
    held_out: Annotated[
        Path | None,
        typer.Option(help="Prompts never seen in training, as a group of their own.", rich_help_panel=PROMPTS),
    ] = None
    template: Annotated[
        str | None,
        typer.Option(help="What prompts are put in, e.g. 'A photo depicts {}'.", rich_help_panel=PROMPTS),
    ] = None
    negative: Annotated[
        str | None,
        typer.Option(
            help="Negative prompt of a text-to-image model, where the file has none.", rich_help_panel=PROMPTS
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Judging:
    """Who says whether an image follows its prompt, beside another extractor."""

    judge: Annotated[
        str | None,
        typer.Option(
            help="clip:VARIANT; by default the extractor if it is clip, or the digits judge.", rich_help_panel=PROMPTS
        ),
    ] = None
    judge_weights: Annotated[
        Path | None, typer.Option(help="File with the judge's weights.", rich_help_panel=PROMPTS)
    ] = None


@dataclass(frozen=True, slots=True)
class Scored:
    """All that a command has which samples, or reads images, and scores them: groups of groups."""

    common: Common
    loading: Loading
    sampling: Sampling
    measuring: Measuring
    reading: Reading
    output: Output
    wording: Wording


GROUPS = (Common, Loading, Sampling, Output, Measuring, Reading, Wording, Judging)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replaces each parameter whose type is an option group by the group's own options.

    The command is written with ``common: Common, sampling: Sampling``, or with ``given: Scored`` for all that scoring
    takes; typer sees ``--json``, ``--seed`` and so on.
    """
    own: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    bundle: str | None = None
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if kind is Scored:
            bundle = parameter.name
            groups |= get_type_hints(Scored)
        elif kind in GROUPS:
            groups[parameter.name] = kind
        else:
            own.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))
    for group in groups.values():
        types = get_type_hints(group, include_extras=True)
        for field in fields(group):
            assert field.default is not MISSING, "every shared option has a default"
            own.append(
                inspect.Parameter(
                    field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name]
                )
            )

    def run(**values: Any) -> None:
        bundled = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        if bundle is not None:
            bundled[bundle] = Scored(**{name: bundled.pop(name) for name in get_type_hints(Scored)})
        command(**values, **bundled)

    for parameter in own:
        for note in getattr(parameter.annotation, "__metadata__", ()):
            # Every option has one (the root help says how it is named); naming each doubles the length of the help.
            note.show_envvar = False

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in own}
    return run
