"""``diffeval gate``: judges runs, and the commands that make, tune and try a gate file."""

import difflib
import json as json_text
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from diffeval.cli.gating import (
    OUTPUTS,
    Against,
    Config,
    Json,
    Outputs,
    Quiet,
    Runs,
    RunsIfAny,
    Verbose,
    judged,
    option,
    speaking,
    write_verdict,
)
from diffeval.cli.running import document
from diffeval.cli.tables import columns
from diffeval.errors import DiffevalError, ExitCode

if TYPE_CHECKING:
    from diffeval.gate.selftest import Trial


# What judges runs, a command that nobody names: no run directory is called so.
JUDGE = ":judge"


class RunFirst(TyperGroup):
    """A group that judges what it is given where no command is named: ``diffeval gate RUN``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Names the command that judges where no other is named, and no help is asked for."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            others = [name for name in self.commands if name != JUDGE]
            meant = difflib.get_close_matches(args[0], others, n=1)
            if meant and not Path(args[0]).exists():
                ctx.fail(f"there is neither a run nor a command {args[0]!r}; did you mean {meant[0]!r}?")
            args = [JUDGE, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=RunFirst,
    no_args_is_help=True,
    help="The release gate. diffeval gate RUN... --config gate.toml --baseline RUN judges runs; a run directory that "
    "is called like a command below is written ./NAME.",
)


@app.command(JUDGE, hidden=True)
def run(
    runs: RunsIfAny = None,
    config: Config = None,
    baseline: Against = None,
    junit: Annotated[Path | None, option(help="Also as JUnit XML.", rich_help_panel=OUTPUTS)] = None,
    markdown: Annotated[Path | None, option(help="Also as Markdown, for a comment.", rich_help_panel=OUTPUTS)] = None,
    github: Annotated[
        bool | None,
        option(
            "--github/--no-github",
            help="Step summary, outputs and annotations; by default in a GitHub workflow.",
            rich_help_panel=OUTPUTS,
        ),
    ] = None,
    exit_zero: Annotated[
        bool, option("--exit-zero", help="Only report: exit code 0 whatever the verdict; bad files are still 2.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Judges runs of one checkpoint: exit code 0 passed, 3 failed, 4 inconclusive, 5 no evidence, 2 a bad file.

    Examples:
    diffeval gate runs/new --config gate.toml --baseline runs/old
    diffeval gate runs/new-eval runs/new-check --config gate.toml --junit gate.xml --markdown gate.md
    """
    with speaking(json, verbose):
        from diffeval.gate.github import on_github

        verdict = judged(runs or [], config, baseline, verbose)
        told = on_github() if github is None else github
        write_verdict(verdict, Outputs(json, quiet, verbose, junit, markdown, told))
        if exit_zero and verdict.status != "error":
            if not verdict.passed:
                print("exit code 0, as --exit-zero asks", file=sys.stderr)
            return
        raise typer.Exit(verdict.exit_code)


@app.command()
def init(
    runs: Runs,
    out: Annotated[Path | None, option("--out", "-o", help="The file; by default it is printed.")] = None,
    force: Annotated[bool, option("--force", help="Replace a file that is there.")] = False,
    verbose: Verbose = False,
) -> None:
    """Writes a commented gate file to start from, with rules for what the runs hold.

    Example:
    diffeval gate init runs/new -o gate.toml
    """
    with speaking(False, verbose):
        from diffeval.gate.evidence import read_runs
        from diffeval.gate.starter import starter_text
        from diffeval.runs.files import replace_text

        text = starter_text(read_runs(runs))
        if out is None:
            print(text, end="")
            return
        if out.exists() and not force:
            raise DiffevalError(f"gate: {out} is there already; give another -o, or --force to replace it")
        replace_text(out, text)
        words = ["diffeval", "gate", *map(str, runs), "--config", str(out), "--baseline", str(runs[0])]
        print(f"{out}\nnext  {shlex.join(words)}")


