"""What became of a rule, in one sentence with its numbers."""

from diffeval.gate.question import ALPHA, Question, Reading
from diffeval.runs.words import number


def sentence(reading: Reading, status: str, needed: int | None = None) -> str:
    """One sentence about a rule.

    Args:
        reading: what was found.
        status: what follows from it beside the other rules.
        needed: images that would settle it, where it is open.
    """
    if reading.missing:
        return reading.missing
    if reading.check is not None:
        return f"{reading.check[0]}: {reading.check[1]}"
    worst = reading.worst
    assert worst is not None, "a rule with a limit asks something"
    begun = _begun(reading, worst)
    said = _change(worst, status) if reading.kind == "regression" else _level(reading, worst, status)
    behind = ""
    if status == "inconclusive":
        behind = f"; {_wanted(reading, worst, needed)}"
    elif reading.how and reading.kind == "regression":
        behind = f"; {reading.how}" + (f", n={reading.n}" if reading.n is not None and "n=" not in reading.how else "")
    return f"{begun}: {said}{behind}"


def rounded(count: int) -> str:
    """Upwards to two digits: more would claim too much."""
    unit = int(10 ** max(0, len(str(count)) - 2))
    return f"{-(-count // unit) * unit:,}"


def _begun(reading: Reading, worst: Question) -> str:
    """What was read, and what stands beside it."""
    assert reading.value is not None, "a question has a value"
    where = f" of class {worst.where}" if worst.where else ""
    text = f"{reading.rule.subject}{where} {number(reading.value)}"
    return text if reading.baseline is None else f"{text} against {number(reading.baseline)}"


def _change(worst: Question, status: str) -> str:
    """A regression against its margin."""
    change, margin = worst.found.value, number(worst.limit)
    if abs(change) <= 1e-9 * max(abs(worst.limit), worst.found.std_error):  # rounding errors of the machine
        change = 0.0
    if not change and not worst.found.std_error:
        return f"no difference, {margin} is allowed"
    begun = f"{'worse' if change > 0 else 'better'} by {number(abs(change))}" if change else "no difference is seen"
    if status == "pass":
        bound = worst.bound
        reach = f"at most{'' if change > 0 else ' worse'} by {number(bound)}"
        if bound <= 0:
            reach = f"at least by {number(-bound)}"
        return f"{begun}, {reach} (95%), {margin} is allowed"
    if status == "fail":
        return f"{begun}, at least by {number(worst.other_bound)} (95%), {margin} is allowed"
    ends = [f"{number(abs(end))} {'worse' if end > 0 else 'better'}" for end in (worst.other_bound, worst.bound)]
    return f"{begun}, anything from {ends[0]} to {ends[1]} (95% to either side), {margin} is allowed"


def _level(reading: Reading, worst: Question, status: str) -> str:
    """A value against fixed limits."""
    low, high = reading.rule.limits
    limits = f"{'at most' if worst.upper else 'at least'} {number(worst.limit)} is allowed"
    if low is not None and high is not None:
        limits = f"{number(low)} .. {number(high)} is allowed"
    if status == "inconclusive":
        ends = sorted((worst.bound, worst.other_bound))
        return f"{number(ends[0])} .. {number(ends[1])} (95% to either side), {limits}"
    bound = worst.bound if status == "pass" else worst.other_bound
    upwards = worst.upper is (status == "pass")
    return f"{'at most' if upwards else 'at least'} {number(bound)} (95%), {limits}"


def _wanted(reading: Reading, worst: Question, needed: int | None) -> str:
    """What would settle an open rule."""
    among = "beyond the limit by itself, but not after the correction for the number of rules: " * (reading.p < ALPHA)
    both = None if needed is not None else reading.needed(held=False)
    if both is not None:
        return f"{among}the baseline's own images are too few: about n = {rounded(both)} of both would settle it"
    if needed is None:
        return f"{among}{'measure more images' if among else 'no number of images is known to settle it'}"
    stays = (
        "" if worst.expected is not None and worst.found.value < worst.limit else ", if the number stays what it is"
    )
    return f"{among}about n = {rounded(needed)} would settle it{stays}"
