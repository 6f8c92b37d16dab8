"""Renderings within their limits, with nothing in a name or a reason that could be taken for markup or a command."""

import dataclasses
import re
import xml.etree.ElementTree as Xml
from pathlib import Path

import pytest

from diffeval.errors import DiffevalError
from diffeval.gate.github import annotations, harmless, write_outputs, write_summary
from diffeval.gate.junit import junit_text
from diffeval.gate.markdown import COMMENT, SUMMARY, markdown_text, marker
from diffeval.gate.terminal import terminal_text
from diffeval.gate.verdict import RuleOutcome, Subject, Verdict

HOSTILE = "</failure>|`<img onerror=x>`\n::error::%0A @team [x](http://y) \x00\x1b[31m *bold* --> ]]>"


def _outcome(index: int, status: str = "fail", level: str = "error", sentence: str = "too much") -> RuleOutcome:
    return RuleOutcome(f"rule-{index}", "fid", "max", level, status, sentence)  # type: ignore[arg-type]


def _verdict(*outcomes: RuleOutcome, gate: str = "cifar") -> Verdict:
    subject = Subject("runs/new", "digits", "ab" * 32, ("n=1000",), "2026-11-20T10:00:00+00:00")
    return Verdict("fail", gate, "1 of 1 rules fail", outcomes, subject, subject, ("a note",), "gate.toml", "cd" * 32)


def test_junit_survives_hostile_text() -> None:
    verdict = dataclasses.replace(_verdict(_outcome(0, sentence=HOSTILE)), gate=HOSTILE, sentence=HOSTILE)
    suite = Xml.fromstring(junit_text(verdict))
    text = next(suite.iter("failure")).text or ""
    assert "</failure>|`<img onerror=x>`" in text
    assert "\x00" not in text
    assert suite.get("tests") == "2"
    # Readers show the message alone, so that it holds the whole sentence.
    message = next(one.get("message") or "" for one in suite.iter("failure") if "exit code" in (one.text or ""))
    assert "::error::%0A @team" in message
    assert message.endswith("(exit code 3)")


def test_a_warning_that_stands_is_a_passed_case_that_says_so() -> None:
    suite = Xml.fromstring(junit_text(_verdict(_outcome(0, level="warn"))))
    case = next(suite.iter("testcase"))
    assert case.find("failure") is None
    assert (case.findtext("system-out") or "").startswith("warn: fail")


def test_markdown_holds_no_markup_of_others() -> None:
    text = markdown_text(dataclasses.replace(_verdict(_outcome(0, sentence=HOSTILE)), gate=HOSTILE))
    assert text.count("<!--") == text.count("-->") == 1
    assert text.splitlines()[0] == marker(HOSTILE)
    assert "<img" not in text
    assert "@team" not in text
    assert re.search(r"(?<!\\)\]\(", text) is None
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.replace("\\|", "").count("|") for row in rows] == [4, 4]


@pytest.mark.parametrize("most", [COMMENT, SUMMARY])
def test_markdown_stays_within_its_limit_and_keeps_the_worst(most: int) -> None:
    many = [_outcome(index, "fail" if index == 0 else "pass", sentence="€ " * 900) for index in range(1500)]
    text = markdown_text(_verdict(*many), most)
    assert 0.9 * most < len(text.encode()) <= most
    assert "| rule-0 |" in text
    assert "| rule-1499 |" not in text
    shown = text.count("| rule-")
    assert f"{1500 - shown} more rules are left out" in text
    assert text.rstrip().endswith("exit code 3")
    endless = dataclasses.replace(_verdict(), sentence="x" * 2_000_000)
    assert len(markdown_text(endless, most).encode()) <= most


def test_at_most_ten_annotations_the_worst_first_and_the_rest_counted() -> None:
    outcomes = [_outcome(index) for index in range(8)] + [_outcome(index, level="warn") for index in range(8, 14)]
    lines = annotations(_verdict(*outcomes))
    assert len(lines) == 10
    assert lines[0] == "::error title=gate cifar%3A rule-0::FAIL: too much"
    assert lines[8] == "::warning title=gate cifar%3A rule-8::warn: fail: too much"
    assert "5 more rules do not pass" in lines[9]


def test_an_annotation_is_one_command_whatever_it_says() -> None:
    (line,) = annotations(_verdict(_outcome(0, sentence=HOSTILE), gate="a:b,c%\nd"))
    assert "\n" not in line
    assert line.startswith("::error title=gate a%3Ab%2Cc%25 d%3A rule-0::")
    assert "%250A" in line


def test_a_log_line_is_no_command_of_a_runner() -> None:
    """The runner of GitHub looks for ``::`` behind blanks, and for ``##[`` anywhere in a line."""
    said = "\n ::stop-commands::x\n##[error]y"
    subject = Subject(said, said, "ab" * 32, (said,), "2026-11-20T10:00:00+00:00")
    rule = dataclasses.replace(_outcome(0, sentence=said), name=said, why=said)
    verdict = Verdict("fail", said, said, (rule,), subject, subject, (said,), said, "cd" * 32)
    plain, escaped = terminal_text(verdict), harmless(terminal_text(verdict))
    assert "::" in plain
    assert "\n \n" not in plain
    assert "##[" in plain
    assert "::" not in escaped
    assert "##[" not in escaped
    assert escaped.replace("\u200b", "") == plain


def test_text_that_has_no_encoding_is_written_all_the_same() -> None:
    """A file name may hold bytes that are no text; Python gives them as halves of characters."""
    verdict = dataclasses.replace(_verdict(_outcome(0, sentence="a\udcffb")), gate="c\udcff", sentence="d\udcff")
    for text in (terminal_text(verdict), markdown_text(verdict), junit_text(verdict), *annotations(verdict)):
        assert text.encode()


def test_the_summary_shares_its_limit_with_what_the_step_wrote_before(tmp_path: Path) -> None:
    summary, output = tmp_path / "summary.md", tmp_path / "output"
    summary.write_text("x" * 880_000)
    output.write_text("earlier=1\n")
    many = [_outcome(index, sentence="y" * 900) for index in range(1500)]
    write_summary(_verdict(*many), {"GITHUB_STEP_SUMMARY": str(summary)})
    write_outputs(_verdict(*many), 3, {"GITHUB_OUTPUT": str(output)})
    assert 880_000 < summary.stat().st_size <= SUMMARY
    assert output.read_text() == "earlier=1\nverdict=fail\nexit-code=3\n"
    with pytest.raises(DiffevalError, match="cannot write"):
        write_outputs(_verdict(), 3, {"GITHUB_OUTPUT": str(tmp_path)})


def test_the_terminal_says_nothing_that_controls_it() -> None:
    text = terminal_text(_verdict(_outcome(0, sentence=HOSTILE)))
    assert "\x1b" not in text
    assert "\x00" not in text
    assert text.splitlines()[-1] == "gate cifar: FAIL  1 of 1 rules fail (exit code 3)"
    assert max(map(len, text.splitlines())) <= 119


def test_a_healthy_check_is_told_by_its_name_alone() -> None:
    healthy = RuleOutcome("ema", "ema", "check", "error", "pass", "pass: a long story")
    warned = RuleOutcome("vae", "vae", "check", "error", "pass", "warn: a story that matters")
    text = terminal_text(_verdict(healthy, warned))
    assert "a long story" not in text
    assert "checks: ema" in text
    assert "a story that matters" in text
