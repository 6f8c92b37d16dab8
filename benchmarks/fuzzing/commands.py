"""Values of the command line that no program should take at their word."""

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from typer.testing import CliRunner

from diffeval.cli.app import make_app
from fuzzing.checkpoints import healthy as checkpoint_files
from fuzzing.damage import put
from fuzzing.gates import GATE, files, toml
from fuzzing.outcome import Kind, Refused
from fuzzing.runs import healthy as run_files

# Values that some option takes, beside those that none does.
SOUND = ("1", "2", "4", "10", "100", "1000", "1,2", "1,10,100", "0.5", "1:3:0.5", "ddim", "euler", "ddpm", "0:5",
"0.3:5", "fp32", "bf16", "none", "features", "digits",
         "digits@test", "linear", "epsilon", "-1,1", "1,8,8", "step", "adm", "cpu", "auto", "nearest", "fid", "kid",
         "stats.npz", "page.html", "fitted", "png", "npz", "w")  # fmt: skip
NASTY = (
    "0", "-1", "1", "2", "3", "1000", "1" + "0" * 9, "1" + "0" * 12, "1" + "0" * 30, "-1" + "0" * 30, "9" * 5000,
    "0.5", "1e3", "1e308", "1e999", "nan",
    "-nan", "inf", "-inf", "", " ", ",", ",,", "1,", "1,,2", "1,nan", "1:2", "2:1:1", "1:2:0", "1:1e30:1e-30",
    "0:1:nan", "::", "1_000", "٣", "³", "½", "0x10",
    "1 2", "a", "none", "None", "true", "--help", "-", "\n", "a\nb", "\x1b[2J", "\u202e", "x/y", "/", "é" * 300,
    "<script>", "%s", "{0}", "digits", "1,2,3", "3,32,32",
    "1x8x8", "99999999,99999999,99999999", "-1,-1,-1", "1,1", "-1,1", "ddim", "steps=1,2", "steps=", "=",
    "steps=nan", "w=1e999", "none=1", "folder:", "npz:", "stats:",
    "zip:x@train", "mnist@", "@", ":", "digits@x", "folder:/nonexistent@all", "hf:", "hf:a", "images:", "cuda:99",
    "meta", "x.py:f", "os:system", "fp8",
)  # fmt: skip

# What each command is given, with the options whose values are drawn; nothing here trains, and nothing samples much.
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "fid": (("fid", "CKPT", "--dry-run"), ("--n", "--at", "--steps", "--seed", "--w", "--batch", "--precision",
    "--max-n", "--eta", "--interval", "--rescale",
            "--threshold", "--sampler", "--dtype", "--device", "--rounding", "--ref", "--extractor", "--resize",
            "--keep", "--protocol", "--null-class", "--schedule",
            "--timesteps", "--prediction", "--value-range", "--time", "--classes", "--shape", "--preconditioning",
            "--out", "--config", "--weights", "--on-bad")),
    "eval": (("eval", "CKPT", "--dry-run"), ("--n", "--at", "--metrics", "--steps", "--seed", "--batch",
    "--prompts", "--template", "--judge", "--held-out")),
    "sample": (("sample", "CKPT", "--steps", "1", "--batch", "2", "--n", "2"), ("--steps", "--seed", "--w",
    "--format", "--interval", "--rescale", "--threshold",
               "--eta", "--sampler", "--batch", "--rounding", "--out", "--dtype", "--shape", "--classes",
               "--null-class", "--value-range", "--time", "--schedule", "--timesteps")),
    "sweep-cfg": (("sweep-cfg", "CKPT", "--dry-run"), ("--scales", "--n", "--steps", "--seed", "--keep-diversity",
    "--batch")),
    "sweep": (("sweep", "CKPT", "--dry-run", "--over", "steps=1,2"), ("--over", "--n", "--steps", "--seed")),
    "check": (("check", "CKPT", "--dry-run"), ("--only", "--n", "--seed", "--steps", "--batch", "--ref", "--log",
    "--sampling-scheduler", "--shape")),
    "show": (("show", "CKPT"), ("--schedule", "--timesteps", "--shape", "--classes", "--null-class",
    "--value-range", "--prediction", "--key", "--model", "--time",
             "--preconditioning", "--revision")),
    "compare": (("compare", "RUN", "OTHER"), ("--scores", "--may-differ")),
    "train": (("train", "digits", "--steps", "1", "--batch", "2", "--out", "trained", "--warmup", "0"),
    ("--timesteps", "--lr", "--ema", "--warmup", "--clip", "--seed",
              "--schedule", "--prediction", "--dtype", "--preset", "--device", "--save-every", "--keep-every",
              "--drop-condition", "--lr-schedule")),
    "gate": (("gate", "RUN", "--config", "GATE", "--baseline", "OTHER"), ("--config", "--baseline", "--junit",
    "--markdown")),
    "gate lint": (("gate", "lint", "--config", "GATE"), ("--config", "--run", "--baseline")),
    "gate selftest": (("gate", "selftest", "RUN", "--config", "GATE"), ("--config", "--baseline", "--repeats",
    "--seed")),
    "ref make": (("ref", "make", "digits", "--out", "stats.npz"), ("--extractor", "--weights", "--resize",
    "--device", "--out")),
    "ref show": (("ref", "show"), ()),
    "report": (("report", "RUN"), ("--out", "--gate", "--baseline", "-o")),
}  # fmt: skip


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A command line with one to three values drawn, and sometimes an argument in the place of the checkpoint."""
    words, options = COMMANDS[draw(st.sampled_from(sorted(COMMANDS)))]
    found = list(words)
    for _ in range(draw(st.sampled_from((1, 1, 2, 3))) if options else 0):
        found += [draw(st.sampled_from(options)), draw(_values())]
    if not options or draw(st.integers(0, 9)) == 0:
        if "CKPT" in found:
            found[found.index("CKPT")] = draw(_values())
        else:
            found.append(draw(_values()))
    return found


def _values() -> st.SearchStrategy[str]:
    numbers = st.integers().map(str) | st.floats().map(str)
    return (
        st.sampled_from(SOUND)
        | st.sampled_from(SOUND)
        | st.sampled_from(NASTY)
        | numbers
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    )


def run(folder: Path, words: list[str]) -> None:
    """Runs a command as a shell does: exit codes, one line of error, no traceback."""
    places = {"CKPT": folder / "model", "RUN": folder / "run", "OTHER": folder / "other", "GATE": folder / "gate.toml"}
    for name, content in checkpoint_files().items():
        put(places["CKPT"] / name, content)
    for place, seed in (("RUN", 0), ("OTHER", 1)):
        for name, content in run_files(seed).items():
            put(places[place] / name, content)
    for name, content in {"gate.toml": toml(GATE).encode(), **files()}.items():
        put(folder / name, content)
    done: Any = CliRunner().invoke(make_app(), [str(places.get(word, word)) for word in words], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    said = [line for line in done.stderr.split("\n") if line.startswith("error: ")]
    if done.exit_code == 2:
        # typer's own words about a value stand in a frame; ours are one line.
        raise Refused(said[-1].removeprefix("error: ") if said else "usage: " + " ".join(done.stderr.split())[-1000:])
    assert done.exit_code in (0, 3, 4, 5), f"exit code {done.exit_code}: {done.stderr[-300:]}"


KINDS = (Kind("values of the command line", lines(), run, heavy=2),)
