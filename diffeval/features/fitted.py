"""The ``fitted`` extractor: a small network trained on the reference itself.

Inception was trained on photographs, and is all but blind to differences between other images. A network of the
reference's own classes sees them. It is trained once, on the reference alone, and kept by content.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from safetensors import SafetensorError

from diffeval.cache import cache_folder
from diffeval.data.pixels import Images, Shape
from diffeval.data.source import ImageSource
from diffeval.diffusion.sampling import full_precision
from diffeval.errors import DiffevalError
from diffeval.features.extractor import EXTRACTORS, UNFITTED, Extracted, Extractor, ExtractorRequest, refuse
from diffeval.features.fitting import DIM, RECIPE, FittedNetwork, accuracy, fit, retrieval, to_input
from diffeval.features.reference import held_out_source
from diffeval.progress import Reporter
from diffeval.runs.files import replace_bytes
from diffeval.runs.paths import regular

LEAST, MOST = 200, 20_000
# Images that the stated quality is measured on.
JUDGED, RETRIEVED = 2000, 500
# Share of the reference that is left out of the training where it has no held-out part.
LEFT_OUT = 0.1
FORMAT = "diffeval.fitted/1"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained network and what is known of it.

    Attributes:
        network: the network.
        shape: (C, H, W) of the images it was trained on.
        classes: that its logits stand for; empty where it was trained without labels.
        origin: spec of the reference.
        quality: how well it does on images it was not trained on, in words.
    """

    network: FittedNetwork
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    origin: str
    quality: str


@EXTRACTORS.register("fitted")
def fitted(request: ExtractorRequest) -> Extractor:
    """Finds the extractor that was fitted to these images, or fits it; about a minute on a CPU.

    Raises:
        DiffevalError: without images to fit it to, for too few of them, or for a weights file of another kind.
    """
    refuse(request, "fitted", variant=True, resize=True, fast=True)
    content, path = _stored(request)
    found = _read(content, path)
    note = f"fitted to {found.origin}: {found.quality}; its weights are {path}, for --weights elsewhere"
    return running(found, request.device, (note,))


def running(found: Fitted, device: torch.device, notes: tuple[str, ...] = ()) -> Extractor:
    """The extractor that a fitted network is.

    Args:
        found: the network; it is moved to the device.
        device: where it runs.
        notes: what the user should hear.
    """
    fingerprint = _hash(found.network)
    network = found.network.to(device)

    @torch.inference_mode()
    def run(images: Images) -> Extracted:
        if images.shape[1:] != found.shape:
            got, needed = ("x".join(map(str, shape)) for shape in (images.shape[1:], found.shape))
            raise DiffevalError(
                f"extractor: fitted was trained on {needed} images of {found.origin}, got {got}; choose another "
                f"--extractor"
            )
        with full_precision():
            features = network.features(to_input(images).to(device))
            logits = network.head(features).cpu().numpy() if found.classes else None
            return Extracted(features.cpu().numpy(), logits)

    return _extractor(fingerprint, found.classes, found.shape, run, notes)


def rehearsed(
    source: ImageSource, held_out: ImageSource | None, device: torch.device, reporter: Reporter, steps: int
) -> Extractor:
    """An extractor that takes as long as the one that would be fitted, and sees nothing: it had few steps.

    Args:
        source: the reference.
        held_out: see ``train``.
        device: where it is to run.
        reporter: hears of each step.
        steps: optimiser steps.
    """
    return running(_read(_write(train(source, held_out, reporter, steps=steps)), Path("rehearsal")), device)


def _extractor(
    fingerprint: str,
    classes: tuple[str, ...],
    shape: Shape,
    run: Callable[[Images], Extracted],
    notes: tuple[str, ...] = (),
) -> Extractor:
    return Extractor(
        name="fitted",
        id=f"fitted/penultimate/{fingerprint}",
        dim=DIM,
        resize="none",
        classes=classes,
        run=run,
        layer="penultimate",
        normalisation="to [-1, 1], averaged down to a side of at most 32",
        notes=notes,
        takes=shape,
    )


def _draft(source: ImageSource) -> Extractor:
    """What is known before it is trained."""

    def run(images: Images) -> Extracted:
        raise RuntimeError("this extractor was never fitted")

    return _extractor(UNFITTED, source.classes, source.shape, run)


def _hash(network: FittedNetwork) -> str:
    """Of the tensors alone: where the images lay is no part of what it computes."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _stored(request: ExtractorRequest) -> tuple[bytes, Path]:
    """The user's file, the one in the cache, or one that is made now."""
    if request.weights is not None:
        try:
            return regular(request.weights).read_bytes(), request.weights
        except OSError as error:
            raise DiffevalError(
                f"extractor: fitted cannot read {request.weights}: {error.strerror}; leave --weights out to fit one"
            ) from error
    source = request.reference
    if source is None:
        kept = _kept(request.wanted)
        if kept is not None:
            return kept.read_bytes(), kept
        raise DiffevalError(
            "extractor: fitted is trained on images of the reference, and statistics hold none; give images with "
            "--ref, or a fitted network with --weights"
        )
    if len(source) < LEAST:
        raise DiffevalError(
            f"extractor: fitted needs {LEAST} images to be trained on, {source.spec} holds {len(source)}; choose "
            f"another --extractor"
        )
    held_out = held_out_source(source)
    path = cache_folder() / "fitted" / f"{_key(source, held_out)}.safetensors"
    if path.is_file():
        return path.read_bytes(), path
    request.before_fitting(_draft(source))
    content = _write(train(source, held_out, request.reporter))
    try:
        replace_bytes(path, content)
    except DiffevalError as error:
        request.reporter.note(f"the cache is not used: {error}")
    return content, path


