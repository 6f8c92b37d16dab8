"""Which metrics are computed, which of their scores are shown, and how sternly."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from diffeval.errors import DiffevalError
from diffeval.metrics.metric import METRICS, Metric
from diffeval.registry import did_you_mean
from diffeval.runs.records import Param

# What the standard suite is called among names of scores.
STANDARD = "standard"


@dataclass(frozen=True, slots=True)
class Suite:
    """A choice of metrics.

    Attributes:
        metrics: names in the registry, in order; the first decides how many images are needed at least.
        shown: names of the scores that were asked for.
        asked: whether the user named all of them; what cannot be computed is then an error, and else left out.
        classes: whether every class is read by itself, too.
        options: configuration of metrics, by their names; what is not named has its default.
    """

    metrics: tuple[str, ...]
    shown: frozenset[str]
    asked: bool
    classes: bool = False
    options: Mapping[str, Mapping[str, Param]] = field(default_factory=dict)

    @property
    def prompted(self) -> bool:
        """Whether any metric reads prompts."""
        return any(METRICS[name].prompted for name in self.metrics)

    @property
    def alone(self) -> bool:
        """Whether no metric reads real images."""
        return all(METRICS[name].alone for name in self.metrics)

    def configured(self, options: Mapping[str, Mapping[str, Param]]) -> "Suite":
        """The same with other options.

        Raises:
            DiffevalError: for a metric that is not computed, or an option that it does not have.
        """
        for name, given in options.items():
            if name not in self.metrics:
                raise DiffevalError(f"metrics: options are given for {name!r}, which is not among {self.metrics}")
            known = inspect.signature(METRICS[name].compute).parameters
            taken = [key for key, one in known.items() if one.kind is inspect.Parameter.KEYWORD_ONLY]
            for key in given:
                if key not in taken:
                    raise DiffevalError(f"metrics: {name} has no option {key!r};{did_you_mean(key, taken)}")
        return replace(self, options=options)

    def needs(self, dim: int) -> int:
        """The images that the least demanding metric needs; where metrics were named, the first of them."""
        if self.asked:
            return METRICS[self.metrics[0]].needs(dim)
        return min(METRICS[name].needs(dim) for name in self.metrics)


def standard() -> tuple[str, ...]:
    """Names of the metrics of the standard suite, in order."""
    places = {name: METRICS[name].place for name in METRICS}
    return tuple(sorted((name for name in places if places[name]), key=lambda name: places[name] or 0))


def choose(names: Sequence[str] | None = None) -> Suite:
    """Finds metrics by the names of their scores, or by their own.

    Args:
        names: by default the standard suite, which is also called ``standard``: others may stand beside it.

    Raises:
        DiffevalError: if there is no such score, or no name.
    """
    if names is None:
        names = (STANDARD,)
    if not names:
        raise DiffevalError("metrics: none is named; leave --metrics out for the standard suite")
    makers = {score: name for name in METRICS for score in METRICS[name].scores}
    usual, metrics, shown = STANDARD in names, list[str](), set[str]()
    for name in names:
        if name == STANDARD:
            metrics += standard()
            shown |= {score for one in standard() for score in METRICS[one].scores}
            continue
        if name in METRICS and name not in makers:
            shown |= set(METRICS[name].scores)
        elif name in makers:
            # FID means both of its values, as it does in the command of that name.
            shown |= {name, *METRICS[name].scores} if name in METRICS else {name}
        else:
            raise DiffevalError(f"unknown metric {name!r};{did_you_mean(name, {*makers, *METRICS, STANDARD})}")
        metrics.append(makers.get(name, name))
    return Suite(tuple(dict.fromkeys(metrics)), frozenset(shown), asked=not usual, classes=usual)


def named(names: Sequence[str]) -> frozenset[str]:
    """The scores that these names stand for by themselves: a score for itself, a family for all of its own.

    The standard suite stands for none: what cannot be computed of it is left out.
    """
    scores = {score for name in METRICS for score in METRICS[name].scores}
    alone = [name for name in names if name != STANDARD]
    return frozenset(score for name in alone for score in ((name,) if name in scores else METRICS[name].scores))


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of ``eval --list``."""

    score: str
    metric: str
    standard: bool
    higher_is_better: bool
    about: str


def listing() -> tuple[Listed, ...]:
    """Every score that can be computed, the standard suite first."""
    order = (*standard(), *(name for name in METRICS if not METRICS[name].place))
    return tuple(
        Listed(score, name, bool(METRICS[name].place), METRICS[name].direction(score), _about(METRICS[name]))
        for name in order
        for score in METRICS[name].scores
    )


def _about(metric: Metric) -> str:
    """First sentence of the metric's docstring."""
    return (metric.compute.__doc__ or "").strip().partition("\n")[0]
