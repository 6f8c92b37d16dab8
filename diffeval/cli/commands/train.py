"""``diffeval train``."""

from pathlib import Path
from typing import Annotated

import typer

from diffeval.cli.options import PARTS, Common, Reading, with_options
from diffeval.cli.running import document, reporting
from diffeval.cli.scored import show_plan

MODEL, LEARNING = "Model", "Optimisation"


@with_options
def train(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Training images: digits, mnist:DIR, cifar10:DIR, folder:DIR, zip:FILE, npz:FILE and others.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint, which is also the run.")],
    common: Common,
    reading: Reading,
    schedule: Annotated[
        str, typer.Option(help="linear, scaled_linear, squaredcos_cap_v2 or sigmoid.", rich_help_panel=MODEL)
    ] = "squaredcos_cap_v2",
    zero_snr: Annotated[
        bool, typer.Option("--zero-snr", help="Rescale to zero terminal SNR.", rich_help_panel=MODEL)
    ] = False,
    prediction: Annotated[
        str, typer.Option(help="epsilon, sample or v_prediction.", rich_help_panel=MODEL)
    ] = "epsilon",
    timesteps: Annotated[int, typer.Option(help="Training timesteps.", rich_help_panel=MODEL)] = 1000,
    drop_condition: Annotated[
        float,
        typer.Option(help="Share of images trained without their class; guidance needs it.", rich_help_panel=MODEL),
    ] = 0.1,
    conditional: Annotated[
        bool, typer.Option("--conditional/--unconditional", help="Whether to use classes.", rich_help_panel=MODEL)
    ] = True,
    preset: Annotated[
        str | None,
        typer.Option(help="Network size: 8px, 32px or 64px; by default fits the images.", rich_help_panel=MODEL),
    ] = None,
    ema: Annotated[float, typer.Option(help="Decay of the averaged weights.", rich_help_panel=LEARNING)] = 0.995,
    lr: Annotated[float, typer.Option(help="Peak learning rate.", rich_help_panel=LEARNING)] = 2e-3,
    lr_schedule: Annotated[
        str, typer.Option(help="cosine (to zero at the last step) or constant.", rich_help_panel=LEARNING)
    ] = "cosine",
    warmup: Annotated[int, typer.Option(help="Steps of linear warm-up.", rich_help_panel=LEARNING)] = 100,
    batch: Annotated[int, typer.Option(help="Training images per step.", rich_help_panel=LEARNING)] = 128,
    steps: Annotated[int, typer.Option(help="Optimiser steps.", rich_help_panel=LEARNING)] = 2000,
    clip: Annotated[float, typer.Option(help="Largest gradient norm.", rich_help_panel=LEARNING)] = 1.0,
    seed: Annotated[int, typer.Option(help="Of weights, order, noise.", rich_help_panel=LEARNING)] = 0,
    dtype: Annotated[str, typer.Option(help="fp32, or bf16 for autocast.", rich_help_panel=LEARNING)] = "fp32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=LEARNING)] = "auto",
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints.", rich_help_panel=LEARNING)] = 500,
    keep_every: Annotated[
        int | None,
        typer.Option(
            help="Keep the checkpoint of every so many steps, in steps/ under --out, to look back at.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, try some steps, say how long it takes, write nothing.")
    ] = False,
    time_limit: Annotated[
        str | None,
        typer.Option(
            help="Stop in time with exit code 75, e.g. 30m or 3:50:00; --resume continues.", rich_help_panel=PARTS
        ),
    ] = None,
) -> None:
    """Trains a DDPM, class-conditional where the data has classes, and leaves a diffusers folder.

    Examples:
    diffeval train digits --out checkpoints/digits
    diffeval train digits --out checkpoints/v --prediction v_prediction --zero-snr
    diffeval train mnist --download --out checkpoints/mnist
    diffeval train folder:photos@train --on-bad skip --out checkpoints/photos
    """
    with reporting(common, again="add --resume to continue", time_limit=time_limit) as reporter:
        from diffeval.data.source import OpenOptions, open_source
        from diffeval.report.page import report
        from diffeval.training.recipe import Recipe
        from diffeval.training.train import train as run_training

        recipe = Recipe(
            schedule=schedule,
            zero_snr=zero_snr,
            prediction=prediction,  # type: ignore[arg-type]  # checked with a better message by the recipe
            timesteps=timesteps,
            drop_condition=drop_condition,
            conditional=conditional,
            ema=ema,
            lr=lr,
            lr_schedule=lr_schedule,  # type: ignore[arg-type]  # as above
            warmup=warmup,
            batch=batch,
            steps=steps,
            clip=clip,
            seed=seed,
            dtype=dtype,
            preset=preset,
        )
        recipe.check()
        opening = OpenOptions(
            download=reading.download,
            on_bad=reading.on_bad,  # type: ignore[arg-type]  # as above
            reporter=reporter,
        )
        source = open_source(data, options=opening)
        if dry_run:
            from diffeval.pricing.run import command_began
            from diffeval.pricing.training import describe_training

            plan = describe_training(
                source,
                recipe,
                out,
                device=device,
                save_every=save_every,
                keep_every=keep_every,
                resume=resume,
                reporter=reporter,
                begun=command_began(),
            )
            show_plan(plan, common)
            return
        run = run_training(
            source,
            recipe,
            out,
            device=device,
            save_every=save_every,
            keep_every=keep_every,
            resume=resume,
            reporter=reporter,
        )
        page = report([run.path], run.path / "report.html")
        if common.json:
            document("diffeval.train/1", checkpoint=str(out), page=str(page))
        else:
            print(f"checkpoint  {out}\npage        {page}\nnext        diffeval fid {out} --n 5000")


def add(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(train)
