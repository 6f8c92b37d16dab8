"""Weights files of extractors: where they are looked for, what they must sum to, how they are safely read."""

import hashlib
import os
import pickle
import re
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from diffeval.cache import cache_folder
from diffeval.errors import DiffevalError
from diffeval.features.extractor import ExtractorRequest
from diffeval.features.torchscript import is_archive, read_archive

StateDict = dict[str, torch.Tensor]
BLOCK = 1 << 20
TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Published:
    """Weights as their authors publish them.

    Attributes:
        name: of the file.
        url: where it is fetched from.
        sha256: its hexadecimal digest, or the first digits of it, as far as the authors tell; empty where they do not.
    """

    name: str
    url: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Weights:
    """A weights file that was found.

    Attributes:
        path: where it lies.
        sha256: its digest.
    """

    path: Path
    sha256: str

    @property
    def short(self) -> str:
        """The digest as ids carry it."""
        return self.sha256[:16]


def weights_folder() -> Path:
    """Where downloaded weights lie, and where a user may put them."""
    return cache_folder() / "weights"


def find_weights(owner: str, published: Published, request: ExtractorRequest) -> Weights:
    """The file that the user names; else the one in the cache, or torch hub's; else it is fetched.

    A file under its published name must have the published sum. Any other file is taken as it is: its own sum is in
    the extractor's id.

    Args:
        owner: the extractor, for messages.
        published: its usual weights.
        request: says where else to look, and whether the network may be used.

    Raises:
        DiffevalError: if there is none, if its sum is another, or if it cannot be fetched.
    """
    if request.weights is not None:
        return checked(owner, _existing(owner, request.weights, published), published)
    for folder in (weights_folder(), Path(torch.hub.get_dir()) / "checkpoints"):
        if (folder / published.name).is_file():
            return checked(owner, folder / published.name, published)
    if request.offline:
        raise DiffevalError(
            f"extractor: {owner} has no weights here, and --offline forbids to fetch them; {how(published)}"
        )
    return _fetch(owner, published, request)


def how(published: Published) -> str:
    """How to get a weights file by hand."""
    return (
        f"fetch {published.url} elsewhere and put it into {weights_folder()} as {published.name}, or name it with "
        f"--weights"
    )


def _existing(owner: str, path: Path, published: Published) -> Path:
    if path.is_file():
        return path
    found = "is a folder" if path.is_dir() else "does not exist"
    raise DiffevalError(f"extractor: {owner} needs a weights file, and {path} {found}; {how(published)}")


def checked(owner: str, path: Path, published: Published) -> Weights:
    """The file with its sum, which must be the published one where the file bears the published name.

    Raises:
        DiffevalError: if it is not.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DiffevalError(f"extractor: {owner} cannot read {path}: {error.strerror or error}") from error
    if path.name == published.name and not found.startswith(published.sha256):
        raise DiffevalError(
            f"extractor: {owner}: {path} has sha256 {found}, its authors' file {_expected(published)}: it is damaged "
            f"or another file; delete it and fetch {published.url}, or rename it if it is meant to be another"
        )
    return Weights(path, found)


def _expected(published: Published) -> str:
    whole = len(published.sha256) == 64
    return published.sha256 if whole else f"one that begins with {published.sha256}"


def _fetch(owner: str, published: Published, request: ExtractorRequest) -> Weights:
    """Downloads next to its final place, checks the sum, and renames: nobody ever reads half a file."""
    target = weights_folder() / published.name
    temporary: str | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{published.name}.")
        digest = hashlib.sha256()
        with os.fdopen(handle, "wb") as file:
            for block in _blocks(published, request):
                file.write(block)
                digest.update(block)
        found = digest.hexdigest()
        if not found.startswith(published.sha256):
            raise DiffevalError(
                f"extractor: {owner}: {published.url} gave a file with sha256 {found}, and {_expected(published)} is "
                f"expected; try again, or {how(published)}"
            )
        os.replace(temporary, target)
        temporary = None
        return Weights(target, found)
    except (OSError, HTTPException) as error:  # urllib's own errors are OSErrors
        reason = getattr(error, "reason", None) or error
        said = " ".join(str(reason).split()) or type(error).__name__
        raise DiffevalError(f"extractor: {owner} could not fetch its weights: {said}; {how(published)}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _blocks(published: Published, request: ExtractorRequest) -> Iterator[bytes]:
    """The bytes of the file; a download that ends early is an error, not a short file."""
    with urllib.request.urlopen(published.url, timeout=TIMEOUT_SECONDS) as answer:
        total = int(answer.headers.get("Content-Length") or 0)
        request.reporter.stage(f"downloading {published.name}", max(1, total // BLOCK), "MiB")
        got = 0
        while block := answer.read(BLOCK):
            got += len(block)
            request.reporter.advance(len(block) // BLOCK)
            yield block
        if total and got != total:
            raise urllib.error.URLError(f"the connection ended after {got} of {total} bytes")


def read_state(owner: str, path: Path) -> StateDict:
    """The tensors of a weights file: safetensors, a state dict saved by torch, or a TorchScript archive.

    Nothing in the file is run. A state dict may lie under ``state_dict``, ``model`` or ``teacher``, and its names may
    begin with ``module.``.

    Raises:
        DiffevalError: if the file is damaged, holds no tensors, or wants to run code; the message names what.
    """
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        elif is_archive(path):
            found = read_archive(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"(?:GLOBAL|class|function) ([\w.]+)", str(error))
        what = f"wants to run {named[1]}" if named else "is no plain state dict"
        raise DiffevalError(
            f"extractor: {owner} refuses {path}: it {what}, and weights files are only read; save the state dict "
            f"alone, best as safetensors"
        ) from error
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, SafetensorError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise DiffevalError(f"extractor: {owner} cannot read {path}: {reason}; is it a whole weights file?") from error
    return _state_dict(owner, path, found)


def _state_dict(owner: str, path: Path, found: Any) -> StateDict:
    for key in ("state_dict", "model", "teacher"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    tensors = {k: v for k, v in found.items() if isinstance(v, torch.Tensor)} if isinstance(found, Mapping) else {}
    if not tensors:
        raise DiffevalError(f"extractor: {owner} finds no tensors in {path}; give a state dict with --weights")
    if all(key.startswith("module.") for key in tensors):
        return {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


class Loadable(Protocol):
    """A network whose tensors are named."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Its tensors."""

    def load_state_dict(self, state_dict: Mapping[str, Any], *, strict: bool, assign: bool) -> Any:
        """Takes tensors."""


def fill(owner: str, network: Loadable, state: StateDict, path: Path) -> None:
    """Puts the tensors into a network that was built without values, in float32.

    Raises:
        DiffevalError: if names or shapes differ; the message counts them and names the first.
    """
    # Batches that batch normalisation has seen play no part in inference, and older files do not count them.
    wanted = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    wrong = {
        "missing": [key for key in wanted if key not in state],
        "unknown": [key for key in state if key not in wanted and not key.endswith("num_batches_tracked")],
        "of another shape": [key for key in wanted if key in state and state[key].shape != wanted[key].shape],
    }
    told = [f"{len(keys)} {kind} ({keys[0]})" for kind, keys in wrong.items() if keys]
    if told:
        raise DiffevalError(
            f"extractor: {path} does not hold the weights of {owner}: of {len(wanted)} tensors {', '.join(told)}; "
            f"give the file of this network, or another --extractor"
        )
    counters = {k: torch.zeros((), dtype=torch.long) for k in network.state_dict() if k not in wanted}
    network.load_state_dict({**{k: state[k].float() for k in wanted}, **counters}, strict=True, assign=True)
