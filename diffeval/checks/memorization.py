"""``memorization``: whether training images come back as samples, and whether the network knows them.

Three signs, each held against real images that the network has not seen: samples that copy a training image, AuthPct,
and the denoising gap. Each can have another reason (near-duplicates in the data, samples nearer to the middle of the
data than real images are, images that were seen often), so a failure takes two of them.
"""

from dataclasses import replace

import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import EXPECTED_TIMES, GATE, Calls, Finding, Subject, check
from diffeval.checks.copies import LEAST
from diffeval.checks.denoising_gap import FEW, LEVELS, Gap, denoising_gap
from diffeval.checks.probe import BATCH
from diffeval.checks.real_images import ModelImages
from diffeval.checks.sampled import BATCH as DRAWN
from diffeval.checks.sampled import Limits, Sampled, draw_samples, look_at_samples, samples_of
from diffeval.data.pixels import Images
from diffeval.diffusion.sampling import ROUNDINGS
from diffeval.errors import DiffevalError, StoppedError

# Signs that a failure takes.
ENOUGH = 2
FIX = (
    "train on more images, for fewer steps, or a smaller network; take duplicates out of the data; see that held-out "
    "images are of the same kind"
)


# Images of each kind, and samples, at most.
MOST = 512


def _calls(subject: Subject) -> Calls:
    if subject.images is None or subject.held_out is None:
        return {}
    generator, count = subject.generator, samples_of(subject, MOST)
    together = min(DRAWN, subject.n)
    seen = min(MOST, len(subject.images)) + min(MOST, len(subject.held_out))
    return {
        generator.branches * together: generator.calls * count / together,
        BATCH: len(LEVELS) * (seen + FEW * EXPECTED_TIMES / 2) / BATCH,
    }


@check(
    "memorization",
    about="samples are no copies of training images, and those are not predicted better than held-out ones",
    reads=("images",),
    # Samples of another prediction type are noise of one kind, all near to the same few images.
    symptom_of=("prediction-type",),
    calls=_calls,
)
def memorization(
    subject: Subject,
    *,
    warn: float = 0.1,
    fail: float = 0.25,
    images: int = MOST,
    samples: int = MOST,
    ratio: float = 1 / 3,
    copies: float = 0.01,
    authentic: float = 0.10,
) -> Finding:
    """Copies among samples, AuthPct, and the gap between the risks of held-out and training images.

    Values, each with a 95% interval (``_low``, ``_high``):

    - ``copies_beyond``: the share of samples that copy a training image (``copies``) less that of held-out images
      that look so (``copies_held_out``); 0 where nothing is copied. A copy is nearer to its nearest training image
      than ``ratio`` times the mean distance to the next five, by pixels, by crops that are shifted by a pixel (a 16th
      of larger images), or by features, mirrored or not. Images above 32 pixels are averaged down for pixels and
      crops. Identical training images count once.
    - ``authentic_beyond``: AuthPct, the share of samples that are further from their nearest training image than that
      one is from its own (``authentic``), less that of held-out images (``authentic_held_out``); 0 where nothing is
      wrong, by features, or by pixels where there is no extractor.
    - ``gap``: 1 - R_train / R_heldout, mean over log-SNR 4, 2, 0 and -2; 0 for a network that treats both alike, 1 for
      one that knows every training image. ``auc``, the probability that a training image has the smaller risk of the
      two, 0.5 for a network that treats both alike.

    Fails where two of the three speak: copies beyond ``copies`` with an interval above 0; AuthPct below -``authentic``
    with an interval below 0; a gap above ``fail`` with an interval above ``warn``. One of them warns, as does a gap
    above ``warn``; some gap is usual on few images. AuthPct falls, too, where samples vary too little: a high guidance
    scale, few steps. Samples worse than real images raise it, which can hide a few copies from it, but not from
    ``copies_beyond``.

    Args:
        subject: what is looked at; its images must be those that the network was trained on, all of them.
        warn: gap that is worth a warning.
        fail: gap that speaks. Fitted to short trainings: on 1,297 images gaps were 0.15 and less, on 100 of them 0.53.
        images: of each kind for the gap, at most.
        samples: at most; eight for each seed, fewer where they would take more than 25,600 forward passes. Also the
            held-out images that they are held against, at most.
        ratio: of distances, below which an image is a copy.
        copies: share of copies beyond held-out images' that speaks.
        authentic: fall of AuthPct below held-out images' that speaks.

    Cost: the samples; about 20 forward passes for each of 64 images and each level (4 levels), and one for each of
    1,024 images; features of all training images, once; distances of 512 samples and as many held-out images to all
    training images, on one core: 5 s for 9,000 of 28x28, about 90 s for 50,000 of 3x32x32.

    Source: the ratio: Yoon et al. 2023, with the mean over several neighbours of Carlini et al. 2023, so that a
    near-duplicate does not hide a copy; AuthPct: Alaa et al. 2022, section 4, held against held-out images, as real
    images do not read 50%.
    """
    trained, held_out = subject.images, subject.held_out
    assert trained is not None, "it reads images"
    if held_out is None:
        return no_held_out(trained.spec)
    if min(len(trained), len(held_out)) < LEAST:
        return Finding(
            "inconclusive",
            f"{len(trained)} training and {len(held_out)} held-out images are too few; {LEAST} of each are needed",
        )
    limits = Limits(ratio, copies, authentic)
    sampled = _sampled(subject, held_out.first(samples), samples, limits)
    gap = denoising_gap(subject, trained.first(images), held_out.first(images), warn, fail)
    # A network that knows its training images and nothing else looks untrained on others, but for the gap.
    if not gap.raised and subject.found(GATE).status == "fail":
        return judge(f"the network has learnt nothing that could be read, see {GATE}", sampled)
    return judge(gap, sampled)


