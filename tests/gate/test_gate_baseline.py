"""Baseline files: a gate reads them as it reads the runs they were made of, and refuses any that was touched."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from gate_records import MakeRun, WriteGate, checks, score
from typer.testing import CliRunner, Result

from diffeval.cli.app import make_app
from diffeval.errors import DiffevalError
from diffeval.gate.baseline import read_baseline, write_baseline
from diffeval.gate.evidence import Promotion, read_runs
from diffeval.gate.judge import gate
from diffeval.gate.promote import RefusedError, promote
from diffeval.gate.reading import read_gate
from diffeval.runs.seal import digest

PROMOTION = Promotion("2026-11-20T10:00:00+00:00", "cifar", "pass", None)
RULE = '[[rule]]\nscore = "kid"\nmax_regression = { abs = 0.11 }\n[[rule]]\nscore = "kid"\nmax = 9\n'


def _paired(make_run: MakeRun) -> tuple[Path, Path]:
    terms = np.random.Generator(np.random.Philox(0)).normal(size=1000)
    labels = {"labels": np.arange(1000) % 10}
    runs = []
    for name, each in (("old", terms), ("new", terms + 0.1 + 0.01 * np.sin(np.arange(1000)))):
        held = {"kid.term": each, "fid.influence": each, **labels}
        tables = {"per_class": [], "long": [{"a": 1.0}] * 500}
        runs.append(make_run(name, [score("kid", each.mean(), 0.03)], terms=held, tables=tables))
    return runs[0], runs[1]


def _run(*words: str) -> Result:
    return CliRunner().invoke(make_app(), list(words), env={"GITHUB_ACTIONS": ""})


def test_a_promoted_run_pairs_as_the_run_itself(make_run: MakeRun, write_gate: WriteGate, tmp_path: Path) -> None:
    old, new = _paired(make_run)
    write_baseline(read_runs([old]), PROMOTION, tmp_path / "base.json")
    config = write_gate(RULE)
    ours, theirs = gate(new, config=config, baseline=old), gate(new, config=config, baseline=tmp_path / "base.json")
    assert ours.outcomes == theirs.outcomes
    assert ours.outcomes[0].how.startswith("paired")
    assert ours.status == "pass"


def test_the_file_holds_what_a_gate_needs_and_no_path_of_a_machine(make_run: MakeRun, tmp_path: Path) -> None:
    old, _ = _paired(make_run)
    write_baseline(read_runs([old]), PROMOTION, tmp_path / "base.json")
    text = (tmp_path / "base.json").read_text()
    assert str(tmp_path) not in text
    assert "/models" not in text
    (entry,) = json.loads(text)["runs"]
    assert set(entry["results"]["tables"]) == {"per_class"}
    held = read_baseline([str(tmp_path / "base.json")], Path())
    assert set(held.sides[0].arrays) == {"kid.term", "labels"}
    assert held.promotion == PROMOTION


def test_the_same_run_gives_the_same_bytes(make_run: MakeRun, tmp_path: Path) -> None:
    old, _ = _paired(make_run)
    for name in ("one.json", "other.json"):
        write_baseline(read_runs([old]), PROMOTION, tmp_path / name)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "other.json").read_bytes()


def test_files_that_were_cut_edited_or_are_newer_are_refused_in_one_line(make_run: MakeRun, tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    write_baseline(read_runs([_paired(make_run)[0]]), PROMOTION, path)
    whole = path.read_text()
    for text, said in (
        (whole[:-200], "is no whole baseline file"),
        (whole.replace('"status": "pass"', '"status": "fail"'), "its hash does not match"),
        (whole.replace("diffeval.baseline/1", "diffeval.baseline/2"), "schema 'diffeval.baseline/2', needs"),
        (whole.replace('"value": ', '"value": NaN, "was": ', 1), "its hash does not match"),
        ("[" * 100_000, "is no whole baseline file: maximum recursion depth"),
        ("[]", "schema 'list'"),
        ('{"schema": "diffeval.results/1"}', "write it with diffeval gate promote"),
    ):
        path.write_text(text)
        with pytest.raises(DiffevalError, match=said) as caught:
            read_baseline([str(path)], Path())
        assert "\n" not in str(caught.value)


def test_baselines_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(DiffevalError, match=r"there is no baseline .*nowhere"):
        read_baseline(["nowhere"], tmp_path)
    for source in ("git:main", "git::x", "git:--output=x:y"):
        with pytest.raises(DiffevalError, match="is not git:REVISION:PATH"):
            read_baseline([source], tmp_path)


def test_a_baseline_may_come_from_a_git_revision(make_run: MakeRun, write_gate: WriteGate, tmp_path: Path) -> None:
    old, new = _paired(make_run)
    repository = tmp_path / "repository"
    repository.mkdir()
    write_baseline(read_runs([old]), PROMOTION, repository / "base.json")
    me = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    for words in (["init", "-q"], ["add", "base.json"], [*me, "commit", "-qm", "baseline"]):
        subprocess.run(["git", *words], cwd=repository, check=True, capture_output=True)
    (repository / "base.json").write_text("changed since")
    (repository / "gate.toml").write_text('[baseline]\nsource = "git:HEAD:base.json"\n' + RULE)
    verdict = gate(new, config=repository / "gate.toml")
    assert verdict.status == "pass"
    assert verdict.baseline is not None
    assert verdict.baseline.origin == "git:HEAD:base.json"
    with pytest.raises(DiffevalError, match="git says"):
        read_baseline(["git:nobranch:base.json"], repository)


def test_a_run_that_does_not_pass_is_promoted_only_with_a_reason_that_is_kept(
    make_run: MakeRun, write_gate: WriteGate, tmp_path: Path
) -> None:
    run = read_runs([make_run("bad", [score("kid", 20.0, 0.1)])])
    found, path = read_gate(write_gate(RULE)), tmp_path / "base.json"
    with pytest.raises(RefusedError, match=r"is not promoted: fail, 1 of 2 rules fail: kid\.max"):
        promote(run, path, gate=found)
    assert not path.exists()
    with pytest.raises(DiffevalError, match="--reason is empty"):
        promote(run, path, gate=found, reason="  ")
    done = promote(run, path, gate=found, reason="the metric\nchanged")
    assert (done.promotion.status, done.promotion.reason) == ("fail", "the metric changed")
    held = read_baseline([str(path)], Path())
    assert held.promotion == done.promotion
    verdict = gate(make_run("next", [score("kid", 8.0, 0.1)], seed=1), config=found.path, baseline=path)
    assert any("although it did not pass (fail): the metric changed" in note for note in verdict.notes)


def test_the_first_baseline_is_judged_by_its_limits_and_the_next_by_the_present_one(
    make_run: MakeRun, write_gate: WriteGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run("first", [score("kid", 1.0, 0.01)])
    make_run("worse", [score("kid", 1.5, 0.01)], seed=1)
    make_run("better", [score("kid", 0.5, 0.01)], checks(ema="pass"), seed=2)
    write_gate('[baseline]\nsource = "base.json"\n' + RULE)
    assert _run("gate", "promote", "first", "-o", "base.json").exit_code == 0
    refused = _run("gate", "promote", "worse", "-o", "base.json")
    assert refused.exit_code == 3
    assert "is not promoted: fail, 1 of 2 rules fail: kid.regression" in refused.stderr
    assert _run("gate", "promote", "better", "-o", "base.json").exit_code == 0
    assert _run("gate", "first").exit_code == 3
    assert _run("gate", "first", "--baseline", "base.json").exit_code == 3


def test_a_refused_promotion_ends_as_its_gate(make_run: MakeRun, write_gate: WriteGate, tmp_path: Path) -> None:
    config, out = str(write_gate('[[rule]]\nscore = "kid"\nmax = 1\n')), str(tmp_path / "base.json")
    for name, found, code in (
        ("bad", score("kid", 2.0, 0.1), 3),
        ("open", score("kid", 0.99, 0.1), 4),
        ("none", score("fid", 0.5, 0.1), 5),
    ):
        done = _run("gate", "promote", str(make_run(name, [found])), "-o", out, "--config", config)
        assert done.exit_code == code, done.output
        assert "is not promoted" in done.stderr


def test_a_promotion_gives_a_runner_no_commands(make_run: MakeRun, write_gate: WriteGate, tmp_path: Path) -> None:
    run, config = make_run("::x ##[y]", [score("kid", 1.0, 0.1)]), write_gate('[[rule]]\nscore = "kid"\nmax = 9\n')
    words = ["gate", "promote", str(run), "-o", str(tmp_path / "base.json"), "--config", str(config)]
    for github in ("", "true"):
        done = CliRunner().invoke(make_app(), words, env={"GITHUB_ACTIONS": github})
        assert done.exit_code == 0
        assert ("::" in done.stdout, "##[" in done.stdout) == (not github, not github)


def test_a_baseline_that_is_too_old_can_be_replaced(make_run: MakeRun, write_gate: WriteGate, tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    old = Promotion("2020-01-01T00:00:00+00:00", "cifar", "pass", None)
    write_baseline(read_runs([make_run("old", [score("kid", 1.0, 0.01)])]), old, path)
    config = write_gate('[baseline]\nsource = "base.json"\nmax_age_days = 30\n' + RULE)
    good, bad = make_run("good", [score("kid", 1.0, 0.01)], seed=1), make_run("bad", [score("kid", 1.5, 0.01)], seed=1)
    assert gate(good, config=config).status == "no-evidence"
    # It is still what the next one is held against.
    assert _run("gate", "promote", str(bad), "-o", str(path), "--config", str(config)).exit_code == 3
    assert _run("gate", "promote", str(good), "-o", str(path), "--config", str(config)).exit_code == 0
    assert gate(good, config=config).status == "pass"


def test_of_several_baselines_every_reason_is_told_and_the_oldest_counts(
    make_run: MakeRun, write_gate: WriteGate, tmp_path: Path
) -> None:
    scored, checked = make_run("scored", [score("kid", 1.0, 0.01)]), make_run("checked", found=checks(ema="pass"))
    excused = Promotion("2026-11-20T10:00:00+00:00", "cifar", "fail", "a new metric")
    earlier = Promotion("2026-10-01T10:00:00+00:00", "cifar", "pass", None)
    write_baseline(read_runs([scored]), excused, tmp_path / "a.json")
    write_baseline(read_runs([checked]), earlier, tmp_path / "b.json")
    both = [str(tmp_path / "b.json"), str(tmp_path / "a.json")]
    held = read_baseline(both, Path())
    assert held.promotion == Promotion(earlier.at, "cifar", "fail", "a new metric")
    verdict = gate(scored, config=write_gate(RULE), baseline=both)
    assert any("2026-10-01" in note and "did not pass (fail): a new metric" in note for note in verdict.notes)
    assert read_baseline([str(scored), str(checked)], Path()).promotion is None
    # A run that was never promoted is as old as it is.
    assert (
        read_baseline([both[1], str(make_run("x", started="2026-09-01T00:00:00+00:00"))], Path()).made[:7] == "2026-09"
    )


def test_a_path_in_git_starts_at_the_root_or_beside_the_gate_file(make_run: MakeRun, tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "gates"
    folder.mkdir(parents=True)
    write_baseline(read_runs([_paired(make_run)[0]]), PROMOTION, folder / "base.json")
    me = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    for words in (["init", "-q"], ["add", "."], [*me, "commit", "-qm", "baseline"]):
        subprocess.run(["git", *words], cwd=folder.parent, check=True, capture_output=True)
    for path in ("gates/base.json", "./base.json"):
        assert read_baseline([f"git:HEAD:{path}"], folder).promotion == PROMOTION
    with pytest.raises(DiffevalError, match=r"starts at the root of the repository, git:HEAD:\./base\.json would in"):
        read_baseline(["git:HEAD:base.json"], folder)


def test_without_a_gate_file_promotion_needs_a_reason(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run("first", [score("kid", 1.0, 0.01)])
    done = _run("gate", "promote", "first", "-o", "base.json")
    assert done.exit_code == 2
    assert "there is no gate.toml here" in done.stderr
    assert _run("gate", "promote", "first", "-o", "base.json", "--reason", "the first").exit_code == 0
    assert json.loads(Path("base.json").read_text())["promotion"]["reason"] == "the first"


def test_a_baseline_without_runs_or_with_a_table_without_classes_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    rows = ({"class": "0", "n": 50, "recall": 0.5}, {"n": 50, "recall": 0.5})
    with pytest.raises(DiffevalError, match="a row without a class"):
        read_runs([make_run("one", [score("fid", 3.0, 0.1)], tables={"per_class": rows})])
    path = tmp_path / "main.json"
    evidence = read_runs([make_run("two", [score("fid", 3.0, 0.1)])])
    write_baseline(evidence, Promotion("2026-11-20T10:00:00+00:00", None, None, None), path)
    document = {key: value for key, value in json.loads(path.read_text()).items() if key != "sha256"}
    document["runs"] = []
    path.write_text(json.dumps({**document, "sha256": digest(document)}))
    with pytest.raises(DiffevalError, match="holds no run"):
        read_baseline([str(path)], tmp_path)
