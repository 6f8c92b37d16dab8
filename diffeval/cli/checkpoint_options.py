"""Options on a checkpoint: how it is read, and how images are drawn from it."""

from dataclasses import dataclass
from typing import Annotated

import typer

CHECKPOINT, SAMPLING, PARTS = "Checkpoint", "Sampling", "Parts of the work"


@dataclass(frozen=True, slots=True)
class Loading:
    """How the checkpoint is read; what its files declare is overridden."""

    model: Annotated[
        str | None,
        typer.Option(
            help="Factory of the network of a weights file, pkg.module:factory or file.py:factory.",
            rich_help_panel=CHECKPOINT,
        ),
    ] = None
    key: Annotated[
        str | None, typer.Option(help="Where the weights lie in the file, e.g. ema.", rich_help_panel=CHECKPOINT)
    ] = None
    raw: Annotated[
        bool | None,
        typer.Option(
            "--raw/--ema", help="Weights without or with averaging; by default with.", rich_help_panel=CHECKPOINT
        ),
    ] = None
    null_class: Annotated[
        str | None, typer.Option(help="Class index that means no class, or none.", rich_help_panel=CHECKPOINT)
    ] = None
    schedule: Annotated[
        str | None,
        typer.Option(
            help="linear, scaled_linear, squaredcos_cap_v2, sigmoid; .npy of alpha-bar; or a scheduler's folder.",
            rich_help_panel=CHECKPOINT,
        ),
    ] = None
    timesteps: Annotated[int | None, typer.Option(help="Training timesteps.", rich_help_panel=CHECKPOINT)] = None
    zero_snr: Annotated[
        bool | None,
        typer.Option(
            "--zero-snr/--no-zero-snr", help="--schedule rescaled to zero terminal SNR.", rich_help_panel=CHECKPOINT
        ),
    ] = None
    prediction: Annotated[
        str | None, typer.Option(help="epsilon, sample or v_prediction.", rich_help_panel=CHECKPOINT)
    ] = None
    value_range: Annotated[
        str | None, typer.Option(help="Of the training pixels, e.g. 0,1.", rich_help_panel=CHECKPOINT)
    ] = None
    time: Annotated[
        str | None,
        typer.Option(
            help="What the network takes as time: step, t/T, log-snr, sigma or none.", rich_help_panel=CHECKPOINT
        ),
    ] = None
    classes: Annotated[
        int | None, typer.Option(help="Classes, without the null class.", rich_help_panel=CHECKPOINT)
    ] = None
    shape: Annotated[
        str | None, typer.Option(help="Of the images, C,H,W, e.g. 3,32,32.", rich_help_panel=CHECKPOINT)
    ] = None
    preconditioning: Annotated[
        str | None,
        typer.Option(
            help="edm, edm-denoiser or none; with numbers: edm:sigma_data=0.5,sigma_max=80.",
            rich_help_panel=CHECKPOINT,
        ),
    ] = None
    learned_variance: Annotated[
        bool | None,
        typer.Option(
            "--learned-variance/--no-learned-variance",
            help="The output holds a variance behind the prediction.",
            rich_help_panel=CHECKPOINT,
        ),
    ] = None
    safety_checker: Annotated[
        bool | None,
        typer.Option(
            "--safety-checker/--no-safety-checker",
            help="Whether a pipeline's own may blank images.",
            rich_help_panel=CHECKPOINT,
        ),
    ] = None
    vae_tiling: Annotated[
        bool,
        typer.Option(
            "--vae-tiling",
            help="Decode a pipeline's images in overlapping tiles: less memory, slightly other pixels.",
            rich_help_panel=CHECKPOINT,
        ),
    ] = False
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit on the hub.", rich_help_panel=CHECKPOINT)
    ] = None
    offline: Annotated[bool, typer.Option("--offline", help="Never ask the network.", rich_help_panel=CHECKPOINT)] = (
        False
    )


@dataclass(frozen=True, slots=True)
class Sampling:
    """How images are drawn."""

    seed: Annotated[int, typer.Option(help="Keys the noise of every image.", rich_help_panel=SAMPLING)] = 0
    sampler: Annotated[
        str | None,
        typer.Option(
            help="ddpm, ddim, dpm++, euler, heun, pndm or unipc; by default the checkpoint's own.",
            rich_help_panel=SAMPLING,
        ),
    ] = None
    steps: Annotated[int | None, typer.Option(help="Sampling steps.", rich_help_panel=SAMPLING)] = None
    w: Annotated[
        float | None,
        typer.Option("--w", help="Guidance scale: eps_uncond + w (eps_cond - eps_uncond).", rich_help_panel=SAMPLING),
    ] = None
    eta: Annotated[float | None, typer.Option(help="Noise that ddim adds, from 0 to 1.", rich_help_panel=SAMPLING)] = (
        None
    )
    karras: Annotated[
        bool | None, typer.Option("--karras/--no-karras", help="Karras noise levels.", rich_help_panel=SAMPLING)
    ] = None
    interval: Annotated[
        str | None,
        typer.Option(help="Noise levels sigma at which guidance acts, e.g. 0.3:5.", rich_help_panel=SAMPLING),
    ] = None
    rescale: Annotated[float | None, typer.Option(help="Guidance rescale phi, 0 to 1.", rich_help_panel=SAMPLING)] = (
        None
    )
    threshold: Annotated[
        float | None,
        typer.Option(help="Dynamic thresholding of x_0 at this quantile, e.g. 0.995.", rich_help_panel=SAMPLING),
    ] = None
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=SAMPLING)] = "auto"
    dtype: Annotated[str, typer.Option(help="fp32, fp16 or bf16, of the network.", rich_help_panel=SAMPLING)] = "fp32"
    batch: Annotated[
        int | None,
        typer.Option(help="Images per network call; by default fitted to memory.", rich_help_panel=SAMPLING),
    ] = None
    offload: Annotated[
        bool,
        typer.Option(
            "--offload",
            help="Keep the network's weights on the CPU, each layer on the device only while it works.",
            rich_help_panel=SAMPLING,
        ),
    ] = False
    compile: Annotated[
        str,
        typer.Option(
            help="auto, on or off: compile the network; auto where the work ahead pays for it.",
            rich_help_panel=SAMPLING,
        ),
    ] = "auto"
    shard: Annotated[
        str | None,
        typer.Option(
            help="Make one part of the images by itself, e.g. 2/8; diffeval runs merge joins them.",
            rich_help_panel=PARTS,
        ),
    ] = None
