"""Messages are one line, whatever they quote."""

import pytest

from diffeval.errors import LONGEST, DiffevalError, NoEvidenceError, in_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("data: a.png is empty", "data: a.png is empty"),
        ("data: a\nb.png", "data: a\\nb.png"),
        ("data: \x1b[2J\x00", "data: \\x1b[2J\\x00"),
        ("data: \u202egnp.exe", "data: \\u202egnp.exe"),
        ("data: \udcff.png", "data: \\udcff.png"),
        ("data: \u2028", "data: \\u2028"),
        ("data: déjà ± vu", "data: déjà ± vu"),
    ],
)
def test_what_would_break_a_line_is_escaped(text: str, shown: str) -> None:
    assert str(DiffevalError(text)) == shown
    assert str(NoEvidenceError(text)) == shown


def test_what_is_quoted_at_length_is_cut_and_the_advice_at_the_end_stays() -> None:
    shown = in_line(f"data: {'x' * 100_000}; resize it")
    assert len(shown) <= LONGEST
    assert shown.endswith("; resize it")
