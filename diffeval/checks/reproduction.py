"""``reproduction``: whether images that another pipeline made come out here, and if not, what it did otherwise.

How guidance is put together is in no weights: a pipeline that leaves the negative prompt out, or counts w from 0,
draws from a sound network what nobody asked for. Its images tell. They are drawn again from the noise that they began
with: once as the settings say, and once for each thing that a pipeline is known to do otherwise. The way that comes
out like the images is the way that they were made.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import Finding, Row, Subject, check
from diffeval.checks.made_images import Made
from diffeval.diffusion.samplers import SAMPLERS, is_stochastic, named_sampler
from diffeval.diffusion.sampling import ROUNDINGS, Generator
from diffeval.errors import DiffevalError
from diffeval.metrics.metric import Array

STATED = "as the settings say"
# How many times as near another way must be than what the settings say, and on what share of images; and the levels
# that rounding alone may make.
CLEARER, MOST, ROUNDED = 2.0, 0.75, 0.3
# Images that are drawn at once, where they are of this many pixels at most.
TOGETHER, SMALL = 16, 128 * 128
# Share of the distance between images of different noise above which nothing has to do with the images.
UNRELATED = 0.6


@dataclass(frozen=True, slots=True)
class Way:
    """One way to make the images.

    Attributes:
        name: what the pipeline does.
        fix: what to change, where it does that.
        w: guidance scale.
        negative: whether negative prompts count.
        sampler: one of ours in place of the checkpoint's; None for that.
        reversed: whether colour channels stand in reverse order.
    """

    name: str
    fix: str = ""
    w: float | None = None
    negative: bool = True
    sampler: str | None = None
    reversed: bool = False


@check(
    "reproduction",
    about="images that another pipeline made come out the same here; if not, what it does otherwise",
    reads=("made",),
)
def reproduction(subject: Subject, *, same: float = 4.0, images: int = 16) -> Finding:
    """Draws images of ``--made`` again, as the settings say and in other ways, and compares pixels.

    Values, in levels of 255, medians over images of the root mean square difference: ``as_stated``; ``nearest``, of
    the way that comes nearest; ``unrelated``, between images of different noise. ``decided``, the share of images that
    are nearest to that way.

    Fails where another way is twice as near, on three images of four, and names it; passes where what the settings say
    is within ``same``, or four times as near as images of different noise are to each other. Inconclusive where
    nothing comes near, as where the noise is not what the images began with.

    Ways that are tried: no negative prompt; no guidance; w counted from 0, eps_cond + w (eps_cond - eps_uncond); w
    counted from 2; its branches exchanged; prompt or class left out; colours in reverse; and other samplers.

    Args:
        subject: what is looked at; its settings are those that the images are said to be made with.
        same: levels that half precision and other hardware may move images by.
        images: that are drawn again, at most.

    Cost: ``images`` samples for each way, at most 18.

    Source: the formula and its scale: Ho and Salimans 2022, eq. 6, whose w is ours less 1.
    """
    made = subject.made
    assert made is not None, "it reads what was made"
    if is_stochastic(subject.generator.sampler):
        return Finding(
            "not-applicable", "the sampler draws noise at its steps, which is not in the file; give another"
        )
    there = made.first(images)
    checkpoint = there.asked_of(subject.checkpoint)
    drawn = _Drawn(checkpoint, subject.generator, there)
    ways = list(_ways(checkpoint, subject.generator, there))
    subject.reporter.stage("reproduction", len(ways), "ways")
    errors = {way: drawn.errors(way) for way in ways}
    if _nearest(errors).name != STATED or float(np.median(errors[ways[0]])) > same:
        errors |= {way: drawn.errors(way) for way in _samplers(subject.generator)}
    return _judge(errors, drawn.unrelated(), same)


class _Drawn:
    """Draws the images again.

    Args:
        checkpoint: with their prompts.
        generator: how they are said to be made.
        made: the images.
    """

    def __init__(self, checkpoint: Checkpoint, generator: Generator, made: Made) -> None:
        self._checkpoint, self._generator, self._made = checkpoint, generator, made
        self._noise = made.beginning(checkpoint.shape)
        wanted = checkpoint.image_shape
        self._together = TOGETHER if wanted[1] * wanted[2] <= SMALL else 1
        if made.images.shape[1:] != wanted:
            raise DiffevalError(
                f"made: images in {made.path} are {list(made.images.shape[1:])}, {checkpoint.name} makes "
                f"{list(wanted)}"
            )
        if generator.classes and made.labels is None and not made.prompts:
            raise DiffevalError(f"made: {made.path} holds no labels, and {checkpoint.name} makes images by class")

    def errors(self, way: Way) -> Array:
        """Root mean square difference of each image, in levels [n]."""
        rows, size = range(len(self._noise)), self._together
        found = np.concatenate([self._images(way, list(rows[first : first + size])) for first in rows[::size]])
        if way.reversed:
            found = found[:, ::-1]
        gap = found.astype(np.float64) - self._made.images
        error: Array = np.sqrt((gap**2).mean(axis=(1, 2, 3)))
        return error

    def unrelated(self) -> float:
        """Median difference between neighbours among the images, which began with different noise."""
        images = self._made.images.astype(np.float64)
        gap = images - np.roll(images, 1, axis=0)
        return float(np.median(np.sqrt((gap**2).mean(axis=(1, 2, 3)))))

    def _images(self, way: Way, chosen: list[int]) -> np.ndarray:
        generator = replace(self._generator, w=way.w, denoiser=self._checkpoint.denoiser)
        if self._checkpoint.at_w is not None and way.w is not None:
            generator = replace(generator, denoiser=self._checkpoint.at_w(way.w))
        if way.sampler is not None:
            checkpoint = self._checkpoint
            bounded = checkpoint.value_range == (-1.0, 1.0) and checkpoint.latents is None
            sampler = named_sampler(way.sampler, generator.schedule, generator.prediction, bounded=bounded)
            generator = replace(generator, sampler=sampler)
        condition, null = self._conditions(way, chosen)
        *_, last = generator.follow(self._noise[chosen], condition, null, generator.sampler.step_options)
        pixels = ROUNDINGS[generator.rounding](generator.decode(last.after)).clamp(0, 255).to(torch.uint8)
        return pixels.cpu().numpy()

    def _conditions(self, way: Way, chosen: list[int]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        asked, device = self._checkpoint.asked, self._generator.device
        if asked is not None:
            empty = self._checkpoint.null_class
            numbers = chosen
            nulls = [asked.nulls[row] if way.negative or empty is None else empty for row in chosen]
        elif self._made.labels is not None and self._generator.classes:
            numbers = self._made.labels[chosen].tolist()
            nulls = [] if self._checkpoint.null_class is None else [self._checkpoint.null_class] * len(chosen)
        else:
            return None, None
        condition = torch.tensor(numbers, device=device)
        return condition, torch.tensor(nulls, device=device) if nulls else None


def _ways(checkpoint: Checkpoint, generator: Generator, made: Made) -> Iterator[Way]:
    w = generator.w
    yield Way(STATED, w=w)
    if w is not None:
        yield from _guided(checkpoint, w, any(one.negative for one in made.prompts) and generator.branches > 1)
    if checkpoint.image_shape[0] == 3:
        yield Way("colour channels in reverse order", "swap them: RGB, not BGR", w, reversed=True)


def _guided(checkpoint: Checkpoint, w: float, negatives: bool) -> Iterator[Way]:
    null = checkpoint.null_class is not None
    said = "eps_uncond + w (eps_cond - eps_uncond)"
    scales = [
        (1.0, "without guidance", f"guide: {said}, w={w:g}"),
        (w + 1.0, "w counted from 0, eps_cond + w (eps_cond - eps_uncond)", f"use {said}, or give w={w - 1.0:g}"),
        (w - 1.0, "w counted from 2", f"use {said}, or give w={w + 1.0:g}"),
        (1.0 - w, "branches of guidance exchanged", f"use {said}, with the unconditional half first"),
        (0.0, "prompt or class left out", "see that the condition reaches the network"),
    ]
    seen = {w}
    for scale, name, fix in scales if null or checkpoint.at_w is not None else ():
        if scale in seen or (checkpoint.at_w is not None and scale not in (1.0, w + 1.0, w - 1.0)):
            continue
        seen.add(scale)
        yield Way(name, fix, scale)
        if negatives and scale not in (0.0, 1.0):
            yield Way(f"{name}, and the negative prompt left out", f"{fix}; {_NEGATIVE}", scale, negative=False)
    if negatives:
        yield Way("the negative prompt left out", _NEGATIVE, w, negative=False)


_NEGATIVE = "encode the negative prompt for the unconditional half"


def _samplers(generator: Generator) -> Iterator[Way]:
    """Ours that can sample the checkpoint, each with as many steps."""
    for name in SAMPLERS:
        try:
            one = named_sampler(name, generator.schedule, generator.prediction)
        except DiffevalError:
            continue
        if not is_stochastic(one) and one.scheduler != generator.sampler.scheduler:
            yield Way(f"sampler {name}", f"sample with {generator.sampler.scheduler}", generator.w, sampler=name)


def _nearest(errors: dict[Way, Array]) -> Way:
    return min(errors, key=lambda way: float(np.median(errors[way])))


def _judge(errors: dict[Way, Array], unrelated: float, same: float) -> Finding:
    medians = {way: float(np.median(error)) for way, error in errors.items()}
    stated, best = next(iter(errors)), _nearest(errors)
    stack = np.stack(list(errors.values()))
    place = list(errors).index(best)
    decided = float((stack.argmin(axis=0) == place).mean())
    values = {"as_stated": medians[stated], "nearest": medians[best], "unrelated": unrelated, "decided": decided}
    rows: tuple[Row, ...] = tuple(
        {"way": way.name, "difference": medians[way], "nearest_of": int((stack.argmin(axis=0) == number).sum())}
        for number, way in enumerate(errors)
    )
    count = stack.shape[1]
    far = f"{medians[stated]:.2g} levels from what the settings say"
    clear = medians[best] * CLEARER < max(medians[stated], ROUNDED) and decided >= MOST
    if best is not stated and clear and medians[best] < UNRELATED * unrelated:
        return Finding(
            "fail",
            f"the images are made with {best.name}: {medians[best]:.2g} levels from that, {far}",
            values,
            best.fix,
            ruled_out=tuple(way.name for way in errors if way not in (best, stated))[:6],
            rows=rows,
        )
    if medians[stated] <= same or medians[stated] < unrelated / (CLEARER * CLEARER):
        said = f"{count} images come out as they were made: {medians[stated]:.2g} levels apart (limit {same:g})"
        near = CLEARER * max(medians[stated], ROUNDED)
        alike = [way.name for way in errors if way is not stated and medians[way] < near]
        if alike:
            said += f"; so they would with {' or '.join(alike[:2])}, which changes too little to be told"
        return Finding("pass", said, values, rows=rows)
    return Finding(
        "inconclusive",
        f"the images are not made so, nor in any way that is known: {far}, {medians[best]:.2g} from {best.name}, "
        f"{unrelated:.2g} between images of different noise",
        values,
        "give the noise itself, not seeds, where it was drawn on a GPU or in half precision; and --w, --steps, "
        "--sampler",
        rows=rows,
    )
