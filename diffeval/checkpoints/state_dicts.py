"""Finds, in whatever a training script saved, the weights that fit a network."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diffeval.errors import DiffevalError

DEPTH = 4
SHADOW = "shadow_params"


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """Tensors that may be the network's.

    Attributes:
        label: where they lie: the path through the file, and the prefix of their names, joined by dots.
        state: tensors by the network's names.
        missing: names of the network that are not there.
        unexpected: names there that the network does not have.
        misshapen: names with another shape than the network's, both shapes said.
        left: how many other tensors lie beside them.
        averaged: whether they are called an average of the weights.
    """

    label: str
    state: Mapping[str, torch.Tensor]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]
    left: int
    averaged: bool

    @property
    def fits(self) -> bool:
        """Whether they are the network's weights, no more and no less."""
        return not (self.missing or self.unexpected or self.misshapen)

    @property
    def shown(self) -> str:
        """For a list of candidates."""
        fit = "fits" if self.fits else f"fits {len(self.state)} of {len(self.state) + len(self.missing)} names"
        return f"{self.label or 'top level'} ({len(self.state)} tensors, {fit})"


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights to use.

    Attributes:
        used: into the network.
        raw: the ones without averaging beside averaged ones, or None.
        said: which weights these are, in words.
    """

    used: Candidate
    raw: Candidate | None
    said: str


def dicts_of_tensors(tree: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every dict with tensors in it, with its path through the tree."""
    if not isinstance(tree, Mapping) or depth > DEPTH:
        return
    if any(isinstance(value, torch.Tensor) for value in tree.values()):
        yield path, tree
    for key, value in tree.items():
        if isinstance(key, str):
            yield from dicts_of_tensors(value, f"{path}.{key}".strip("."), depth + 1)


def candidates(tree: Any, network: torch.nn.Module) -> list[Candidate]:
    """What may be the network's weights, best first."""
    wanted = network.state_dict()
    found = [
        _candidate(path, entries, prefix, wanted)
        for path, entries in dicts_of_tensors(tree)
        for prefix in _prefixes(entries, wanted)
    ]
    plain = next((one for one in found if one.fits), None)
    found += _shadows(tree, "", network, plain)
    return sorted(found, key=lambda one: (not one.fits, len(one.missing) + len(one.misshapen)))


def _prefixes(entries: Mapping[str, Any], wanted: Mapping[str, torch.Tensor]) -> list[str]:
    """What stands before the network's names (``module.``, ``ema_model.model.`` ...), the commonest first."""
    counts: dict[str, int] = {}
    for name in entries:
        words = str(name).split(".")
        for start in range(len(words)):
            if ".".join(words[start:]) in wanted:
                prefix = "".join(f"{word}." for word in words[:start])
                counts[prefix] = counts.get(prefix, 0) + 1
    most = max(counts.values(), default=0)
    return [prefix for prefix in sorted(counts, key=lambda one: -counts[one]) if 2 * counts[prefix] >= most]


def _candidate(path: str, entries: Mapping[str, Any], prefix: str, wanted: Mapping[str, torch.Tensor]) -> Candidate:
    tensors = {str(name): value for name, value in entries.items() if isinstance(value, torch.Tensor)}
    inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    # What torch's AveragedModel counts beside its copy; not a weight.
    counted = "n_averaged" in tensors
    extra = {"n_averaged"} if counted and not prefix else set()
    label = f"{path}.{prefix}".strip(".")
    return Candidate(
        label=label,
        state={name: value for name, value in inside.items() if name in wanted},
        missing=tuple(name for name in wanted if name not in inside),
        unexpected=tuple(name for name in inside if name not in wanted and name not in extra),
        misshapen=tuple(
            f"{name} is {list(inside[name].shape)}, the network's {list(wanted[name].shape)}"
            for name in wanted
            if name in inside and inside[name].shape != wanted[name].shape
        ),
        left=len(tensors) - len(inside),
        averaged=counted or says_averaged(label),
    )


def says_averaged(text: str) -> bool:
    """Whether a name speaks of an exponential moving average; ``online`` weights beside one are the raw ones."""
    return bool(re.search(r"(?<![a-z])ema(?![a-z])", text.lower())) and "online" not in text.lower()


