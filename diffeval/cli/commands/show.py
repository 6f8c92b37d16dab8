"""``diffeval show``."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffeval.cli.loading import load_checkpoint
from diffeval.cli.options import Common, Loading, with_options
from diffeval.cli.running import document, reporting

if TYPE_CHECKING:
    from diffeval.checkpoints.checkpoint import Checkpoint


@with_options
def show(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CKPT", help="digits, a diffusers folder, hf:ORG/NAME, or a weights file with --model."
        ),
    ],
    common: Common,
    loading: Loading,
) -> None:
    """What was understood of a checkpoint, and what was assumed, with the flag that changes it.

    Examples:
    diffeval show digits
    diffeval show model.pt --model net.py:make --schedule linear --time t/T
    """
    with reporting(common):
        loaded = load_checkpoint(checkpoint, loading)
        understood = _understood(loaded)
        if common.json:
            document("diffeval.show/1", **understood)
            return
        width = max(len(name) for name in understood) + 2
        listed = ("assumed", "overridden")
        for name, value in understood.items():
            if name not in listed:
                print(f"{_title(name):<{width}}{_text(value)}")
        for name in listed:
            for line in understood[name]:
                print(f"{_title(name):<{width}}{line}")
        if not understood["assumed"]:
            print(f"{'assumed':<{width}}nothing")


def _understood(loaded: "Checkpoint") -> dict[str, Any]:
    """The checkpoint as plain values."""
    from diffeval.checkpoints.adapt import Adapter

    schedule, adapter = loaded.schedule, loaded.adapter
    first, last = (float(end) for end in schedule.log_snr[[0, -1]])
    assert isinstance(adapter, Adapter), "every loader of a network adapts it"
    sampler = loaded.sampler
    return {
        "checkpoint": loaded.name,
        "path": str(loaded.path),
        "sha256": loaded.sha256,
        "network": type(loaded.network).__name__,
        "parameters": sum(parameter.numel() for parameter in loaded.network.parameters()),
        "weights": loaded.weights,
        "raw_weights": loaded.raw is not None,
        "shape": list(loaded.shape),
        "images": list(loaded.image_shape),
        "autoencoder": _autoencoder(loaded),
        "text": _text_condition(loaded),
        "value_range": list(loaded.value_range),
        "schedule": schedule.name,
        "timesteps": schedule.timesteps,
        "log_snr_first": first,
        # JSON has no infinity: null where the last timestep is pure noise.
        "log_snr_last": None if schedule.zero_terminal_snr else last,
        "zero_terminal_snr": schedule.zero_terminal_snr,
        "prediction": loaded.prediction,
        "time": "a function of t" if callable(adapter.time) else "sigma" if adapter.edm else adapter.time,
        "preconditioning": None if adapter.edm is None else dataclasses.asdict(adapter.edm),
        "learned_variance": adapter.learned_variance,
        "classes": list(loaded.classes),
        "null_class": adapter.conditions[-1] if loaded.null_class is not None else None,
        "sampler": None if sampler is None else {"name": sampler.name, **sampler.recorded()},
        "steps": loaded.steps,
        "guidance": loaded.guidance if loaded.classes or loaded.text else None,
        "w is": None if not loaded.text else "an input of the network" if loaded.text.distilled else "applied outside",
        "reference": loaded.reference,
        "assumed": list(loaded.assumptions),
        "overridden": list(loaded.overrides),
    }


def _autoencoder(loaded: "Checkpoint") -> dict[str, Any] | None:
    """Of a latent model: its class, and how its latents are scaled."""
    if loaded.latents is None:
        return None
    return {"class": type(loaded.latents.vae).__name__, "scale": loaded.latents.scale, "shift": loaded.latents.shift}


def _text_condition(loaded: "Checkpoint") -> dict[str, Any] | None:
    """Of a text-to-image model: how much it reads, and what lies beside it."""
    if loaded.text is None:
        return None
    sizes = {name: list(value) for name, value in loaded.text.recorded.items()}
    return {"tokens": loaded.text.longest, "prompts_beside_it": len(loaded.text.prompts), **sizes}


def _title(name: str) -> str:
    return name.replace("_", " ")


def _text(value: Any) -> str:
    """A value, for people."""
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(one)}" for key, one in value.items())
    if isinstance(value, list):
        shown = ", ".join(map(_text, value[:10])) + (", ..." if len(value) > 10 else "")
        return f"{len(value)}: {shown}" if isinstance(value[0], str) else shown
    return f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def add(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(show)
