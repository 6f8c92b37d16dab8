"""``receptive-field``: whether an output pixel sees enough of the image, by structure and by what it makes of it.

Under much noise one pixel tells nothing, and the shape of the whole has to be guessed from all of them: a network that
cannot see far paints locally right pieces of images that do not fit together. Under little noise a small field is
right and good.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from diffeval.checks.batch_norm import as_told
from diffeval.checks.check import CHECKS, GATE, Calls, Finding, Row, Subject, check
from diffeval.checks.probe import SEED, Probe
from diffeval.checks.scan import reaches
from diffeval.diffusion.noise import initial_noise

# Noise levels at which influence is read; the last is the one that is judged.
LEVELS = (2.0, 0.0, -2.0, -3.0)
RADII = 8
# Influence below which the far field counts for nothing.
NOTHING = 0.05
# How far a pixel is moved where NaN cannot be used, and the change of an output, relative to the largest, that counts.
FAR, COUNTS = 1e3, 1e-6


@dataclass(frozen=True, slots=True)
class Support:
    """Which output pixels a single input pixel reaches.

    Attributes:
        reach: how far, in pixels, along an axis.
        everywhere: whether every output pixel moves with every input pixel that was tried.
    """

    reach: int
    everywhere: bool

    @property
    def width(self) -> int:
        """Pixels along an axis that an output pixel sees where no border is in the way."""
        return 2 * self.reach + 1


# Pairs of images, at most half of the subject's.
PAIRS = 32


def _calls(subject: Subject) -> Calls:
    if subject.source is None:
        return {1: 6.0}
    levels = sum(reaches(subject.checkpoint.schedule, level) for level in LEVELS)
    together = max(2, min(PAIRS, len(subject.probe_images) // 2))
    return {1: 6.0, together: float(levels * (1 + len(_radii(subject.checkpoint.shape))))}


@check(
    "receptive-field",
    about="an output pixel sees enough of the image where noise leaves only the whole to go by",
    calls=_calls,
)
def receptive_field(
    subject: Subject, *, pairs: int = PAIRS, support_fail: float = 0.5, far_warn: float = 0.25
) -> Finding:
    """The exact field by what moves with a pixel, and the influence of what lies beyond a radius.

    The influence I(r) at a noise level is how much the centre of the output changes when everything further than r
    from it is replaced by another noised image, over the same for r = 0; r95 is the least r from which on it is below
    0.05. It grows with the noise in healthy networks. A change of the noise prediction at the centre is
    one of the predicted clean image there, as the centre's own input stays: the prediction type does not matter.

    Values: ``field``, the width of the exact field in pixels, no more than the image's; ``everywhere``, 1 where every
    pixel sees every other (attention and group normalisation see to that); with real images ``r95_<level>`` in pixels.

    Costs 6 forward passes, and with real images ``2 x pairs`` for each of up to 8 radii and 4 levels, beyond the scan.

    Args:
        subject: what is looked at.
        pairs: of images, at most half of the subject's.
        support_fail: share of the image's side below which the exact field fails; it never does with a global path.
        far_warn: share of the side below which r95 at log-SNR -3 warns.

    Source: the influence is in the spirit of Luo et al. 2016 and of Kamb and Ganguli 2024, who fit a field per
    timestep; the limits are set, not fitted.
    """
    side = min(subject.checkpoint.shape[1:])
    support = exact_support(subject)
    if support is None:
        return Finding("inconclusive", "no pixel of the output moves with the input, or the output is not finite")
    values = {"field": float(min(support.width, side)), "everywhere": float(support.everywhere)}
    rows: tuple[Row, ...] = ()
    far: dict[float, int] = {}
    if subject.source is not None and (GATE not in CHECKS or subject.found(GATE).status != "fail"):
        rows, far = _influences(subject, min(pairs, len(subject.probe_images) // 2))
        values |= {f"r95_{level:g}": float(radius) for level, radius in far.items()}
    seen = "every output pixel sees the whole image" if support.everywhere else (
        f"an output pixel sees {min(support.width, side)} of {side} pixels along an axis"
    )  # fmt: skip
    fix = "give the network a level of lower resolution, attention, or more and wider convolutions"
    if not support.everywhere and support.width < support_fail * side:
        return Finding("fail", f"{seen} (at least {support_fail * side:g})", values, fix, rows=rows)
    last = far.get(LEVELS[-1])
    if last is None:
        return Finding("pass", f"{seen} (at least {support_fail * side:g})", values, rows=rows)
    text = f"{seen}; at log-SNR {LEVELS[-1]:g} what lies further than {last} pixels counts for less than {NOTHING:.0%}"
    if last < far_warn * side:
        return Finding("warn", f"{text} (at least {far_warn * side:g} are healthy)", values, fix, rows=rows)
    return Finding("pass", f"{text} (at least {far_warn * side:g})", values, rows=rows)


def exact_support(subject: Subject) -> Support | None:
    """Output pixels that become NaN with an input pixel, for three of them; None where nothing moves."""
    checkpoint = subject.checkpoint
    _, height, width = checkpoint.shape
    probe = Probe(checkpoint.denoiser, torch.zeros(0), None, subject.generator.device)
    # NaN would stay in running statistics that are still being updated.
    marks = [FAR] if any(part.training for part in checkpoint.network.modules()) else [float("nan"), FAR]
    for mark in marks:
        try:
            found = [_moved(probe, subject, mark, y, x) for y, x in ((0, 0), (1, 1), (height // 2, width // 2))]
        except (RuntimeError, ValueError, IndexError):
            continue
        if all(moved is not None and bool(moved.any()) for _, _, moved in found):
            reach = 0
            for y, x, moved in found:
                assert moved is not None, "just looked at"
                rows, columns = moved.nonzero(as_tuple=True)
                reach = max(reach, int((rows - y).abs().max()), int((columns - x).abs().max()))
            return Support(reach, all(moved is not None and bool(moved.all()) for _, _, moved in found))
    return None


def _moved(probe: Probe, subject: Subject, mark: float, y: int, x: int) -> tuple[int, int, torch.Tensor | None]:
    """The pixel, and which output pixels move with it, [H, W]; None where the output is not finite to begin with."""
    checkpoint = subject.checkpoint
    image = initial_noise(SEED, range(1), checkpoint.shape)
    told = torch.tensor([checkpoint.schedule.timesteps // 2])
    condition = torch.zeros(1, dtype=torch.int64) if checkpoint.classes else None
    before = probe.output(image, told, condition)[0]
    if not bool(torch.isfinite(before).all()):
        return y, x, None
    image[:, :, y, x] = mark
    after = probe.output(image, told, condition)[0]
    if np.isnan(mark):
        return y, x, torch.isnan(after).any(dim=0)
    change = (after - before).abs().amax(dim=0)
    return y, x, change > COUNTS * change.max()


def _influences(subject: Subject, pairs: int) -> tuple[tuple[Row, ...], dict[float, int]]:
    """I(r) as rows by radius, and r95, by level."""
    scan = subject.scan
    radii = _radii(subject.checkpoint.shape)
    curves: dict[float, list[float]] = {}
    for level in LEVELS:
        if not scan.covered(level) or level not in scan.levels or pairs < 2:
            continue
        reading = scan.at(level)
        # The timestep that the weights take this level for: what they are told otherwise is no fault of their field.
        best = int(scan.risk(reading, scan.type)[:, 0].argmin())
        curves[level] = influence(subject.probe(), level, reading.times[best], radii, pairs)
    rows: tuple[Row, ...] = tuple(
        {"radius": radius, **{f"log-SNR {level:g}": curve[place] for level, curve in curves.items()}}
        for place, radius in enumerate(radii)
    )
    return (rows if curves else ()), {level: _r95(radii, curve) for level, curve in curves.items()}


def _radii(shape: tuple[int, int, int]) -> tuple[int, ...]:
    """From the centre to the border, about evenly, the small ones each."""
    furthest = max(shape[1], shape[2]) // 2
    wanted = np.concatenate([np.arange(min(RADII // 2, furthest + 1)), np.linspace(0, furthest, RADII)])
    return tuple(int(radius) for radius in np.unique(np.round(wanted).astype(int)))


def influence(probe: Probe, level: float, time: float, radii: Sequence[int], pairs: int) -> list[float]:
    """I(r) by radius, of image i seen with the far field of image i + ``pairs``; 0 where nothing moves at all."""
    shape = tuple(probe.x0.shape[1:])
    noise = initial_noise(SEED, range(len(probe.x0)), shape)
    x = probe.noised(level, noise)
    one, other = x[:pairs], x[pairs : 2 * pairs]
    condition = None if probe.condition is None else probe.condition[:pairs]
    told = as_told([time] * pairs)
    y, z = shape[1] // 2, shape[2] // 2
    distance = torch.maximum((torch.arange(shape[1]) - y).abs()[:, None], (torch.arange(shape[2]) - z).abs()[None, :])
    whole = probe.output(one, told, condition)[:, :, y, z]
    moved = []
    for radius in radii:
        mixed = torch.where(distance > radius, other, one)
        moved.append(float((probe.output(mixed, told, condition)[:, :, y, z] - whole).double().square().mean().sqrt()))
    return [part / moved[0] if moved[0] else 0.0 for part in moved]


def _r95(radii: Sequence[int], curve: Sequence[float]) -> int:
    """The least radius from which on the influence of what lies beyond is nothing."""
    above = [place for place, part in enumerate(curve) if part >= NOTHING]
    return int(radii[min(above[-1] + 1, len(radii) - 1)]) if above else 0
