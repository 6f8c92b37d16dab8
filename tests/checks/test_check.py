"""A check in one file is found by all, and what it finds is recorded whole."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import diffeval.checks
from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import CHECKS, Check, Finding, Subject, look, ordered
from diffeval.cli.app import make_app
from diffeval.data.source import ImageSource
from diffeval.errors import DiffevalError
from diffeval.examine import check, listing
from diffeval.plan import Settings, plan_sampling
from diffeval.runs.directory import RunDirectory
from diffeval.runs.document import results_document
from diffeval.runs.records import CheckResult

FAST = Settings(n=4, steps=2, device="cpu")

ONE_FILE = '''
"""Says how many seeds there are."""

from diffeval.checks.check import Finding, check


@check("seed-count", about="how many seeds there are, for a test")
def seed_count(subject, *, least: int = 3, word: str = "seeds") -> Finding:
    return Finding(
        "warn",
        f"{subject.n} {word}, at least {least}",
        {"seeds": float(subject.n)},
        "nothing",
        ("the sampler", "the data"),
        ({"n": 1, "value": 0.5}, {"n": 2, "value": None}),
    )
'''


@pytest.fixture
def _one_file_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder of checks, with one file more in it."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "seed_count.py").write_text(ONE_FILE)
    CHECKS.names()
    monkeypatch.setattr(CHECKS, "_entries", dict(CHECKS._entries))
    monkeypatch.setattr(CHECKS, "_loaded", False)
    monkeypatch.setattr(diffeval.checks, "__path__", [*diffeval.checks.__path__, str(folder)])
    yield
    sys.modules.pop("diffeval.checks.seed_count", None)
    vars(diffeval.checks).pop("seed_count", None)


@pytest.mark.usefixtures("_one_file_more")
def test_a_check_in_one_file_is_found_by_all(tiny_checkpoint: Path, tmp_path: Path) -> None:
    assert ("seed-count", "checkpoint", "how many seeds there are, for a test") in listing()
    listed = CliRunner().invoke(make_app(), ["check", "--list"])
    assert listed.exit_code == 0, listed.output
    line = next(line for line in listed.stdout.splitlines() if line.startswith("seed-count"))
    assert line.split(maxsplit=2) == ["seed-count", "checkpoint", "how many seeds there are, for a test"]
    results = check(tiny_checkpoint, only=["seed-count"], settings=FAST, out=tmp_path / "run")
    (found,) = results_document(results)["checks"]
    assert found == {
        "name": "seed-count",
        "status": "warn",
        "summary": "4 seeds, at least 3",
        "values": {"seeds": 4.0},
        "params": {"least": 3, "word": "seeds"},
        "fix": "nothing",
        "ruled_out": ["the sampler", "the data"],
    }
    assert results.tables["seed-count"] == ({"n": 1, "value": 0.5}, {"n": 2, "value": None})


def test_and_is_gone_afterwards() -> None:
    assert "seed-count" not in CHECKS


@pytest.mark.usefixtures("_one_file_more")
def test_what_was_found_comes_back_from_disk_as_it_was(tiny_checkpoint: Path, tmp_path: Path) -> None:
    made = check(tiny_checkpoint, only=["seed-count"], settings=FAST, out=tmp_path / "run")
    read = RunDirectory(tmp_path / "run").results()
    assert read is not None
    assert read.checks == made.checks
    assert read.checks[0].ruled_out == ("the sampler", "the data")
    assert read.tables == made.tables


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Subject]:
    """A check that reads images, and the subjects that it was called with."""
    called: list[Subject] = []

    def run(subject: Subject) -> Finding:
        called.append(subject)
        return Finding("pass", "looked")

    monkeypatch.setattr(CHECKS, "_entries", {**_entries(), "eyes": Check("eyes", run, "looks", ("images",), {})})
    return called


def _entries() -> dict[str, Check]:
    CHECKS.names()
    return dict(CHECKS._entries)


def _subject(checkpoint: Checkpoint, source: ImageSource | None) -> Subject:
    plan = plan_sampling(checkpoint, FAST)
    return Subject(checkpoint, plan.generator, FAST.n, source)  # type: ignore[arg-type]


def test_whatasked_is_not_called_without(asked: list[Subject], digits: Checkpoint, digit_images: ImageSource) -> None:
    result, _ = look("eyes", _subject(digits, None))
    assert result.status == "not-applicable"
    assert "needs real images" in result.summary
    assert "--ref" in result.summary
    assert not asked
    result, _ = look("eyes", _subject(digits, digit_images))
    assert (result.status, len(asked)) == ("pass", 1)
    assert ("eyes", "checkpoint, images", "looks") in listing()


def test_images_are_read_once_and_only_where_they_are_asked_for(
    digits: Checkpoint, digit_images: ImageSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    original = type(digit_images.pixels).read
    monkeypatch.setattr(
        type(digit_images.pixels), "read", lambda self, rows: reads.append(len(rows)) or original(self, rows)
    )
    subject = _subject(digits, digit_images)
    assert not reads
    assert subject.images is subject.images
    assert reads == [len(digit_images)]


def test_unknown_names_get_a_suggestion(digits: Checkpoint) -> None:
    with pytest.raises(DiffevalError, match=r"unknown check 'trajectry'; did you mean 'trajectory'\?"):
        check(digits, only=["trajectry"])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_number_that_is_none_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"check x: b is not finite; leave it out and say so"):
        CheckResult("x", "pass", "fine", {"a": 1.0, "b": bad})


def test_keyword_only_parameters_are_the_configuration() -> None:
    params = CHECKS["step-convergence"].params
    assert params == {"seeds": 16, "least_order": 0.3, "most_apart": 3.0, "floor": 1e-3}
    json.dumps({name: dict(CHECKS[name].params) for name in CHECKS})


def test_causes_come_before_what_they_show_in() -> None:
    names = ordered()
    assert names[:3] == ("data-range", "ema", "untrained")
    assert set(names) == set(CHECKS)
    for name in names:
        assert all(names.index(cause) < names.index(name) for cause in CHECKS[name].symptom_of)


def test_a_symptom_accuses_nobody_where_its_cause_has_failed(
    digits: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(subject: Subject) -> Finding:
        return Finding("fail", "it is bad", {"number": 1.0}, "mend it")

    made = {
        "cause": Check("cause", fails, "the cause", (), {}),
        "shadow": Check("shadow", fails, "what it shows in", (), {}, ("cause",)),
    }
    monkeypatch.setattr(CHECKS, "_entries", {**_entries(), **made})
    generator = plan_sampling(digits, FAST).generator
    assert ordered().index("cause") < ordered().index("shadow")

    alone = Subject(digits, generator, 4)  # type: ignore[arg-type]
    assert look("shadow", alone)[0].status == "fail"
    assert look("cause", alone)[0].status == "fail"
    behind, _ = look("shadow", alone)
    assert (behind.status, behind.fix, behind.values) == ("inconclusive", "", {"number": 1.0})
    assert behind.summary == "it is bad; cause fails, and does this to it"

    known = Subject(digits, generator, 4, known={"cause": "fail"})  # type: ignore[arg-type]
    assert look("shadow", known)[0].status == "inconclusive"
    assert look("shadow", Subject(digits, generator, 4, known={"cause": "pass"}))[0].status == "fail"  # type: ignore
