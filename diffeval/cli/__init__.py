"""The command line: one file per command under ``commands/``. Parse, call, print, exit code; no torch at import."""


def main() -> None:
    """Entry point of the ``diffeval`` program."""
    from diffeval.cli.app import make_app

    make_app()(prog_name="diffeval")
