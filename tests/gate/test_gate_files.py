"""Gate files: what they say, and one line for every mistake that says where it is."""

import json
import re
import tomllib
from pathlib import Path

import pytest

import diffeval
from diffeval.errors import DiffevalError
from diffeval.gate.config import GateFile, json_schema
from diffeval.gate.reading import find_gate, parse_gate, read_gate

RULE = '[[rule]]\nscore = "fid"\nmax = 12\n'


def _parse(text: str) -> GateFile:
    return parse_gate(tomllib.loads(text), "gate.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"has no \[\[rule\]\]; without one anything would pass"),
        (RULE + "foo = 1", r"rule 1 \(fid\): unknown key 'foo'; known: allow_not_applicable, check"),
        (RULE + "mx = 1", "unknown key 'mx'; did you mean 'max'"),
        (RULE + "[protocl]", "unknown key 'protocl'; did you mean 'protocol'"),
        (RULE + "[protocol]\nnmin = 3", "protocol: unknown key 'nmin'; did you mean 'n_min'"),
        (
            RULE + '[[rule]]\nscore = "kid"\nmax_regression = { abz = 1 }',
            r"rule 2 \(kid\).max_regression: .* mean 'abs'",
        ),
        (RULE + '[[rule]]\nscore = "kid"\nmax_regression = { abs = 1, rel = 1 }', "one of abs, rel and sigmas"),
        (RULE + '[[rule]]\nscore = "kid"\nmax_regression = {}', "one of abs, rel and sigmas, got none"),
        (RULE + '[[rule]]\nscore = "kid"\nmax_regression = 3', "max_regression: needs a table, got 3"),
        (RULE + "min = 13", "cannot be at least 13 and at most 12: min is above max"),
        ('[[rule]]\nscore = "clip_score"\nwindow = [32.7, 31.8]', "at least 32.7 and at most 31.8: min is above max"),
        ('[[rule]]\nscore = "fid"\nwindow = [3, 3]', "cannot be exactly 3"),
        ('[[rule]]\nscore = "fid"', "has no limit"),
        ('[[rule]]\nscore = "fid"\nmax = nan', "finite number, got nan"),
        ('[[rule]]\nscore = "fid"\nmax = "3"', "valid number, got '3'"),
        ('[[rule]]\nscore = "fid"\nmax = true', "valid number, got True"),
        ('[[rule]]\nscore = "fid"\ncheck = "ema"\nmax = 1', "give score = or check ="),
        ('[[rule]]\ncheck = "ema"\nmax = 1', "a check has no max"),
        (RULE + "max_regression = { abs = 1 }", "write a rule for each"),
        (RULE + "allow_not_applicable = true", "a score that is missing is never allowed"),
        (RULE + 'level = "erro"', "'error', 'warn' or 'off', got 'erro'"),
        (RULE + 'reduce = "min"', "goes with min"),
        ('[[rule]]\nscore = "fid"\nmax = 1\nlevel = "warn"', "a gate that cannot fail is none"),
        ('[[rule]]\nscore = "kid"\nmax_regression = { sigmas = 3 }', "needs calibration = FILE"),
        (RULE + '[protocol]\nw = 1.0\nmay_differ = ["w"]', "w is both required and in may_differ"),
        (RULE + '[protocol]\nmay_differ = ["smpler"]', "unknown setting 'smpler'; did you mean 'sampler'"),
        (RULE + '[protocol]\nmay_differ = ["extractor"]', "extractor may not differ"),
        (RULE + 'id = "a"\n' + RULE + 'id = "a"', "two rules have the id 'a'"),
        ('schema = "diffeval.gate-file/2"\n' + RULE, "schema 'diffeval.gate-file/2', .* update diffeval"),
        ("rule = 3", "rule: needs a list, got 3"),
    ],
)
def test_every_mistake_is_one_line_that_says_where(text: str, said: str) -> None:
    with pytest.raises(DiffevalError, match=said) as caught:
        _parse(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("gate: gate.toml")


def test_several_mistakes_are_counted() -> None:
    with pytest.raises(DiffevalError, match=r"unknown key 'mx'.*\(and 1 more\)"):
        _parse(RULE + "mx = 1\nmy = 2")


def test_files_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(DiffevalError, match=r"there is no .*nowhere\.toml; write one with diffeval gate init"):
        read_gate(tmp_path / "nowhere.toml")
    (tmp_path / "bad.toml").write_text("[[rule]\n")
    with pytest.raises(DiffevalError, match=r"bad\.toml is no TOML: .*line 1"):
        read_gate(tmp_path / "bad.toml")
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000)
    with pytest.raises(DiffevalError, match=r"deep\.toml is no TOML"):
        read_gate(tmp_path / "deep.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DiffevalError, match="no text in UTF-8"):
        read_gate(tmp_path / "binary.toml")


def test_a_gate_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "gate.toml").write_bytes(b"\xef\xbb\xbf" + RULE.encode())
    assert len(read_gate(tmp_path / "gate.toml").rules) == 1


def test_rules_are_named_and_those_that_are_off_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "gate.toml").write_text(
        RULE + RULE + '[[rule]]\nscore = "kid"\nmax_regression = { abs = 1 }\nreduce = "max"\n'
        '[[rule]]\ncheck = "ema"\n[[rule]]\nscore = "fid"\nwindow = [1, 2]\nlevel = "off"\n'
        '[[rule]]\nid = "mine"\nscore = "fid"\nmin = 1\n'
    )
    names = [name for name, _ in read_gate(tmp_path / "gate.toml").rules]
    assert names == ["fid.max", "fid.max.2", "kid.regression.classes", "ema", "mine"]


def test_a_pyproject_may_hold_the_gate(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[tool.other]\nx = 1\n[tool.diffeval.gate]\nname = "mine"\n[[tool.diffeval.gate.rule]]\ncheck = "ema"\n'
    )
    assert find_gate(None, tmp_path).file.name == "mine"
    project.write_text("[tool.other]\nx = 1\n")
    with pytest.raises(DiffevalError, match=r"there is no gate\.toml here; give --config FILE"):
        find_gate(None, tmp_path)
    with pytest.raises(DiffevalError, match=r"no table \[tool\.diffeval\.gate\]"):
        read_gate(project)
    (tmp_path / "gate.toml").write_text('name = "other"\n' + RULE)
    assert find_gate(None, tmp_path).file.name == "other"


def test_the_example_of_the_documentation_is_a_gate_file() -> None:
    page = (Path(diffeval.__file__).parents[1] / "docs" / "gate.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    assert len(_parse(example).rule) == 4


def test_the_schema_is_json_and_knows_every_key() -> None:
    schema = json.loads(json.dumps(json_schema()))
    assert set(schema["properties"]) == {"schema", "name", "calibration", "baseline", "protocol", "rule"}
    assert schema["additionalProperties"] is False
    assert "max_regression" in schema["$defs"]["Rule"]["properties"]
