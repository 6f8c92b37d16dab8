"""``vae``: what the autoencoder of a latent model loses, shifts or reverses, before any denoising."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from diffeval.checkpoints.latents import Latents
from diffeval.checks.check import Finding, Pictures, Row, Subject, check
from diffeval.checks.round_trip import RoundTrip, delta_e, gamma, non_finite, psnr, ssim, trip
from diffeval.checks.sampled import draw_samples
from diffeval.diffusion.batching import is_out_of_memory
from diffeval.errors import DiffevalError, StoppedError
from diffeval.measured import Extracting, Reference, plan_extractor
from diffeval.metrics.debias import debiased_frechet
from diffeval.metrics.metric import METRICS, FeatureSet
from diffeval.runs.records import CheckStatus

SHOWN, DTYPES = 6, (torch.float16, torch.bfloat16)
NAMES = {torch.float16: "fp16", torch.bfloat16: "bf16"}


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a number stops being well; see ``vae``."""

    psnr: float
    spread: tuple[float, float]
    far: float
    offset: float
    tone: float
    shift: float
    drift: float


@check(
    "vae", about="what the autoencoder loses: round trips, colours, tones, the scale of its latents", reads=("images",)
)
def vae(
    subject: Subject,
    *,
    images: int = 256,
    least_psnr: float = 20.0,
    least_spread: float = 0.8,
    most_spread: float = 1.25,
    far: float = 4 / 3,
    most_offset: float = 0.3,
    most_tone: float = 0.05,
    most_shift: float = 0.02,
    most_drift: float = 3.0,
) -> Finding:
    """Real images to latents and back, and what samples have to do with it.

    Values: ``psnr`` in dB and ``ssim``, means over images; ``latent_std``, ``latent_mean``, of x_0 as the network has
    it: declared scaling brings the first near 1 (0.18215 in the place of 0.13025 makes 1.4 of it); ``gamma``, the
    exponent that brings real pixels nearest to what comes back; ``shift_<channel>``, means that move, of 1;
    ``delta_e`` in CIELAB; ``psnr_loss_5``, what four more trips lose; ``non_finite_<dtype>``, the share of images that
    end in NaN; ``fd_reconstruction``, the Fréchet distance of what came back, without bias, below which no denoiser
    goes; beside it ``fd_samples_to_real`` and ``fd_samples_to_reconstruction``, of as many samples: the second is what
    the denoiser has to mend.

    Fails for channels in reverse, tones that are bent, and latents whose spread is off by more than a third. Warns for
    the rest.

    Args:
        subject: what is looked at.
        images: real images to spend.
        least_psnr: mean PSNR that warns below; autoencoders of Stable Diffusion have 25 to 30.
        least_spread: standard deviation of latents that warns below.
        most_spread: that warns above.
        far: factor from 1 at which it fails.
        most_offset: mean of latents that warns above, in either direction.
        most_tone: distance of gamma from 1 that fails, where it explains a tenth of the error or more.
        most_shift: of a channel's mean, that warns.
        most_drift: dB that four more trips may lose before ``least_psnr`` holds of what is left, too.

    Source: the limits of the latents' spread lie between what sound pairs have and what the usual wrong factor does
    (1.4); Rombach et al. 2022 scale to 1. SSIM is Wang et al.'s of 2004, colours CIE 1976.
    """
    latents = subject.checkpoint.latents
    if latents is None:
        return Finding("not-applicable", "the network works on pixels, without an autoencoder")
    assert subject.source is not None, "it reads images"
    limits = Limits(least_psnr, (least_spread, most_spread), far, most_offset, most_tone, most_shift, most_drift)
    if subject.source.shape != latents.shape:
        ours, theirs = ("x".join(map(str, one)) for one in (latents.shape, subject.source.shape))
        return Finding("not-applicable", f"images of {subject.source.spec} are {theirs}, the autoencoder takes {ours}")
    pixels = _pixels(subject, images)
    back, between = trip(latents, pixels)
    seen = RoundTrip((pixels / 2.0 + 0.5).double().cpu().numpy(), back, between)
    values = _values(seen, latents, pixels)
    halves, untried = _halves(latents, pixels)
    distances, why = _distances(subject, seen, images)
    values |= halves | distances
    said = [
        *_bent(seen, values, limits),
        *_scaled(values, latents, limits),
        *_lost(values, limits),
        *_in_half(values, subject),
    ]
    return _judge(said, values, seen, why, untried)


