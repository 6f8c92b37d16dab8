"""Values of the command line: those that an option takes, those of others, and some that nobody should take."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from typer.testing import CliRunner

from diffeval.cli.app import make_app
from fuzzing.checkpoints import healthy as checkpoint_files
from fuzzing.damage import PLACES, put
from fuzzing.gates import GATE, files, toml
from fuzzing.images import picture
from fuzzing.outcome import Kind, Refused
from fuzzing.runs import healthy as run_files

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

# Options with values that they take; without any it is a flag. A word between @ is a place in the input's folder.
Options = Mapping[str, tuple[str, ...]]
SAMPLING: Options = {
    "--seed": ("0", "7", "123456789"), "--steps": ("1", "2", "4", "10"), "--w": ("0", "1", "3"),
    "--sampler": ("ddim", "ddpm", "euler", "heun", "dpm++", "pndm", "unipc"), "--eta": ("0", "0.5", "1"),
    "--interval": ("0.3:5", "0:50"), "--rescale": ("0", "0.7"), "--threshold": ("0.995", "0.9"), "--karras": (),
    "--no-karras": (), "--device": ("cpu", "auto"), "--dtype": ("fp32", "bf16"), "--batch": ("1", "4", "64"),
    "--compile": ("off", "auto"), "--offload": (),
}  # fmt: skip
CHECKPOINT: Options = {
    "--null-class": ("2", "none"), "--timesteps": ("1000", "100"), "--zero-snr": (), "--value-range": ("-1,1", "0,1"),
    "--schedule": ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"), "--classes": ("2", "0"), "--raw": (),
    "--prediction": ("epsilon", "sample", "v_prediction"), "--time": ("step", "t/T"), "--shape": ("1,8,8", "1,16,16"),
    "--preconditioning": ("none", "edm"), "--learned-variance": (), "--no-learned-variance": (), "--offline": (),
    "--vae-tiling": (), "--no-safety-checker": (), "--key": ("ema",), "--revision": ("main",), "--model": ("x.py:f",),
}  # fmt: skip
MEASURING: Options = {
    "--ref": ("digits", "digits@heldout", "folder:@PICTURES@"), "--extractor": ("digits", "fitted"),
    "--resize": ("clean",), "--protocol": ("adm", "clean-fid"), "--weights": ("@GATE@",), "--on-bad": ("skip", "stop"),
}  # fmt: skip
RUNNING: Options = {
    "--keep": ("images", "features", "none"), "--out": ("made", "made/here"), "--shard": ("1/2", "2/2"), "--fresh": (),
    "--time-limit": ("90s", "2h", "3:50:00"),
}  # fmt: skip
TELLING: Options = {"--json": (), "--quiet": (), "--verbose": (), "--config": ("@CONFIG@",)}
PROMPTED: Options = {
    "--prompts": ("@PROMPTS@",), "--held-out": ("@PROMPTS@",), "--template": ("a photo of {}",), "--negative": ("x",),
    "--judge": ("digits",), "--judge-weights": ("@GATE@",),
}  # fmt: skip
EVALUATING: Options = {**SAMPLING, **CHECKPOINT, **MEASURING, **RUNNING, **TELLING}
COUNTED: Options = {"--n": ("10", "100", "1000"), "--at": ("100", "50,100")}
TRAINING: Options = {
    "--timesteps": ("1000", "50"), "--lr": ("0.001",), "--ema": ("0.9", "0.999"), "--warmup": ("0", "1"),
    "--clip": ("1", "0.5"), "--seed": ("0", "7"), "--schedule": ("linear", "sigmoid"), "--zero-snr": (),
    "--prediction": ("epsilon", "v_prediction", "sample"), "--dtype": ("fp32", "bf16"), "--preset": ("8px",),
    "--device": ("cpu",), "--save-every": ("1", "10"), "--keep-every": ("1",), "--drop-condition": ("0", "0.1"),
    "--lr-schedule": ("cosine", "constant"), "--unconditional": (), "--time-limit": ("90s",), "--resume": (),
    "--on-bad": ("skip", "stop"),
}  # fmt: skip

# What each command is given, with the options that are drawn; nothing here trains long, samples much, or
# asks the network.
COMMANDS: dict[str, tuple[tuple[str, ...], Options]] = {
    "fid": (
        ("fid", "@CKPT@", "--offline", "--dry-run"),
        {**EVALUATING, **COUNTED, "--precision": ("0.05", "0.5"), "--max-n": ("2000", "20000")},
    ),
    "eval": (
        ("eval", "@CKPT@", "--offline", "--dry-run", "--n", "100"),
        {**EVALUATING, **COUNTED, **PROMPTED, "--metrics": ("fid", "precision,recall", "standard")},
    ),
    "coverage": (
        ("coverage", "@CKPT@", "--offline", "--dry-run", "--n", "200"),
        {**EVALUATING, **COUNTED, "--modes": ("labels", "clusters", "both"), "--clusters": ("0", "5")},
    ),
    "sample": (
        ("sample", "@CKPT@", "--offline", "--steps", "1", "--batch", "2", "--n", "2"),
        {**SAMPLING, **CHECKPOINT, **TELLING, "--out": ("made",), "--format": ("png", "npz")},
    ),
    "sweep-cfg": (
        ("sweep-cfg", "@CKPT@", "--offline", "--dry-run", "--n", "100"),
        {**EVALUATING, "--scales": ("1,2", "1:3:0.5"), "--keep-diversity": ("0.9", "0.5")},
    ),
    "sweep": (
        ("sweep", "@CKPT@", "--offline", "--dry-run", "--n", "100", "--over", "steps=1,2"),
        {**EVALUATING, "--over": ("w=1,2", "sampler=ddim,euler", "eta=0,1")},
    ),
    "check": (
        ("check", "@CKPT@", "--offline", "--dry-run"),
        {**CHECKPOINT, **TELLING, "--only": ("untrained", "noise-schedule,ema"), "--n": ("16",), "--seed": ("0",),
         "--steps": ("2",), "--batch": ("4",), "--ref": ("digits",), "--training-log": ("@LOG@",),
         "--sampling-scheduler": ("@CKPT@",), "--out": ("made",)},
    ),
    "check, done": (
        ("check", "@CKPT@", "--offline", "--n", "4", "--only", "untrained"),
        {**CHECKPOINT, "--seed": ("0",), "--ref": ("digits",), "--training-log": ("@LOG@",), "--out": ("made",)},
    ),
    "show": (("show", "@CKPT@", "--offline"), {**CHECKPOINT, **TELLING}),
    "compare": (
        ("compare", "@RUN@", "@OTHER@"),
        {**TELLING, "--scores": ("fid", "fid,recall"), "--may-differ": ("w", "steps", "w,steps")},
    ),
    "train": (
        ("train", "digits", "--steps", "1", "--batch", "2", "--out", "trained", "--warmup", "0"),
        {**TRAINING, **TELLING},
    ),
    "gate": (
        ("gate", "@RUN@", "--config", "@GATE@", "--baseline", "@OTHER@"),
        {"--config": ("@GATE@",), "--baseline": ("@OTHER@", "@MAIN@"), "--junit": ("made.xml",), "--json": (),
         "--markdown": ("made.md",), "--exit-zero": (), "--no-github": ()},
    ),
    "gate lint": (
        ("gate", "lint", "@RUN@", "--config", "@GATE@"),
        {"--config": ("@GATE@",), "--baseline": ("@OTHER@", "@MAIN@"), "--json": ()},
    ),
    "gate selftest": (("gate", "selftest", "@RUN@", "--config", "@GATE@"), {"--config": ("@GATE@",), "--json": ()}),
    "ref make": (
        ("ref", "make", "digits", "--out", "stats.npz"),
        {"--extractor": ("digits",), "--weights": ("@GATE@",), "--resize": ("clean",), "--device": ("cpu",),
         "--out": ("made.npz",), "--json": ()},
    ),
    "ref show": (("ref", "show"), {}),
    "runs show": (("runs", "show", "@RUN@"), TELLING),
    "report": (
        ("report", "@RUN@"),
        {"--out": ("made.html",), "--gate": ("@GATE@",), "--baseline": ("@OTHER@",), "-o": ("made.html",)},
    ),
}  # fmt: skip


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A command line with one to four values drawn, and sometimes an argument in the place of the checkpoint."""
    words, options = COMMANDS[draw(st.sampled_from(sorted(COMMANDS)))]
    found = list(words)
    for _ in range(draw(st.sampled_from((1, 1, 2, 3, 4))) if options else 0):
        name = draw(st.sampled_from(sorted(options)))
        found.append(name)
        if options[name]:
            found.append(draw(st.sampled_from(options[name]) if draw(st.integers(0, 3)) else _values()))
    if not options or draw(st.integers(0, 9)) == 0:
        if "@CKPT@" in found:
            found[found.index("@CKPT@")] = draw(_values())
        else:
            found.append(draw(_values()))
    return found


