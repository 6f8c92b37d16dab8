"""The verdict as Markdown, for a step summary, or a comment that the next one replaces by its hidden marker."""

import re

from diffeval.gate.terminal import status_word
from diffeval.gate.verdict import RuleOutcome, Subject, Verdict

# GitHub refuses comments of more than 65,536 characters, and loses summaries of more than 1 MiB.
COMMENT, SUMMARY = 60_000, 900_000
SIGN = {"pass": "✅", "fail": "❌", "inconclusive": "❔", "no-evidence": "🚫", "error": "🚫"}


def marker(gate: str) -> str:
    """The hidden line by which a bot finds the comment of this gate to replace it."""
    return f"<!-- diffeval:gate:{re.sub(r'[^A-Za-z0-9_.]+', '-', gate)} -->"


def markdown_text(verdict: Verdict, most: int = COMMENT) -> str:
    """The verdict as Markdown of limited size; rules that find no place are counted, the best are left out first.

    Args:
        verdict: what the gate says.
        most: bytes in UTF-8, which are never fewer than characters.
    """
    head = [
        marker(verdict.gate),
        f"### {SIGN[verdict.status]} {_inline(verdict.title)}: {verdict.status}",
        "",
        _inline(verdict.sentence),
        "",
    ]
    tail = [*_subject("run", verdict.run), *_subject("baseline", verdict.baseline)]
    tail += [f"- note: {_inline(_cut(note))}" for note in verdict.notes[:20]]
    tail += ["", f"exit code {verdict.exit_code}"]
    if not verdict.outcomes:
        return _within("\n".join([*head, *tail]) + "\n", most)
    table = ["| | rule | |", "|---|---|---|"]
    rows = [_row(one) for one in verdict.outcomes]
    left = most - _size("\n".join([*head, *table, "", *tail])) - 200
    shown: list[str] = []
    for row in rows:
        left -= _size(row) + 1
        if left < 0:
            break
        shown.append(row)
    more = len(rows) - len(shown)
    said = ["", f"{more} more rules are left out for want of space; the JSON document holds all."] if more else []
    return _within("\n".join([*head, *table, *shown, *said, "", *tail]) + "\n", most)


def _row(one: RuleOutcome) -> str:
    why = f"<br>why: {_inline(_cut(one.why))}" if one.why else ""
    name, said = _inline(_cut(one.name, 200)), _inline(_cut(one.sentence))
    return f"| {SIGN[one.status]} {status_word(one)} | {name} | {said}{why} |"


def _subject(title: str, subject: Subject | None) -> list[str]:
    if subject is None:
        return [f"- {title}: none"] if title == "baseline" else []
    lines = "; ".join(subject.settings)
    return [f"- {title}: {_inline(_cut(subject.origin))} ({_inline(_cut(lines))})"]


def _inline(text: str) -> str:
    """Text in which nothing is markup: no tags, links, mentions or emphasis."""
    text = re.sub("[\ud800-\udfff]", "�", re.sub(r"\s+", " ", text))  # halves of characters have no bytes
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|~#!])", r"\\\1", text)
    # An underscore inside a word is none; a mention would call a person.
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)
    return re.sub(r"(?<![A-Za-z0-9])@", "@\u200b", text).replace("://", ":\u200b//")


def _cut(text: str, most: int = 2000) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _size(text: str) -> int:
    return len(text.encode())


def _within(text: str, most: int) -> str:
    """The text, cut where even its head is too long."""
    return text if _size(text) <= most else text.encode()[: most - 4].decode(errors="ignore") + "…\n"