@app.command()
def calibrate(
    runs: Runs,
    out: Annotated[Path | None, option("--out", "-o", help="The file that margins in sigmas are read from.")] = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Measures how much scores move where only the seed does, and proposes margins.

    Give runs of one checkpoint that differ in their --seed alone; of a single run the stored errors are taken.

    Example:
    diffeval gate calibrate runs/seed-0 runs/seed-1 runs/seed-2 -o gate-calibration.json
    """
    with speaking(json, verbose):
        from diffeval.cli.calibrated import calibration_rows, calibration_text
        from diffeval.gate.calibrate import calibrate as measure
        from diffeval.gate.calibration import write_calibration

        found = measure(runs)
        if out is not None:
            write_calibration(found, out)
        if json:
            document("diffeval.calibration-table/1", how=found.how, scores=calibration_rows(found))
            return
        print(calibration_text(found))
        if out is not None:
            print(f"\n{out}  (in the gate file: calibration = {json_text.dumps(str(out))})")


@app.command()
def lint(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN...]", help="Whose noise margins are held against.", show_envvar=False),
    ] = None,
    config: Config = None,
    baseline: Against = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Tells what is wrong with a gate file: limits that cannot hold, unknown names, margins inside the noise.

    Exit code 2 where a rule is worthless.

    Example:
    diffeval gate lint --config gate.toml runs/new --baseline runs/old
    """
    with speaking(json, verbose):
        from diffeval.gate.evidence import read_runs
        from diffeval.gate.judge import baseline_of
        from diffeval.gate.lint import lint as look
        from diffeval.gate.reading import find_gate
        from diffeval.runs.document import plain

        gate = find_gate(config)
        flaws = look(gate, read_runs(runs) if runs else None, baseline_of(gate, baseline or ()))
        bad = sum(one.level == "error" for one in flaws)
        if json:
            document("diffeval.gate-lint/1", config=str(gate.path), flaws=plain(flaws))
        else:
            for one in flaws:
                print(f"{one.level:<5}  {one.rule}: {one.text}")
            ground = "" if runs else "; margins were not held against the noise: give a RUN"
            print(f"{gate.path}: {len(gate.rules)} rules, {bad} errors, {len(flaws) - bad} warnings{ground}")
        if bad:
            raise typer.Exit(int(ExitCode.USAGE))


@app.command()
def selftest(runs: Runs, config: Config = None, json: Json = False, verbose: Verbose = False) -> None:
    """Tries a gate: a run against itself, and as unlucky as other seeds make it, must pass; what is planted must fail.

    Exit code 3 where the gate does not do so.

    Example:
    diffeval gate selftest runs/new --config gate.toml
    """
    with speaking(json, verbose):
        from diffeval.gate.evidence import read_runs
        from diffeval.gate.reading import find_gate
        from diffeval.gate.selftest import selftest as attempt
        from diffeval.runs.document import plain

        trials = attempt(find_gate(config), read_runs(runs))
        broken = [one for one in trials if not one.works]
        if json:
            document(
                "diffeval.gate-selftest/1",
                works=not broken,
                trials=[{**plain(one), "works": one.works} for one in trials],
            )
        else:
            print(_trials(trials))
            print(f"\n{len(trials) - len(broken)} of {len(trials)} trials end as they should")
            if broken:
                print("next  diffeval gate lint RUN says which margins are inside the noise")
        if broken:
            raise typer.Exit(int(ExitCode.FAILED))


def _trials(trials: "Sequence[Trial]") -> str:
    """Trials as a table; why, where one did not end as it should."""
    wide = max(len(one.what) for one in trials)
    rows = [("", "planted".ljust(wide), "wanted", "the gate says", "")]
    rows += [
        (
            "ok" if one.works else "WRONG",
            one.what.ljust(wide),
            one.wanted,
            one.found,
            "" if one.works else one.sentence,
        )
        for one in trials
    ]
    return columns(rows)


@app.command()
def promote(
    runs: Runs,
    out: Annotated[Path, option("--out", "-o", help="The baseline file, small enough to be committed.")],
    config: Config = None,
    baseline: Against = None,
    reason: Annotated[
        str | None, option(help="Why a run is promoted that does not pass; it is kept in the file.")
    ] = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Makes runs the baseline: one file with all that a gate needs. A run that does not pass needs --reason.

    It is held against the present baseline, which -o or the gate file names; the first one against itself.

    Example:
    diffeval gate promote runs/new-eval runs/new-check -o baselines/main.json --config gate.toml
    """
    with speaking(json, verbose):
        from diffeval.cli.calibrated import promoted_text
        from diffeval.gate.evidence import read_runs
        from diffeval.gate.judge import baseline_of
        from diffeval.gate.promote import gate_if_any
        from diffeval.gate.promote import promote as make
        from diffeval.runs.document import plain

        evidence, gate = read_runs(runs), gate_if_any(config, required=reason is None)
        held = list(baseline or ()) or ([str(out)] if out.exists() else [])
        base = baseline_of(gate, held, first=out) if gate is not None else None
        done = make(evidence, out, gate=gate, baseline=base, reason=reason)
        if json:
            document("diffeval.gate-promotion/1", file=str(out), promotion=plain(done.promotion))
        else:
            print(promoted_text(done))


@app.command()
def schema() -> None:
    """Prints the JSON schema of a gate file, for editors.

    Example:
    diffeval gate schema > gate.schema.json
    """
    from diffeval.gate.config import json_schema

    print(json_text.dumps(json_schema(), indent=2))


def add(root: typer.Typer) -> None:
    """Adds the commands."""
    root.add_typer(app, name="gate")
