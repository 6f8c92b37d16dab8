"""Extractors of the user's own: ``--extractor pkg.module:factory`` or ``file.py:factory``."""

import hashlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from diffeval.data.pixels import Images
from diffeval.diffusion.batching import is_out_of_memory
from diffeval.diffusion.sampling import full_precision
from diffeval.errors import DiffevalError
from diffeval.features.extractor import Extracted, Extractor, ExtractorRequest, refuse
from diffeval.usercode import call_factory, code_sha256, one_line

BATCH = 64


def own_extractor(spec: str, request: ExtractorRequest) -> Extractor:
    """Calls the user's factory, and tries what it returns on two images.

    The factory takes nothing, or the ``ExtractorRequest``. It returns an ``Extractor``, or a torch module or any other
    callable that maps a uint8 tensor [n, C, H, W] on the device to features [n, d].

    Raises:
        DiffevalError: if there is no such factory, it fails, or what it returns gives no finite features.
    """
    who = f"extractor: {spec}"
    refuse(request, spec, resize=True, fast=True)
    with torch.random.fork_rng(devices=[]):  # networks draw initial weights
        made = call_factory(who, spec, request)
    if isinstance(made, Extractor):
        return made
    if not callable(made):
        raise DiffevalError(f"{who} returns {type(made).__name__}; needs a torch module, a function or an Extractor")
    parts = {type(made).__module__, getattr(made, "__module__", None) or ""}
    digest = hashlib.sha256()
    if isinstance(made, torch.nn.Module):
        made = made.to(request.device).eval().requires_grad_(False)
        parts |= {type(layer).__module__ for layer in made.modules()}
        for name, value in made.state_dict().items():
            digest.update(
                name.encode() + value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            )
    digest.update(code_sha256(parts).encode())
    run = _runner(who, made, request.device)
    features = run(_example(request)).features
    covered = "code and tensors" if isinstance(made, torch.nn.Module) else "code alone, not of what it reads"
    return Extractor(
        name=spec,
        id=f"own/{re.sub(r'[^A-Za-z0-9_.:-]+', '_', spec).replace(':', '.')}/{digest.hexdigest()[:16]}",
        dim=features.shape[1],
        resize="its own",
        classes=(),
        run=run,
        layer="its own",
        normalisation="its own",
        notes=(f"{spec}: {features.shape[1]} dimensions; its id is a hash of its {covered}",),
    )


def _example(request: ExtractorRequest) -> Images:
    """Two images to try with: of the reference, or black ones."""
    source = request.reference
    if source is None or len(source) == 0:
        return np.zeros((2, 3, 32, 32), dtype=np.uint8)
    return np.concatenate([next(source.batches(1))] * 2)


def _runner(who: str, made: Callable[..., Any], device: torch.device) -> Callable[[Images], Extracted]:
    @torch.inference_mode()
    def run(images: Images) -> Extracted:
        parts = [_features(who, made, images[i : i + BATCH], device) for i in range(0, len(images), BATCH)]
        return Extracted(np.concatenate(parts), None)

    return run


def _features(who: str, made: Callable[..., Any], images: Images, device: torch.device) -> np.ndarray[Any, Any]:
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    try:
        with full_precision():
            found = made(pixels)
    except Exception as error:
        if is_out_of_memory(error):  # whoever asked can ask for less
            raise
        raise DiffevalError(f"{who} fails: {one_line(error)}") from error
    if isinstance(found, torch.Tensor):
        found = (found.float() if found.is_floating_point() else found).cpu().numpy()
    array = np.asarray(found)
    shape = tuple(array.shape)
    if len(shape) != 2 or shape[0] != len(images) or not shape[1] or not np.issubdtype(array.dtype, np.floating):
        raise DiffevalError(
            f"{who} gives {array.dtype} of shape {shape} for {len(images)} images; needs floating point [n, d]"
        )
    if not np.isfinite(array).all():
        raise DiffevalError(f"{who} gives NaN or infinity")
    return array.astype(np.float32)