def no_held_out(spec: str) -> Finding:
    """Without real images that were not trained on, no number has a meaning."""
    return Finding(
        "not-applicable",
        f"needs images that the network was not trained on, and {spec} has none; put images into folders train and "
        f"heldout and give --ref folder:DIR@train",
    )


def _sampled(subject: Subject, held_out: ModelImages, most: int, limits: Limits) -> Sampled | str:
    """What samples show, or why they cannot be looked at."""
    assert subject.source is not None, "it reads images"
    try:
        return look_at_samples(
            draw_samples(subject, most),
            _pixels(held_out, subject.checkpoint),
            subject.source,
            subject.generator.device,
            subject.reporter,
            limits,
            offline=subject.offline,
        )
    except StoppedError:
        raise
    except DiffevalError as error:
        return str(error)


def _pixels(images: ModelImages, checkpoint: Checkpoint) -> Images:
    """As they were before they were brought into the network's range; of latents, as the autoencoder decodes them."""
    if checkpoint.latents is not None:
        decoded = torch.cat([checkpoint.latents.decode(part) for part in torch.split(images.x0, BATCH)])
        drawn: Images = ROUNDINGS["nearest"](decoded).clamp(0, 255).to(torch.uint8).numpy()
        return drawn
    low, high = checkpoint.value_range
    levels: Images = ((images.x0 - low) / (high - low) * 255.0).round().to(torch.uint8).numpy()
    return levels


def judge(gap: Gap | str, sampled: Sampled | str, *, network: bool = True) -> Finding:
    """The verdict of the signs there are.

    Args:
        gap: the denoising gap, or why there is none.
        sampled: what samples show, or why there are none.
        network: whether there is one, whose gap should have been looked at.
    """
    found, speak = Finding("pass", f"no samples to look at ({sampled})"), list[str]()
    if isinstance(sampled, Sampled):
        found, speak = sampled.finding, [*sampled.speak]
    if isinstance(gap, Gap):
        speak += ["the denoising gap"] if gap.speaks else []
        said = f"{found.summary}; {gap.text}"
        found = replace(found, summary=said, values={**found.values, **gap.values}, rows=gap.rows)
    else:
        found = replace(found, summary=f"{found.summary}; no denoising gap ({gap})")
    if len(speak) >= ENOUGH:
        told = f"training images come back, as {' and '.join(speak)} say: {found.summary}"
        return replace(found, status="fail", summary=told, fix=FIX)
    if speak:
        told = f"{speak[0]} alone may have another reason, a failure takes two signs: {found.summary}"
        return replace(found, status="warn", summary=told, fix=FIX)
    if isinstance(gap, Gap):
        return replace(found, status="warn", fix=FIX) if gap.raised else found
    # Samples of a network that has learnt nothing copy nothing, whatever it was trained on.
    return replace(found, status="inconclusive") if network or not isinstance(sampled, Sampled) else found
