"""The typer application, filled from the folder of commands."""

import importlib
import pkgutil
from typing import Annotated

import typer

import diffeval.cli.commands as commands

CONTEXT = {"auto_envvar_prefix": "DIFFEVAL", "help_option_names": ["-h", "--help"]}


def _version(shown: bool) -> None:
    if shown:
        from diffeval.runs.provenance import own_version

        typer.echo(f"diffeval {own_version()}")
        raise typer.Exit


def make_app() -> typer.Typer:
    """Every module of ``diffeval.cli.commands`` adds itself with its ``add(app)``."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_show_locals=False,
        context_settings=CONTEXT,
        add_completion=False,
    )

    @app.callback()
    def root(
        version: Annotated[
            bool,
            typer.Option(
                "--version", callback=_version, is_eager=True, show_envvar=False, help="Show the version and leave."
            ),
        ] = False,
    ) -> None:
        """Evaluates and diagnoses diffusion models. Start with: diffeval demo.

        Every option can also be given as an environment variable, e.g. DIFFEVAL_FID_N=10000, or in a TOML file
        (--config); a flag goes before the environment, and that before the file.
        """

    for module in sorted(pkgutil.iter_modules(commands.__path__), key=lambda found: found.name):
        importlib.import_module(f"{commands.__name__}.{module.name}").add(app)
    return app