def _pixels(subject: Subject, count: int) -> torch.Tensor:
    """Real images from -1 to 1, in an order drawn once and for all, where the autoencoder is."""
    source = subject.source
    assert source is not None, "it reads images"
    order = np.random.Generator(np.random.Philox(key=0)).permutation(len(source))[:count]
    read = torch.from_numpy(source.pixels.read(order)).float()
    return (read / 127.5 - 1.0).to(subject.generator.device)


def _values(seen: RoundTrip, latents: Latents, pixels: torch.Tensor) -> dict[str, float]:
    losses = psnr(seen.real, seen.back)
    values = {
        "psnr": float(losses.mean()),
        "ssim": float(ssim(seen.real, seen.back).mean()),
        "latent_std": float(seen.latents.std()),
        "latent_mean": float(np.abs(seen.latents.mean(axis=(0, 2, 3))).max()),
        "gamma": gamma(seen.real, seen.back),
    }
    shifts = (seen.back - seen.real).mean(axis=(0, 2, 3))
    names = ("red", "green", "blue") if len(shifts) == 3 else tuple(map(str, range(len(shifts))))
    values |= {f"shift_{name}": float(shift) for name, shift in zip(names, shifts, strict=True)}
    if len(shifts) == 3:
        values["delta_e"] = delta_e(seen.real, seen.back)
        values["psnr_reversed"] = float(psnr(seen.real[:, ::-1], seen.back).mean())
    again = seen.back
    few = torch.from_numpy(again[:32]).float().to(pixels.device)
    for _ in range(4):
        more, _ = trip(latents, few * 2.0 - 1.0)
        few = torch.from_numpy(more).float().to(pixels.device)
    last = few.double().cpu().numpy()
    values["psnr_loss_5"] = float((losses[:32] - psnr(seen.real[:32], last)).mean())
    return values


def _halves(latents: Latents, pixels: torch.Tensor) -> tuple[dict[str, float], str]:
    """Shares of images that end in NaN by precision, and which could not be tried."""
    found = {NAMES[cast]: non_finite(latents, pixels[:8], cast) for cast in DTYPES}
    untried = "".join(f"; {name} could not be tried ({one})" for name, one in found.items() if isinstance(one, str))
    return {f"non_finite_{name}": one for name, one in found.items() if not isinstance(one, str)}, untried