def _shadows(tree: Any, path: str, network: torch.nn.Module, plain: Candidate | None) -> Iterator[Candidate]:
    """Averages kept as a list in the order of the network's parameters; buffers come from the raw weights."""
    if not isinstance(tree, Mapping):
        return
    rows = tree.get(SHADOW)
    if isinstance(rows, Sequence) and all(isinstance(row, torch.Tensor) for row in rows):
        parameters = dict(network.named_parameters())
        buffers = {name for name in network.state_dict() if name not in parameters}
        same = [row.shape for row in rows] == [one.shape for one in parameters.values()]
        if same and (plain is not None or not buffers):
            state = dict(zip(parameters, rows, strict=True))
            state |= {name: plain.state[name] for name in buffers} if plain is not None else {}
            yield Candidate(f"{path}.{SHADOW}".strip("."), state, (), (), (), 0, averaged=True)
    for key, value in tree.items():
        if isinstance(key, str):
            yield from _shadows(value, f"{path}.{key}".strip("."), network, plain)


def choose(tree: Any, network: torch.nn.Module, file: Path, *, key: str | None, raw: bool | None) -> Weights:
    """The weights that the user means: those at ``key``; else averaged ones, where there are such.

    Raises:
        DiffevalError: if nothing fits, with the names that do not; or if more than one thing does.
    """
    every = candidates(tree, network)
    here = every if key is None else [one for one in every if f"{one.label}.".startswith(f"{key}.")]
    if not here:
        raise DiffevalError(_nothing(tree, every, file, key))
    fitting = _distinct([one for one in here if one.fits])
    if not fitting:
        raise DiffevalError(_misfit(here[0], every, file))
    by_name = says_averaged(file.name) and not any(one.averaged for one in fitting)
    averaged = [one for one in fitting if one.averaged or by_name]
    plain = [one for one in fitting if one not in averaged]
    pool = {None: averaged or plain, True: plain, False: averaged}[raw]
    if not pool:
        missing = "without averaging" if raw else "that are called averaged (ema)"
        option = "--raw" if raw else "--ema"
        raise DiffevalError(
            f"checkpoint: {file} holds no weights {missing}: {_listed(every)}; leave {option} out, or give --key"
        )
    if len(pool) > 1:
        raise DiffevalError(
            f"checkpoint: {len(pool)} sets of weights in {file} fit the network: {_listed(pool)}; choose with --key"
        )
    used = pool[0]
    others = (
        plain if key is None else [one for one in _distinct([one for one in every if one.fits]) if not one.averaged]
    )
    beside = others[0] if used in averaged and len(others) == 1 else None
    return Weights(used, None if beside is used else beside, _said(used, used in averaged, beside, file))


def _distinct(found: list[Candidate]) -> list[Candidate]:
    """Without those whose tensors are all equal to an earlier one's: copies are no choice."""
    kept: list[Candidate] = []
    for one in found:
        if not any(all(torch.equal(one.state[name], other.state[name]) for name in one.state) for other in kept):
            kept.append(one)
    return kept


def _said(used: Candidate, averaged: bool, raw: Candidate | None, file: Path) -> str:
    where = f"at {used.label}" if used.label else f"in {file.name}"
    kind = "averaged (EMA)" if averaged else "not called averaged"
    left = f"; {used.left} other tensors beside them are not used" if used.left else ""
    return f"{kind}, {where}" + (f"; raw ones at {raw.label or 'the top level'}" if raw is not None else "") + left


def _listed(found: Sequence[Candidate]) -> str:
    return ", ".join(one.shown for one in found[:6]) or "none"


def _nothing(tree: Any, every: Sequence[Candidate], file: Path, key: str | None) -> str:
    if key is not None and every:
        return f"checkpoint: {file} holds no weights at --key {key}; candidates: {_listed(every)}"
    inside = ", ".join(f"{path or 'top level'} ({len(entries)} entries)" for path, entries in dicts_of_tensors(tree))
    return (
        f"checkpoint: no tensor in {file} has a name of the network's; it holds: {inside or 'no tensors by name'}; "
        f"is this --model the one that was trained?"
    )


def _misfit(best: Candidate, every: Sequence[Candidate], file: Path) -> str:
    parts = []
    for what, names in (("missing", best.missing), ("unexpected", best.unexpected), ("misshapen", best.misshapen)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            parts.append(f"{len(names)} {what}: {', '.join(names[:3])}{more}")
    return (
        f"checkpoint: the weights at {best.label or 'the top level'} of {file} do not fit the network: "
        f"{'; '.join(parts)}; candidates: {_listed(every)}; mend --model, or choose with --key"
    )
