"""Which of several runs can be told apart, and what order that leaves: ranks as ranges, ties as groups."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from diffeval.metrics.multiplicity import holm

LEVEL = 0.05
LETTERS = "abcdefghijklmnopqrstuvwxyz"

Pairs = Mapping[tuple[int, int], float]


def corrected(p: Pairs) -> Pairs:
    """p-values of all pairs of runs, corrected by Holm for their number; of a single pair as it is."""
    return dict(zip(p, holm(np.array(list(p.values()))).tolist(), strict=True))


def rank_ranges(worse: Sequence[frozenset[int]]) -> tuple[tuple[int, int], ...]:
    """From the runs that are proven worse than each, the best and the worst rank that it can have, from 1."""
    count = len(worse)
    return tuple((1 + sum(run in one for one in worse), count - len(worse[run])) for run in range(count))


def tied_groups(order: Sequence[int], apart: frozenset[frozenset[int]]) -> tuple[str, ...]:
    """Letters for each run: two runs share one if they cannot be told apart, and only then.

    Every largest set of runs of which no two are told apart has a letter, the set of the best run first.

    Args:
        order: of the runs, best first.
        apart: pairs that are told apart.

    Source: Piepho 2004 (the display of all pairwise comparisons by letters).
    """
    near = {run: frozenset(one for one in order if one != run and frozenset((run, one)) not in apart) for run in order}
    groups = list(_largest(frozenset(), frozenset(order), frozenset(), near))
    place = {run: number for number, run in enumerate(order)}
    groups.sort(key=lambda group: sorted(place[run] for run in group))
    names = [_letter(number) for number in range(len(groups))]
    return tuple(
        "".join(name for name, group in zip(names, groups, strict=True) if run in group) for run in range(len(order))
    )


def _largest(
    held: frozenset[int], candidates: frozenset[int], done: frozenset[int], near: Mapping[int, frozenset[int]]
) -> Iterator[frozenset[int]]:
    """Sets of runs all near each other, to which none can be added: ``held`` and some of the candidates.

    Source: Bron and Kerbosch 1973, with a pivot.
    """
    if not candidates and not done:
        yield held
        return
    pivot = max(sorted(candidates | done), key=lambda run: len(near[run] & candidates))
    for run in sorted(candidates - near[pivot]):
        yield from _largest(held | {run}, candidates & near[run], done & near[run], near)
        candidates, done = candidates - {run}, done | {run}


def _letter(number: int) -> str:
    """Those of the alphabet, then a1, b1 and so on."""
    turn, place = divmod(number, len(LETTERS))
    return LETTERS[place] + (str(turn) if turn else "")


def pairs_of(count: int) -> tuple[tuple[int, int], ...]:
    """All pairs of so many runs."""
    return tuple(combinations(range(count), 2))
