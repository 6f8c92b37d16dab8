"""Damaged run folders, read by the commands that take runs: compare, gate, report."""

import io
import json
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np

from diffeval.compare.comparison import compare
from diffeval.compare.document import comparison_document
from diffeval.gate.evidence import read_runs
from diffeval.gate.starter import starter_text
from diffeval.report.page import report
from diffeval.runs.directory import RunDirectory, RunState
from diffeval.runs.records import CheckResult, Null, Param, Protocol, Provenance, Results, Score
from diffeval.runs.seal import KEY, digest
from fuzzing.arrays import Member, _members, archive
from fuzzing.damage import PLACES, Place, broken, documents, json_bytes, json_files, put
from fuzzing.outcome import Kind

Files = Mapping[str, bytes]
SHA = "ab" * 32
PROTOCOL = Protocol(
    "eval", "ddim", {"eta": 0.0, "scheduler": "DDIMScheduler"}, 10, 1.0, "balanced-blocks/1", "nearest", "fp32",
    "digits/penultimate/12e3", "none", "digits@train", "cd" * 32,
)  # fmt: skip


@cache
def healthy(seed: int = 0) -> Files:
    """The files of a run of a few scores, checks and tables, written by the runs' own code."""
    params: dict[str, Param] = {"w": 1.0, "sampler": "ddim", "steps": 10, "extractor": "digits"}
    scores = (
        Score(
            "fid",
            1.0 + seed,
            0.1,
            (0.8, 1.2 + seed),
            1000,
            Null(0.5, 0.1, 500),
            False,
            {**params, "biased": True, "plain_bias": 0.1},
        ),
        Score(
            "fid_debiased",
            0.9 + seed,
            0.1,
            (0.7, 1.1 + seed),
            1000,
            None,
            False,
            {**params, "n_star": 4000, "precision": 0.1, "n_star_precision": 0.05},
        ),
        Score("recall", 0.5, 0.02, (0.46, 0.54), 1000, None, True, params),
        Score("kid", None, None, None, 1000, None, False, {**params, "error": "too few images"}),
    )
    checks = (CheckResult("noise-schedule", "pass",
    "it is as declared: 0.01, at most 0.05", {"excess": 0.01}, {"n": 4}, "", ("length",)),
              CheckResult("untrained", "fail", "it is not trained", {"share": 1.2}, {}, "train it"))  # fmt: skip
    tables: dict[str, tuple[Mapping[str, Param], ...]] = {
        "per_class": tuple(
            {
                "class": str(one),
                "n": 100,
                "real": 90,
                "class_accuracy": 0.9,
                "kid": 0.001,
                "std_error": 0.0005,
                "p": 0.5,
            }
            for one in range(3)
        )
    }
    origin = Provenance(
        "digits",
        "/models/digits",
        SHA,
        seed,
        1000,
        256,
        "cpu",
        1,
        {"diffeval": "0.1.0"},
        None,
        "Linux",
        ("diffeval", "eval"),
        "2026-11-20T10:00:00+00:00",
        {"sampling": 1.0},
    )
    random = np.random.Generator(np.random.Philox(seed))
    with tempfile.TemporaryDirectory() as place:
        run = RunDirectory(place)
        run.save_arrays(
            "terms", {"labels": np.arange(64) % 3, "fid.terms": random.random(64), "fid.influence": random.random(64)}
        )
        run.save_arrays(
            "grid", {"images": random.integers(0, 256, (16, 1, 8, 8), dtype=np.uint8), "labels": np.arange(16) % 3}
        )
        run.save_results(Results(place, PROTOCOL, origin, scores, checks, tables, {}, None, ("a warning",)))
        run.save_state(
            RunState("eval", "done", "0.1.0", SHA, seed, 1000, 256, 256, PROTOCOL, "2026-11-20T10:00:00+00:00")
        )
        return {path.name: path.read_bytes() for path in Path(place).iterdir() if path.is_file()}


def resealed(document: dict[str, Any], terms: bytes) -> bytes:
    """A document with a seal that fits: what somebody writes who mends a number and knows how."""
    import hashlib

    held = {"terms": hashlib.sha256(terms).hexdigest()}
    rest = {name: value for name, value in document.items() if name != KEY}
    try:
        return json_bytes({**rest, KEY: {**held, "document": digest({**rest, KEY: held})}})
    except ValueError:  # NaN has no seal
        return json_bytes(document)