def _kept(wanted: str | None) -> Path | None:
    """The file in the cache whose network has this id; None without one."""
    for path in sorted((cache_folder() / "fitted").glob("*.safetensors")) if wanted else ():
        try:
            if wanted == f"fitted/penultimate/{_hash(_read(path.read_bytes(), path).network)}":
                return path
        except (DiffevalError, OSError):
            continue
    return None


def _key(source: ImageSource, held_out: ImageSource | None) -> str:
    """Hash of all that the trained network and its stated quality depend on."""
    digest = hashlib.sha256(f"{RECIPE} {source.content_hash()} {source.classes}".encode())
    for part in (source.labels, None if held_out is None else held_out.labels):
        digest.update(b"none" if part is None else part.tobytes())
    digest.update(b"" if held_out is None else held_out.content_hash().encode())
    return digest.hexdigest()[:32]


def train(
    source: ImageSource, held_out: ImageSource | None, reporter: Reporter, *, steps: int | None = None
) -> Fitted:
    """Fits a network to a source; it never sees ``held_out``, nor, where that is None, a tenth of the source.

    Args:
        source: the images, of one size; a seeded choice of 20,000 where there are more.
        held_out: other images of the same kind, to state the quality on.
        reporter: hears of progress.
        steps: optimiser steps; by default the recipe's.

    Raises:
        DiffevalError: if the images are of different sizes.
    """
    order = _canonical(source)[np.random.Generator(np.random.Philox(0)).permutation(len(source))]
    judge, judged = (source, order[: int(LEFT_OUT * len(source))]) if held_out is None else (held_out, None)
    rows = order[0 if judged is None else len(judged) :][:MOST]
    labels = source.labels if source.labels is not None and len(np.unique(source.labels)) > 1 else None
    kind = "without labels" if labels is None else f"on {len(source.classes)} classes"
    reporter.note(f"extractor: fitting one to {source.spec} {kind}, on the CPU, once")
    x = _inputs(source, rows)
    y = None if labels is None else torch.from_numpy(labels[rows])
    network = fit(x, y, len(source.classes), reporter=reporter, **({} if steps is None else {"steps": steps}))
    some = np.arange(len(judge)) if judged is None else np.sort(judged)
    if y is not None and judge.labels is not None:
        some = some[:: max(1, len(some) // JUDGED)]
        share = accuracy(network, _inputs(judge, some), torch.from_numpy(judge.labels[some]))
        quality = f"accuracy {share:.1%} on {len(some)} images that it was not trained on"
    else:
        some = some[:: max(1, len(some) // RETRIEVED)][:RETRIEVED]
        share = retrieval(network, _inputs(judge, some))
        quality = (
            f"trained without labels, it finds {share:.1%} of {len(some)} unseen images again from a second view "
            f"(by chance {1 / len(some):.1%})"
        )
    return Fitted(network, source.shape, source.classes if y is not None else (), source.spec, quality)


def _canonical(source: ImageSource) -> npt.NDArray[np.int64]:
    """Rows in an order that the images alone give: the same ones in another order make the same network."""
    sums = [
        hashlib.sha256(image.tobytes()).digest()
        for block in np.array_split(np.arange(len(source)), max(1, len(source) // 256))
        for image in source.pixels.read(block)
    ]
    labels = np.zeros(len(source), dtype=np.int64) if source.labels is None else source.labels
    return np.array(sorted(range(len(source)), key=lambda row: (sums[row], labels[row])), dtype=np.int64)


def _inputs(source: ImageSource, rows: npt.NDArray[np.int64]) -> torch.Tensor:
    """Some images as the network takes them; large ones are shrunk a block at a time."""
    blocks = np.array_split(rows, max(1, len(rows) // 256))
    return torch.cat([to_input(source.pixels.read(block)) for block in blocks])


def _write(found: Fitted) -> bytes:
    about = {"shape": found.shape, "classes": found.classes, "origin": found.origin, "quality": found.quality}
    tensors = {name: value.contiguous() for name, value in found.network.state_dict().items()}
    content: bytes = safetensors.torch.save(tensors, metadata={"format": FORMAT, "about": json.dumps(about)})
    return content


def _about(content: bytes) -> dict[str, Any]:
    """What ``_write`` put beside the tensors: the header of a safetensors file is JSON behind its length."""
    length = int.from_bytes(content[:8], "little")
    said = json.loads(content[8 : 8 + length])["__metadata__"]
    if said["format"] != FORMAT:
        raise ValueError(said["format"])
    about: dict[str, Any] = json.loads(said["about"])
    return about


def _read(content: bytes, path: Path) -> Fitted:
    try:
        tensors = safetensors.torch.load(content)
        about = _about(content)
        with torch.device("meta"):  # no initial weights are drawn
            network = FittedNetwork(about["shape"][0], len(about["classes"]) or DIM)
        network.load_state_dict(tensors, assign=True)
        return Fitted(
            network.eval().requires_grad_(False),
            tuple(about["shape"]),
            tuple(about["classes"]),
            about["origin"],
            about["quality"],
        )
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DiffevalError(
            f"extractor: {path} holds no fitted network; leave --weights out to fit one, or name one that fitted kept"
        ) from error
