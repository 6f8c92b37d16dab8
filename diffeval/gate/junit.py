"""The verdict as JUnit XML: the suite is the gate, a case is a rule."""

import html
import re

from diffeval.gate.terminal import decision, flat, status_word
from diffeval.gate.verdict import RuleOutcome, Verdict

# What XML 1.0 cannot hold, even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_text(verdict: Verdict) -> str:
    """The verdict as JUnit XML.

    A rule that fails is a ``failure``; one without a pass for want of evidence or images is an ``error``: readers that
    know no third state must not take it for a pass. A warning that stands is a passed case with its text in
    ``system-out``. One more case holds the verdict of the gate itself.
    """
    cases = [_case(verdict, one) for one in verdict.outcomes]
    cases.append(_element(verdict, "verdict", verdict.status, decision(verdict), "gate"))
    failures = sum("<failure" in case for case in cases)
    errors = sum("<error" in case for case in cases)
    name = _attribute(f"diffeval {verdict.title}")
    counts = f'tests="{len(cases)}" failures="{failures}" errors="{errors}"'
    properties = {
        "status": verdict.status,
        "exit_code": str(verdict.exit_code),
        "config_sha256": verdict.config_sha256,
    }
    for title, subject in (("run", verdict.run), ("baseline", verdict.baseline)):
        if subject is not None:
            properties |= {title: subject.origin, f"{title}_checkpoint_sha256": subject.sha256}
    listed = "".join(
        f"<property name={_attribute(key)} value={_attribute(value)}/>" for key, value in properties.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<testsuites name={name} {counts}>\n"
        f'<testsuite name={name} {counts} skipped="0">\n<properties>{listed}</properties>\n'
        + "\n".join(cases)
        + "\n</testsuite>\n</testsuites>\n"
    )


def _case(verdict: Verdict, one: RuleOutcome) -> str:
    text = flat(f"{status_word(one)}: {one.sentence}") + (f"\nwhy: {one.why}" if one.why else "")
    return _element(verdict, one.name, one.status, text, one.kind, warning=one.level == "warn")


def _element(verdict: Verdict, name: str, status: str, text: str, kind: str, *, warning: bool = False) -> str:
    begun = f"<testcase classname={_attribute(f'diffeval.gate.{verdict.gate}')} name={_attribute(name)}"
    if status == "pass" or warning:
        return f"{begun}><system-out>{_text(text)}</system-out></testcase>"
    tag = "failure" if status == "fail" else "error"
    said = f"type={_attribute(f'{kind}.{status}')} message={_attribute(text.splitlines()[0])}"
    return f"{begun}><{tag} {said}>{_text(text)}</{tag}></testcase>"


def _text(text: str) -> str:
    # HTML's escapes are among XML's; the library's own module for these loads the whole of urllib and ssl.
    return html.escape(_FORBIDDEN.sub("�", text))


def _attribute(text: str) -> str:
    return f'"{_text(text)}"'.replace("\n", "&#10;").replace("\r", "&#13;").replace("\t", "&#9;")