def _distances(subject: Subject, seen: RoundTrip, most: int) -> tuple[dict[str, float], str]:
    """Fréchet distances, without bias, of what came back and of samples; or why there are none."""
    assert subject.source is not None, "it reads images"
    try:
        extracting = Extracting(offline=subject.offline)
        extractor = plan_extractor(Reference(subject.source), extracting, subject.generator.device, subject.reporter)
        if len(seen.real) < METRICS["fid"].needs(extractor.dim):
            return {}, f"{len(seen.real)} images are too few for {extractor.dim} dimensions"
        levels = [(side * 255.0).round().astype(np.uint8) for side in (seen.back, seen.real)]
        back, real = (FeatureSet(extractor.run(side).features.astype(np.float64)) for side in levels)
        found = {"fd_reconstruction": debiased_frechet(back, real, independent=False).value}
        drawn = draw_samples(subject, most)
        if len(drawn) < METRICS["fid"].needs(extractor.dim):
            return found, ""
        samples = FeatureSet(extractor.run(drawn).features.astype(np.float64))
        for name, side in (("real", real), ("reconstruction", back)):
            found[f"fd_samples_to_{name}"] = debiased_frechet(samples, side, independent=False).value
        return found, ""
    except StoppedError:
        raise
    except DiffevalError as error:
        return {}, str(error)
    except (RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        return {}, str(error)


Said = tuple[CheckStatus, str, str]


def _bent(seen: RoundTrip, values: dict[str, float], limits: Limits) -> list[Said]:
    """Channels in reverse, and tones that are bent: what loses detail does neither."""
    found: list[Said] = []
    turned = values.get("psnr_reversed")
    if turned is not None and turned > values["psnr"] + 1.0:
        found.append((
            "fail", f"channels come back in reverse: with BGR for RGB the round trip has {turned:.1f} dB, as it is "
                f"{values['psnr']:.1f}",
            "swap the channels where images are fed to the autoencoder, or where they are decoded",
        ))  # fmt: skip
    bent = values["gamma"]
    if abs(bent - 1.0) > limits.tone:
        plain, straight = (((seen.real**power - seen.back) ** 2).mean() for power in (1.0, bent))
        if straight < 0.9 * plain:
            found.append((
                "fail", f"tones are bent: images come back as real ones to the power {bent:.2f}",
                "take the gamma out of the decoder's output",
            ))  # fmt: skip
    return found


def _scaled(values: dict[str, float], latents: Latents, limits: Limits) -> list[Said]:
    """Latents whose spread is not near 1."""
    spread, (low, high) = values["latent_std"], limits.spread
    found: list[Said] = []
    if not low <= spread <= high:
        right = latents.scale / spread
        status: CheckStatus = "warn" if 1.0 / limits.far <= spread <= limits.far else "fail"
        found.append((
            status, f"latents times scaling_factor {latents.scale:g} have a standard deviation of {spread:.3g}, "
                f"limits {low:g} .. {high:g}",
            f"a scaling_factor of {right:.4g} would bring it to 1; look which one the network was trained with",
        ))  # fmt: skip
    if values["latent_mean"] > limits.offset:
        found.append((
            "warn", f"a channel of the latents has a mean of {values['latent_mean']:.2f}, limit {limits.offset:g}",
            "look at the autoencoder's shift_factor",
        ))  # fmt: skip
    return found


def _lost(values: dict[str, float], limits: Limits) -> list[Said]:
    """Detail and colours that do not come back."""
    found: list[Said] = []
    if values["psnr"] < limits.psnr:
        found.append((
            "warn", f"a round trip keeps {values['psnr']:.1f} dB, limit {limits.psnr:g}",
            "no denoiser draws what the autoencoder cannot: use a better one, or larger images",
        ))  # fmt: skip
    moved = {name: shift for name, shift in values.items() if name.startswith("shift_") and abs(shift) > limits.shift}
    if moved:
        named = ", ".join(f"{name.removeprefix('shift_')} by {shift:+.3f}" for name, shift in moved.items())
        found.append(
            ("warn", f"colours move: {named} of 1, limit {limits.shift:g}", "look at the decoder's output range")
        )
    left = values["psnr"] - values["psnr_loss_5"]
    if values["psnr"] >= limits.psnr > left and values["psnr_loss_5"] > limits.drift:
        found.append((
            "warn", f"four more trips leave {left:.1f} of {values['psnr']:.1f} dB, limit {limits.psnr:g}",
            "edit images in latents, not by repeated round trips",
        ))  # fmt: skip
    return found


def _in_half(values: dict[str, float], subject: Subject) -> list[Said]:
    """NaN: diffeval decodes in float32, whoever uses half precision does not."""
    broken = [name.removeprefix("non_finite_") for name, share in values.items()
              if name.startswith("non_finite_") and share > 0]  # fmt: skip
    if not broken:
        return []
    return [(
        "warn", f"decoded in {', '.join(broken)} images end in NaN or infinity; here they are decoded in float32",
        "decode in float32 (force_upcast), or use an autoencoder mended for half precision",
    )]  # fmt: skip


def _judge(said: Sequence[Said], values: dict[str, float], seen: RoundTrip, why: str, untried: str) -> Finding:
    ranked: tuple[CheckStatus, ...] = ("fail", "warn")
    worst: CheckStatus = next((status for status in ranked if any(one[0] == status for one in said)), "pass")
    told = "; ".join(text for status, text, _ in said if status == worst) or (
        f"a round trip keeps {values['psnr']:.1f} dB, latents have a standard deviation of {values['latent_std']:.2f}"
    )
    fixes = "; ".join(fix for status, _, fix in said if status == worst)
    without = f"; no Fréchet distance ({why.partition(';')[0]})" if why else ""
    rows: tuple[Row, ...] = tuple({"value": name, "is": value} for name, value in values.items())
    return Finding(
        worst,
        f"{told}{without}{untried}",
        values,
        fixes,
        tables={"numbers": rows},
        pictures=_pictures(seen),
        proven=True,
    )


def _pictures(seen: RoundTrip) -> Pictures:
    """Real images, and what came back of them."""
    sides = [(side[:SHOWN] * 255.0).round().astype(np.uint8) for side in (seen.real, seen.back)]
    return Pictures(
        np.stack(sides, axis=1),
        tuple(f"real image {number}" for number in range(len(sides[0]))),
        ("real", "came back"),
        "Real images, and what the autoencoder makes of them on the way there and back.",
    )
