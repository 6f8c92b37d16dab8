"""``diffeval sample``."""

from pathlib import Path
from typing import Annotated

import typer

from diffeval.cli.loading import load_checkpoint
from diffeval.cli.options import OUTPUT, Common, Loading, Output, Sampling, Wording, with_options
from diffeval.cli.parse import indices as parsed
from diffeval.cli.parse import settings_of
from diffeval.cli.running import document, reporting
from diffeval.cli.scored import prompting_of, show_plan
from diffeval.errors import DiffevalError

FORMATS = ("png", "npz")
# Images, where nothing is said of them.
N = 64


@with_options
def sample(
    checkpoint: Annotated[str, typer.Argument(metavar="CKPT", help="digits, or a diffusers folder.")],
    common: Common,
    loading: Loading,
    sampling: Sampling,
    output: Output,
    wording: Wording,
    n: Annotated[int, typer.Option("--n", "-n", help="Images.")] = N,
    indices: Annotated[
        str | None, typer.Option(help="These images of the seed instead, e.g. 17,42.", metavar="I,J,...")
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format", help="png: files in png/; npz: samples.npz (arr_0 NHWC, arr_1 labels).", rich_help_panel=OUTPUT
        ),
    ] = "png",
) -> None:
    """Samples images and nothing else: a folder of PNG files, or one npz.

    Examples:
    diffeval sample digits --n 100 --w 3
    diffeval sample digits --n 50000 --format npz --out runs/digits-50k
    diffeval sample digits --seed 0 --indices 17,42
    """
    with reporting(
        common, spread=not (output.dry_run or indices is not None), time_limit=output.time_limit
    ) as reporter:
        if form not in FORMATS:
            raise DiffevalError(f"sample: unknown --format {form!r}; use one of {', '.join(FORMATS)}")
        if output.out is not None and output.out.suffix in (".npz", ".png", ".zip"):
            raise DiffevalError(
                f"sample: --out {output.out} is the run's folder, which samples.npz or png/ will lie in; name a folder"
            )
        from diffeval.describe import describe_sampling
        from diffeval.evaluate import sample as draw
        from diffeval.export import write_npz, write_png
        from diffeval.pricing.run import command_began
        from diffeval.ready import PREFIX as READY
        from diffeval.single import draw_single

        single = parsed(indices)
        if single and (n != N or sampling.shard is not None):
            raise DiffevalError("sample: --indices names the images; leave --n and --shard out")
        settings = settings_of(sampling, len(single) or n)
        if checkpoint.startswith(READY):
            raise DiffevalError(f"sample: {checkpoint} is ready-made images; give a checkpoint to sample")
        loaded, prompting = load_checkpoint(checkpoint, loading), prompting_of(wording)
        if output.dry_run:
            plan = describe_sampling(
                loaded, settings, output.out, prompting, form=form, fresh=output.fresh, begun=command_began()
            )
            show_plan(plan, common)
            return
        if single:
            where = draw_single(
                loaded, single, settings=settings, prompting=prompting, out=output.out, form=form, reporter=reporter
            )
            if common.json:
                document("diffeval.sample/1", run=str(where.parent), images=str(where), n=len(single), indices=single)
            else:
                print(f"{len(single)} {'image' if len(single) == 1 else 'images'} in {_relative(where)}")
            return
        run, harvest = draw(
            loaded, settings=settings, prompting=prompting, out=output.out, fresh=output.fresh, reporter=reporter
        )
        assert harvest.images is not None, "sampling keeps images"
        write = write_png if form == "png" else write_npz
        target = write(run.path, harvest.images, n)
        if common.json:
            document("diffeval.sample/1", run=str(run.path), images=str(target), n=n)
            return
        results = run.results()
        for warning in () if results is None else results.warnings:
            print(f"warning: {warning}")
        print(f"{n} images in {_relative(target)}\nrun   {run.path}")


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def add(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(sample)
