"""``diffeval doctor``."""

from dataclasses import asdict

import typer

from diffeval.cli.options import Common, with_options
from diffeval.cli.running import document, reporting
from diffeval.errors import ExitCode


@with_options
def doctor(common: Common) -> None:
    """What works on this machine, and how to mend what does not. Needs neither torch nor a network.

    Exit code 3 if something that diffeval needs is broken.
    """
    with reporting(common):
        from diffeval.doctor import examine

        findings = examine()
        if common.json:
            document("diffeval.doctor/1", findings=[asdict(one) for one in findings])
        else:
            for one in findings:
                print(f"{one.status:<4}  {one.name:<11}  {one.found}")
                if one.fix:
                    print(f"{'':<19}fix: {one.fix}")
    if any(one.status == "fail" for one in findings):
        raise typer.Exit(int(ExitCode.FAILED))


def add(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(doctor)