def _values() -> st.SearchStrategy[str]:
    """Values of any option, of none, and what is no file."""
    numbers = st.integers().map(str) | st.floats().map(str)
    others = sorted({value for _, options in COMMANDS.values() for values in options.values() for value in values})
    places = st.tuples(
        st.sampled_from(("", "npz:", "stats:", "images:", "zip:", "folder:")), st.sampled_from(PLACES)
    ).map(lambda drawn: f"{drawn[0]}@{drawn[1]}@")
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    return st.sampled_from(others) | st.sampled_from(NASTY) | numbers | text | places


def run(folder: Path, words: list[str]) -> None:
    """Runs a command as a shell does: exit codes, one line of error, no traceback."""
    places = {name: folder / name.lower() for name in ("CKPT", "RUN", "OTHER", "PICTURES")}
    for name, content in checkpoint_files().items():
        put(places["CKPT"] / name, content)
    for place, seed in (("RUN", 0), ("OTHER", 1)):
        for name, content in run_files(seed).items():
            put(places[place] / name, content)
    for number in range(3):
        put(places["PICTURES"] / f"{number}.png", picture("PNG"))
    held = {
        "GATE": ("gate.toml", toml(GATE).encode()), "CONFIG": ("config.toml", b"steps = 2\n"),
        "PROMPTS": ("prompts.txt", b"a cat\na dog\n"), "LOG": ("log.csv", b"step,loss\n1,0.5\n2,0.4\n"),
        "MAIN": ("main.json", files()["main.json"]), "NOISE": ("noise.json", files()["noise.json"]),
    }  # fmt: skip
    for key, (name, content) in held.items():
        places[key] = folder / name
        put(places[key], content)
    for place in PLACES:
        places[place] = folder / "places" / f"{place}.npz"
        put(places[place], b"", place)
    done: Any = CliRunner().invoke(make_app(), [_placed(word, places) for word in words], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    said = [line for line in done.stderr.split("\n") if line.startswith("error: ")]
    if done.exit_code == 2:
        # typer's own words about a value stand in a frame; ours are one line; what lint finds is its result.
        usage = (
            f"usage: {' '.join(done.stderr.split())[-1000:]}" if done.stderr else done.stdout.strip().split("\n")[-1]
        )
        raise Refused(said[-1].removeprefix("error: ") if said else usage)
    assert done.exit_code in (0, 3, 4, 5), f"exit code {done.exit_code}: {done.stderr[-300:]}"


def _placed(word: str, places: Mapping[str, Path]) -> str:
    """A word with the places that it names."""
    for name, path in places.items():
        word = word.replace(f"@{name}@", str(path))
    return word


KINDS = (Kind("values of the command line", lines(), run, heavy=2),)
