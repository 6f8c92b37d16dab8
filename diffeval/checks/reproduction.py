"""``reproduction``: whether images that another pipeline made come out here, and if not, what it did otherwise.

How guidance is put together is in no weights: a pipeline that leaves the negative prompt out, or counts w from 0,
draws from a sound network what nobody asked for. Its images tell. They are drawn again from the noise that they began
with: once as the settings say, and once for each thing that a pipeline is known to do otherwise. The way that comes
out like the images is the way that they were made.
"""

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import Finding, Row, Subject, check
from diffeval.checks.made_images import Made
from diffeval.checks.ways import Way, samplers, ways
from diffeval.data.pixels import Images
from diffeval.diffusion.samplers import is_stochastic
from diffeval.diffusion.sampling import Generator
from diffeval.errors import DiffevalError
from diffeval.metrics.metric import Array

# How many times as near another way must be than what the settings say, and on what share of images; and the levels
# that rounding alone may make.
CLEARER, MOST, ROUNDED = 2.0, 0.75, 0.3
# Images that are drawn at once, where they are of this many pixels at most.
TOGETHER, SMALL = 16, 128 * 128
# Shares of the distance between images of different noise: below the first a way is near, above the second nothing has
# to do with the images.
NEAR, UNRELATED = 0.25, 0.6
# Keys the noise that nobody's images began with.
OTHER_NOISE = 77


@dataclass(frozen=True, slots=True)
class Compared:
    """Images that were drawn in one way.

    Attributes:
        error: root mean square difference from the images that were made, in levels [n].
        moved: the same from what is drawn as the settings say.
    """

    error: Array
    moved: Array

    @property
    def far(self) -> float:
        """Median distance from the images that were made."""
        return float(np.median(self.error))


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

    Fails where another way is twice as near, on three images of four, and names it. Passes where what the settings say
    is within ``same``. Warns where it is near, a quarter of ``unrelated`` or less, and no other way is nearer: as
    after JPEG, or in other precision. Inconclusive where nothing comes near, as where the noise is not what the images
    began with.

    Ways that are tried: no negative prompt; no guidance; other w, as where it is counted from 0, eps_cond +
    w (eps_cond - eps_uncond); its branches exchanged; prompt or class left out; colours in reverse; and, unless what
    the settings say comes out to the pixel, other samplers.

    Args:
        subject: what is looked at; its settings are those that the images are said to be made with.
        same: levels that half precision and other hardware may move images by.
        images: that are drawn again, at most.

    Cost: ``images`` samples for each way, at most 28.

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
    if there.constant:
        return Finding("inconclusive", f"{there.constant} of {len(there.images)} images are of a single colour")
    tried = list(ways(checkpoint, subject.generator, there))
    subject.reporter.stage("reproduction", len(tried), "ways")
    found = {tried[0]: drawn.compared(tried[0])}
    found |= {way: one for way in tried[1:] if (one := drawn.if_finite(way)) is not None}
    if found[tried[0]].far > ROUNDED:
        others = samplers(checkpoint, subject.generator)
        found |= {way: one for way in others if (one := drawn.if_finite(way)) is not None}
    return _judge(found, drawn.unrelated(tried[0]), same)


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
        made.require_classes(checkpoint)
        self._stated: Images | None = None

    def compared(self, way: Way) -> Compared:
        """How far images that are drawn so are from those that were made.

        Raises:
            DiffevalError: if they hold NaN or infinity.
        """
        found = self._images(way, self._noise)
        if self._stated is None:
            self._stated = found
        return Compared(_apart(found, self._made.images), _apart(found, self._stated))

    def if_finite(self, way: Way) -> Compared | None:
        """The same; None for a way in which nothing can be drawn, and so nothing was."""
        try:
            return self.compared(way)
        except DiffevalError:
            return None

    def unrelated(self, way: Way) -> float:
        """Median difference between the images and others of the same conditions that began with other noise."""
        noise = torch.randn(self._noise.shape, generator=torch.Generator().manual_seed(OTHER_NOISE))
        return float(np.median(_apart(self._images(way, noise), self._made.images)))

    def _images(self, way: Way, noise: torch.Tensor) -> Images:
        rows, size = range(len(noise)), self._together
        found = np.concatenate([self._drawn(way, noise, list(rows[first : first + size])) for first in rows[::size]])
        return found[:, ::-1] if way.reversed else found

    @torch.inference_mode()
    def _drawn(self, way: Way, noise: torch.Tensor, chosen: list[int]) -> Images:
        denoiser, w = self._checkpoint.denoiser, way.w
        if self._checkpoint.at_w is not None and w is not None:
            denoiser = self._checkpoint.at_w(w)
        generator = replace(self._generator, w=w, denoiser=denoiser, sampler=way.sampler or self._generator.sampler)
        condition, null = self._conditions(way, chosen)
        steps = generator.follow(noise[chosen], condition, null, generator.sampler.step_options)
        (last,) = deque(steps, maxlen=1)
        return generator.to_uint8(generator.decode(last.after), chosen)

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


def _apart(one: Images, other: Images) -> Array:
    """Root mean square difference of each image, in levels [n]."""
    gap = one.astype(np.float64) - other
    found: Array = np.sqrt((gap**2).mean(axis=(1, 2, 3)))
    return found


def _judge(found: dict[Way, Compared], unrelated: float, same: float) -> Finding:
    stated = next(iter(found))
    best = min(found, key=lambda way: found[way].far)
    order = np.stack([one.error for one in found.values()]).argmin(axis=0)
    decided = float((order == list(found).index(best)).mean())
    far, nearest = found[stated].far, found[best].far
    values = {"as_stated": far, "nearest": nearest, "unrelated": unrelated, "decided": decided}
    rows: tuple[Row, ...] = tuple(
        {"way": way.name, "difference": one.far, "nearest_of": int((order == number).sum())}
        for number, (way, one) in enumerate(found.items())
    )
    told = f"{far:.2g} levels from what the settings say"
    clear = nearest * CLEARER < max(far, ROUNDED) and decided >= MOST
    if best is not stated and clear and nearest < UNRELATED * unrelated:
        return Finding(
            "fail",
            f"the images are made with {best.name}: {nearest:.2g} levels from that, {told}",
            values,
            best.fix,
            ruled_out=tuple(way.name for way in found if way not in (best, stated))[:6],
            rows=rows,
        )
    if far <= same:
        alike = [way.name for way, one in found.items() if way is not stated and float(np.median(one.moved)) <= far]
        so = f"; {' and '.join(alike[:2])} would change no more than that, and cannot be told" if alike else ""
        count = f"{len(order)} images come out as they were made"
        return Finding("pass", f"{count}: {far:.2g} levels apart (limit {same:g}){so}", values, rows=rows)
    if far <= NEAR * unrelated:
        return Finding(
            "warn",
            f"the images come out nearly as they were made, {told} (limit {same:g}), {unrelated:.2g} between images "
            f"of different noise; no way that is known is clearly nearer",
            values,
            "save images without loss, and compare w, steps, sampler, rescale and precision with the pipeline's",
            rows=rows,
        )
    return Finding(
        "inconclusive",
        f"the images are not made so, nor in any way that is known: {told}, {nearest:.2g} from {best.name}, "
        f"{unrelated:.2g} between images of different noise",
        values,
        "give the noise itself, not seeds, where it was drawn on a GPU or in half precision; and --w, --steps, "
        "--sampler",
        rows=rows,
    )
