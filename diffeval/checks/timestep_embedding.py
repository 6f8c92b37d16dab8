"""``timestep-embedding``: whether the network heeds the timestep, and how well its embedding tells timesteps apart."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from diffeval.checks.check import Calls, Finding, Subject, check
from diffeval.checks.implied import implied
from diffeval.checks.scan import Scan
from diffeval.checks.time_path import BATCH, MOST_TIMES, Embedding, read_embedding

# Levels at which reliance is judged: at both ends of the schedule the timestep is seen in x itself.
JUDGED = (2.0, 1.0, 0.0, -1.0, -2.0)
IMAGES, TIMES = 16, 13


def _calls(subject: Subject) -> Calls:
    times = min(subject.checkpoint.schedule.timesteps, MOST_TIMES)
    return {IMAGES: TIMES + 1.0, BATCH: times / BATCH}


@check(
    "timestep-embedding",
    about="the network heeds the timestep it is told, and its embedding tells timesteps apart",
    reads=("scan",),
    calls=_calls,
)
def timestep_embedding(
    subject: Subject,
    *,
    dead: float = 0.01,
    weak: float = 0.05,
    share_of_rounding: float = 10.0,
    constant_warn: float = 0.05,
    distinct_warn: float = 0.9,
) -> Finding:
    """Measures what a wrong timestep costs, how far the output moves with it, and the embedding itself.

    Values: ``reliance``, the least over log-SNR -2 to 2 of mean risk over timesteps over the least, less 1; ``share``,
    variance of the output over timesteps as a share of its square; ``rounding``, the same between two equal calls. Of
    the embedding, where a part of the network is found that depends on t alone: ``rank``, its participation ratio over
    all timesteps (1.1 to 1.3 in healthy networks, so that it is no ground for a warning), and ``relative_variance``;
    ``first_rank`` and ``first_variance``, the same of the features of t that come first, such as sinusoids;
    ``least_cosine``; ``adjacent``, the distance of neighbouring timesteps over the mean norm; ``distinct``, the share
    of timesteps with an embedding of their own; ``still_sites``, layers that it passes through and that never move;
    ``unmoved_parameters``, those among them without any gradient.

    Fails where the network heeds no timestep. A weak embedding warns at most: networks are known to sample well with
    one of rank 1, and small U-Nets see the noise level in x itself.

    Args:
        subject: what is looked at.
        dead: reliance below which a network does not heed t, if its output does not move either.
        weak: reliance below which to warn.
        share_of_rounding: output variance, in units of rounding, that counts as moving.
        constant_warn: relative variance of the first features of t below which to warn; sinusoids of 0 .. 999 have
            0.65, of [0, 1] 0.005.
        distinct_warn: share of distinct embeddings below which to warn.

    Cost: 208 forward passes beyond the scan, and one per timestep for the embedding (1,000 at most). Source: reliance
    is permutation importance, Breiman 2001; that many networks do without t: Sun, Jiang, Zhao and He 2025.
    """
    scan = subject.scan
    reliance = float(implied(scan).part(JUDGED).reliance.min()) if _covers(scan) else _reliance(scan)
    share, rounding = _output_share(subject)
    values = {"reliance": reliance, "share": share, "rounding": rounding}
    embedding = read_embedding(subject.checkpoint, subject.probe_images, subject.generator.device)
    if embedding is not None:
        values |= embedding.values()
    rows = () if embedding is None else embedding.rows
    agnostic = subject.checkpoint.time_agnostic
    moves = share > share_of_rounding * max(rounding, 1e-12)
    if reliance < dead and not moves:
        found = Finding(
            "fail",
            f"the network does not heed the timestep: a wrong one raises its risk by {reliance:.2%} (limit "
            f"{dead:.0%}), and moves its output by a share of {share:.1g} (rounding: {rounding:.1g})",
            fix=_cause(embedding),
        )
        if agnostic:
            found = Finding("pass", "the network does not heed the timestep, and is declared to take none")
        return replace(found, values=values, rows=rows)
    said = _weaknesses(reliance, embedding, weak, constant_warn, distinct_warn)
    if said and not agnostic:
        return Finding("warn", "; ".join(said), values, rows=rows, fix=WEAK)
    told = (
        ""
        if embedding is None
        else f"; its embedding has rank {embedding.rank:.1f} over {embedding.timesteps} timesteps"
    )
    return Finding(
        "pass",
        f"a wrong timestep raises the risk by {reliance:.0%} at least (limit {weak:.0%}){told}",
        values,
        rows=rows,
    )


WEAK = (
    "look at how t enters: sinusoids made for 0 .. 999 are nearly constant on [0, 1], and 16-bit floats do not hold "
    "all integers up to 999; many networks work all the same"
)


def _covers(scan: Scan) -> bool:
    return any(scan.covered(level) for level in JUDGED)


def _reliance(scan: Scan) -> float:
    """Where the declared schedule reaches no level that is judged: over all that were read."""
    return float(implied(scan).reliance.min())


def _output_share(subject: Subject) -> tuple[float, float]:
    """Variance of the output over timesteps over its mean square, and the same between two equal calls."""
    images = subject.probe_images.first(IMAGES)
    probe = subject.probe(images=images)
    x = probe.noised(0.0, torch.randn(images.x0.shape, generator=torch.Generator().manual_seed(0)))
    times = np.unique(np.linspace(0, subject.checkpoint.schedule.timesteps - 1, TIMES).round().astype(int))
    outputs = [probe.output(x, torch.full((len(x),), int(t)), probe.condition).double().numpy() for t in times]
    again = probe.output(x, torch.full((len(x),), int(times[0])), probe.condition).double().numpy()
    stacked = np.stack(outputs)
    size = max(float((stacked**2).mean()), 1e-30)
    return float(stacked.var(axis=0).mean()) / size, float(((again - outputs[0]) ** 2).mean()) / size


def _cause(embedding: Embedding | None) -> str:
    if embedding is None:
        return "no layer depends on t alone: look whether t is passed on, and whether its embedding is added"
    if embedding.still:
        named = ", ".join(embedding.still[:3])
        return f"the signal of t ends at {named}: look at its weights, and whether its output is added"
    return "the embedding moves with t, the output does not: look whether it is added in the blocks"


def _weaknesses(
    reliance: float, embedding: Embedding | None, weak: float, constant_warn: float, distinct_warn: float
) -> Sequence[str]:
    said = []
    if reliance < weak:
        said.append(
            f"the network hardly heeds the timestep: a wrong one raises its risk by {reliance:.1%} (limit {weak:.0%})"
        )
    if embedding is None:
        return said
    if embedding.first_variance < constant_warn:
        said.append(
            f"the features of t are nearly constant: {embedding.first_variance:.3f} of their square is variance over "
            f"timesteps (limit {constant_warn:g})"
        )
    if embedding.distinct < distinct_warn:
        said.append(
            f"{1 - embedding.distinct:.0%} of the timesteps share an embedding (limit {1 - distinct_warn:.0%})"
        )
    if embedding.still:
        named = ", ".join(embedding.still[:3]) + (" and others" if len(embedding.still) > 3 else "")
        said.append(f"{len(embedding.still)} of {embedding.sites} layers that t passes through never move: {named}")
    return said
