"""``diffeval ref make``, ``ref show`` and ``ref convert``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffeval.cli.options import SAMPLING, Common, Reading, with_options
from diffeval.cli.running import document, reporting

if TYPE_CHECKING:
    from diffeval.features.statistics import Statistics

app = typer.Typer(no_args_is_help=True, help="Reference statistics: make, show, convert.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="An .npz, or a .pkl of EDM2.")]


@app.command()
@with_options
def make(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Real images, e.g. folder:DIR or mnist:DIR@train.")],
    out: Annotated[Path, typer.Option(help="The .npz file.")],
    common: Common,
    reading: Reading,
    extractor: Annotated[str | None, typer.Option(help="Feature extractor; by default the data decides.")] = None,
    weights: Annotated[Path | None, typer.Option(help="File with the extractor's weights.")] = None,
    resize: Annotated[str | None, typer.Option(help="Resizing protocol of the extractor.")] = None,
    features: Annotated[
        bool, typer.Option("--features", help="Keep the features, too: metrics other than FID need them.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=SAMPLING)] = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Never ask the network.")] = False,
) -> None:
    """Writes mean and covariance of real images' features, and what made them, for --ref stats:FILE.

    Example:
    diffeval ref make folder:photos --out photos.npz --extractor inception
    """
    with reporting(common) as reporter:
        from diffeval.data.source import OpenOptions
        from diffeval.measured import Extracting
        from diffeval.refs import make_statistics

        made = make_statistics(
            data,
            out,
            extracting=Extracting(extractor, weights, resize, offline=offline),
            opening=OpenOptions(reading.download, reading.on_bad, offline, reporter),  # type: ignore[arg-type]
            device=device,
            keep_features=features,
            reporter=reporter,
        )
        _show((made,), common)
        if not common.json:
            print(f"\nnext  diffeval fid CKPT --ref stats:{out}")


@app.command()
@with_options
def show(file: File, common: Common) -> None:
    """Shows what a file says of its reference: format, dimensions, who made it and with what."""
    with reporting(common):
        from diffeval.features.statistics_files import read_statistics

        _show(read_statistics(file), common)


@app.command()
@with_options
def convert(
    file: File,
    to: Annotated[str, typer.Option(help="diffeval, pytorch-fid (clean-fid and EDM read it, too) or edm2.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    common: Common,
    entry: Annotated[str | None, typer.Option(help="Which one, where the file holds several.")] = None,
) -> None:
    """Writes reference statistics in another tool's format.

    Example:
    diffeval ref convert img512.pkl --entry fid --to pytorch-fid --out img512-fid.npz
    """
    with reporting(common):
        from diffeval.features.statistics_files import read_statistics
        from diffeval.refs import convert as write

        write(read_statistics(file), out, to, entry)
        _show(read_statistics(out), common)


def _show(entries: "tuple[Statistics, ...]", common: Common) -> None:
    from diffeval.refs import facts

    if common.json:
        document("diffeval.reference/1", file=str(entries[0].path), entries=[dict(facts(one)) for one in entries])
        return
    print(entries[0].path)
    for one in entries:
        print(_rows(facts(one)))


def _rows(rows: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n" + "\n".join(f"{name.ljust(width)}  {value}" for name, value in rows)


def add(root: typer.Typer) -> None:
    """Adds the commands."""
    root.add_typer(app, name="ref")
