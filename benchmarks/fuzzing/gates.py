"""Damaged gate files, baseline files and calibrations, and the judge that reads them."""

import json
import tempfile
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis.strategies as st

from diffeval.gate.baseline import SEAL, write_baseline
from diffeval.gate.calibration import Calibration, Noise, write_calibration
from diffeval.gate.evidence import Promotion, read_runs
from diffeval.gate.judge import gate
from diffeval.gate.lint import lint
from diffeval.gate.reading import read_gate
from diffeval.runs.seal import digest
from fuzzing.damage import PLACES, Place, broken, documents, json_bytes, json_files, put
from fuzzing.outcome import Kind
from fuzzing.runs import PROTOCOL, SHA
from fuzzing.runs import healthy as run_files

GATE: Mapping[str, Any] = {
    "schema": "diffeval.gate-file/1",
    "name": "release",
    "calibration": "noise.json",
    "baseline": {"source": "main.json", "max_age_days": 100000.0},
    "protocol": {"n_min": 100, "may_differ": ["w"], "sampler": "ddim", "steps": 10},
    "rule": [
        {"id": "a", "score": "fid", "max": 5.0, "level": "error", "why": "as agreed"},
        {"score": "recall", "window": [0.1, 0.9]},
        {"score": "fid_debiased", "max_regression": {"abs": 1.0}},
        {"score": "fid", "max_regression": {"sigmas": 5.0}, "level": "warn"},
        {"score": "class_accuracy", "reduce": "min", "min": 0.1},
        {"check": "noise-schedule", "fail_on": "warn", "allow_not_applicable": False},
    ],
}


@cache
def files() -> Mapping[str, bytes]:
    """A promoted baseline and a calibration, written by the gate's own code."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for name, content in run_files().items():
            put(root / "run" / name, content)
        evidence = read_runs([root / "run"])
        write_baseline(evidence, Promotion("2026-11-20T10:00:00+00:00", "release", "pass", None), root / "main.json")
        noises = {name: Noise(name, 1.0, 0.05, 0.1, 1000, 3) for name in ("fid", "fid_debiased")}
        write_calibration(Calibration("digits", SHA, PROTOCOL, "seeds", noises), root / "noise.json")
        return {name: (root / name).read_bytes() for name in ("main.json", "noise.json")}


def toml(document: Mapping[str, Any]) -> str:
    """TOML of what a damaged document holds; what TOML has no word for is left as JSON's, which is wrong there."""
    lines = []
    for name, value in document.items():
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            lines += [
                line
                for one in value
                for line in (f"[[{_key(name)}]]", *(f"{_key(key)} = {_value(held)}" for key, held in one.items()))
            ]
        elif isinstance(value, dict):
            lines += [f"[{_key(name)}]", *(f"{_key(key)} = {_value(held)}" for key, held in value.items())]
        else:
            lines.insert(0, f"{_key(name)} = {_value(value)}")
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() and name.isascii() else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(name)} = {_value(held)}" for name, held in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, float):
        return repr(value)  # nan and inf are TOML, too
    return json.dumps(value)


@st.composite
def gate_files(draw: st.DrawFn) -> bytes:
    """A gate file that is damaged in what it says, mostly, or as a text."""
    text = toml(draw(documents(GATE)) if draw(st.integers(0, 4)) else GATE)
    content = text.encode(errors="surrogatepass")
    how = draw(st.integers(0, 11))
    if how == 0:
        return draw(broken(content))
    if how == 1:
        return content + draw(
            st.sampled_from(
                (
                    b"name = 'again'\n",
                    b"x = " + b"[" * 10_000,
                    b"[rule]\n",
                    b"[[[rule]]]\n",
                    b"x = 0x" + b"f" * 400,
                    b"\x00",
                )
            )
        )
    if how == 2:
        return draw(
            st.sampled_from(
                (
                    b"",
                    b"\xff\xfe",
                    b"rule = 1",
                    b"rule = [1]",
                    b"[[rule]]",
                    b"rule = []",
                    b"{}",
                    text.encode("utf-16"),
                    b"\xef\xbb\xbf" + content,
                )
            )
        )
    return content


@st.composite
def sealed(draw: st.DrawFn, name: str) -> bytes:
    """A baseline or calibration that is damaged: as a text, or in what it says with a seal that fits."""
    document = json.loads(files()[name])
    if draw(st.integers(0, 3)) == 0:
        return draw(json_files(document))
    held = {key: value for key, value in document.items() if key != SEAL}
    if name == "main.json" and draw(st.booleans()):
        held = deepcopy(held)
        held["runs"][0]["results"] = draw(documents(held["runs"][0]["results"]))
    else:
        held = draw(documents(held))
    try:
        return json_bytes({**held, SEAL: digest(held)})
    except ValueError:  # NaN has no seal
        return json_bytes({**held, SEAL: document[SEAL]})


def judged(folder: Path, given: Mapping[str, bytes], instead: Mapping[str, Place] | None = None) -> None:
    """Judges a run by these files, and looks at the gate file as ``gate lint`` does."""
    every = {"gate.toml": toml(GATE).encode(), **files(), **given}
    for name, content in every.items():
        put(folder / name, content, (instead or {}).get(name, "file"))
    for name, content in run_files(1).items():
        put(folder / "run" / name, content)
    verdict = gate([folder / "run"], config=folder / "gate.toml")
    assert verdict.status
    lint(read_gate(folder / "gate.toml"), read_runs([folder / "run"]))


def read_gate_file(folder: Path, content: bytes) -> None:
    """By a damaged gate file."""
    judged(folder, {"gate.toml": content})


def read_baseline(folder: Path, content: bytes) -> None:
    """Against a damaged baseline."""
    judged(folder, {"main.json": content})


def read_noise(folder: Path, content: bytes) -> None:
    """By damaged noise."""
    judged(folder, {"noise.json": content})


def read_places(folder: Path, instead: Mapping[str, Place]) -> None:
    """With something else in the place of files."""
    judged(folder, {}, instead)


_PLACES = st.dictionaries(
    st.sampled_from(("gate.toml", "main.json", "noise.json")), st.sampled_from(PLACES), min_size=1, max_size=2
)

KINDS = (
    Kind("gate file (TOML)", gate_files(), read_gate_file),
    Kind("gate: baseline file", sealed("main.json"), read_baseline),
    Kind("gate: calibration", sealed("noise.json"), read_noise),
    Kind("gate: links, folders, pipes, devices for files", _PLACES, read_places),
)
