"""The verdict for a terminal or a log: plain text that reads the same in both."""

import re
import textwrap

from diffeval.gate.verdict import RuleOutcome, Subject, Verdict

WIDTH = 119
# What could move the cursor, or colour a log; and halves of characters, which no encoding takes.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
WORD = {
    "pass": "PASS",
    "fail": "FAIL",
    "inconclusive": "INCONCLUSIVE",
    "no-evidence": "NO EVIDENCE",
    "error": "ERROR",
}


def terminal_text(verdict: Verdict) -> str:
    """The verdict as lines of text, the decision last, where a log is read first."""
    lines = [flat(verdict.title) + (f"  ({flat(verdict.config)})" if verdict.config else "")]
    lines += _subject("run", verdict.run) + _subject("baseline", verdict.baseline)
    lines.append("")
    # What a check says of a healthy model is long, and in the other outputs.
    healthy = [one for one in verdict.outcomes if one.kind == "check" and one.sentence.startswith("pass:")]
    for one in verdict.outcomes:
        if one not in healthy:
            lines += _rule(one)
    if healthy:
        lines.append(_wrapped(f"{WORD['pass']:<13} ", f"checks: {', '.join(one.name for one in healthy)}"))
    lines += [_wrapped("note  ", note) for note in verdict.notes]
    if verdict.outcomes or verdict.notes:
        lines.append("")
    lines.append(verdict_line(verdict))
    return "\n".join(lines)


def verdict_line(verdict: Verdict) -> str:
    """The decision in one line, with the exit code, since launchers flatten codes."""
    begun, said = _decision(verdict)
    return _wrapped(begun, said)


def decision(verdict: Verdict) -> str:
    """The same without line breaks, however long."""
    return flat("".join(_decision(verdict)))


def flat(text: str) -> str:
    """Text in one line, in which nothing controls a terminal."""
    return _CONTROL.sub("�", " ".join(text.split()))


def status_word(one: RuleOutcome) -> str:
    """How a rule ended; of a warning in small letters, since it decides nothing."""
    word = WORD[one.status]
    return word if one.level == "error" else f"warn: {word.lower()}" if one.status != "pass" else word


def _decision(verdict: Verdict) -> tuple[str, str]:
    begun = f"{flat(verdict.title)}: {WORD[verdict.status]}  "
    return begun, f"{verdict.sentence} (exit code {verdict.exit_code})"


def _subject(title: str, subject: Subject | None) -> list[str]:
    if subject is None:
        return [f"{title:<9} none"] if title == "baseline" else []
    return [
        f"{title:<9} {flat(subject.origin)}",
        *(f"{'':<9} {flat(line)}" for line in subject.settings),
    ]


def _rule(one: RuleOutcome) -> list[str]:
    lines = [_wrapped(f"{status_word(one):<13} ", f"{one.name}: {one.sentence}")]
    if one.why and one.status != "pass":
        lines.append(_wrapped(f"{'':<14}", f"why: {one.why}"))
    return lines


def _wrapped(begun: str, text: str) -> str:
    return textwrap.fill(
        flat(text),
        WIDTH,
        initial_indent=begun,
        subsequent_indent=" " * min(len(begun), 14),
        break_long_words=False,
        break_on_hyphens=False,
    )