@st.composite
def damaged(draw: st.DrawFn) -> Files:
    """The files of a run with one of them damaged: as a text, or in what it says with a seal that fits."""
    files = dict(healthy())
    name = draw(st.sampled_from(("results.json",) * 6 + ("run.json", "run.json", "terms.npz", "grid.npz")))
    if name == "results.json" and draw(st.integers(0, 4)):
        files[name] = resealed(draw(documents(json.loads(files[name]))), files["terms.npz"])
    elif name.endswith(".json"):
        files[name] = draw(json_files(json.loads(files[name])))
    else:
        files[name] = draw(_arrays(name) | broken(files[name]))
        files["results.json"] = resealed(json.loads(files["results.json"]), files["terms.npz"])
    return files


@st.composite
def _arrays(draw: st.DrawFn, name: str) -> bytes:
    """Arrays of other names, shapes, types and numbers than the run wrote."""
    if draw(st.booleans()):
        members = (Member("images", "|u1", "(16, 1, 8, 8)", bytes(1024)), Member("labels", "<i8", "(16,)", bytes(128)))
        return draw(_members(members))
    buffer = io.BytesIO()
    sides = draw(
        st.sampled_from(((0,), (1,), (63,), (64, 2), (16, 1, 8), (16, 2, 8, 8), (0, 1, 8, 8), (16, 3, 0, 8), ()))
    )
    made = np.full(
        sides,
        draw(st.sampled_from((0.0, 1.0, np.nan, np.inf, -1e300))),
        dtype=draw(st.sampled_from((np.float64, np.float16, np.complex64))),
    )
    known = dict(np.load(io.BytesIO(healthy()[name])))
    known[draw(st.sampled_from(sorted(known)))] = draw(
        st.sampled_from((made, made.astype(str), np.zeros(sides, np.uint8)))
    )
    np.savez(buffer, **known)
    return buffer.getvalue()


@st.composite
def places(draw: st.DrawFn) -> dict[str, Place]:
    """What stands in the place of one or two of a run's files."""
    names = draw(st.lists(st.sampled_from(sorted(healthy())), min_size=1, max_size=2, unique=True))
    return {name: draw(st.sampled_from(PLACES)) for name in names}


def write(folder: Path, files: Files, instead: Mapping[str, Place] | None = None) -> tuple[Path, Path]:
    """A damaged run, and a healthy one beside it."""
    for name, content in files.items():
        put(folder / "run" / name, content, (instead or {}).get(name, "file"))
    for name, content in healthy(1).items():
        put(folder / "other" / name, content)
    return folder / "run", folder / "other"


def state_of(folder: Path, files: Files) -> None:
    """Reads the run as one that is continued does."""
    run = RunDirectory(write(folder, files)[0])
    run.state()
    run.readable_results()
    for name in ("terms", "grid"):
        run.arrays(name)


def compared(folder: Path, files: Files) -> None:
    """Compares both runs, and says so as JSON."""
    json.dumps(comparison_document(compare(*write(folder, files))), allow_nan=False)


def gated(folder: Path, files: Files) -> None:
    """Writes a gate file for the run."""
    starter_text(read_runs([write(folder, files)[0]]))


def reported(folder: Path, files: Files) -> None:
    """Draws the page."""
    report([*write(folder, files)], folder / "page.html")


def compared_places(folder: Path, instead: Mapping[str, Place]) -> None:
    """The same with something else in the place of files."""
    compare(*write(folder, healthy(), instead))


def reported_places(folder: Path, instead: Mapping[str, Place]) -> None:
    """The same with something else in the place of files."""
    report([*write(folder, healthy(), instead)], folder / "page.html")


KINDS = (
    Kind("run folder: continued", damaged(), state_of),
    Kind("run folder: compare", damaged(), compared),
    Kind("run folder: gate init", damaged(), gated),
    Kind("run folder: report", damaged(), reported, heavy=2),
    Kind("run folder: links, folders, pipes, devices for files, compare", places(), compared_places),
    Kind("run folder: links, folders, pipes, devices for files, report", places(), reported_places, heavy=2),
)
__all__ = ["KINDS", "archive", "healthy", "resealed", "write"]
