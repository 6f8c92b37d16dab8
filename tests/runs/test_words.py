"""How numbers are written: by hand."""

import pytest

from diffeval.runs.words import number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (12.34567, "12.35"),
        (-0.00012345, "-0.0001234"),
        (7.887e-05, "0.000079"),
        (-2.917e-05, "-0.000029"),
        (5e-07, "0.0000005"),
        (1.371e-08, "1.371e-08"),
        (1234567.0, "1.235e+06"),
    ],
)
def test_small_numbers_have_zeros_and_no_exponent_until_zeros_are_too_many(value: float, text: str) -> None:
    assert number(value) == text
