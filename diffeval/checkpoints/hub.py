"""Loader for checkpoints on the Hugging Face hub: ``hf:ORG/NAME``."""

import dataclasses
import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from diffeval.checkpoints.checkpoint import LOADERS, Checkpoint
from diffeval.checkpoints.diffusers_folder import DiffusersFolder
from diffeval.checkpoints.diffusers_network import WEIGHTS
from diffeval.checkpoints.options import LoadOptions
from diffeval.checkpoints.pipeline_folder import INDEX, PipelineFolder, check_index, kind_of
from diffeval.checkpoints.pipelines import Kind
from diffeval.checkpoints.safety import CHECKER
from diffeval.checkpoints.scheduler_config import read_json
from diffeval.errors import DiffevalError

SCHEME = "hf:"
_FORM = re.compile(r"[\w.-]+/[\w.-]+(@.+)?")

# The configuration first: what cannot be loaded is refused before its weights are fetched. Pickles come last.
_CONFIGURATION = ["*.json"]
_SAFE = [f"{WEIGHTS}*.safetensors", f"unet*/{WEIGHTS}*.safetensors"]
_PICKLED = [f"{WEIGHTS}*.bin", f"unet*/{WEIGHTS}*.bin"]


class Hub:
    """``hf:ORG/NAME`` or ``hf:ORG/NAME@REVISION``, through the hub's own cache."""

    def accepts(self, spec: str, options: LoadOptions) -> bool:
        """Whether ``spec`` names a checkpoint on the hub."""
        return spec.startswith(SCHEME)

    def load(self, spec: str, options: LoadOptions) -> Checkpoint:
        """See ``Loader``."""
        name = spec.removeprefix(SCHEME)
        if not _FORM.fullmatch(name):
            raise DiffevalError(f"checkpoint: {spec!r} is no name on the hub; write {SCHEME}ORG/NAME, or ...@REVISION")
        name, _, at = name.partition("@")
        if at and options.revision not in (None, at):
            raise DiffevalError(f"checkpoint: {spec} and --revision {options.revision} differ; give one of them")
        revision = at or options.revision
        folder = _fetch(name, revision, _CONFIGURATION, options)
        local = dataclasses.replace(options, revision=None, offline=False)
        kind = kind_of(folder)
        if kind is not None:
            check_index(folder, kind, read_json(folder / INDEX))
            for pattern in patterns_of(kind, options):
                # A pickle is fetched where nothing safer has come.
                wanted = [one for one in pattern if not list(folder.glob(f"{one.partition('/')[0]}/*.safetensors"))]
                _fetch(name, revision, wanted, options)
            return PipelineFolder().load(str(folder), local).renamed(name.partition("/")[2])
        loader = DiffusersFolder()
        if not loader.accepts(str(folder), local):
            raise DiffevalError(f"checkpoint: {spec} holds no diffusers network (unet/config.json, or config.json)")
        loader.check(folder)
        for pattern in (_SAFE, _PICKLED):
            _fetch(name, revision, pattern, options)
            if any(list(folder.glob(one)) for one in pattern):
                break
        else:
            raise DiffevalError(f"checkpoint: {spec} holds no weights{_missing(name, folder, options)}")
        return loader.load(str(folder), local).renamed(name.partition("/")[2])


LOADERS.register("hub")(Hub())


def patterns_of(kind: Kind, options: LoadOptions) -> list[list[str]]:
    """Files of a pipeline that are read: vocabularies and safetensors, and pickles where there is nothing else."""
    parts = [*kind.parts, *(() if options.safety_checker is False else (CHECKER,))]
    vocabularies = [f"{part}/{name}" for part in parts if "tokenizer" in part for name in ("*.txt", "*.model")]
    return [vocabularies, *([f"{part}/*.{suffix}" for part in parts] for suffix in ("safetensors", "bin"))]


def _fetch(name: str, revision: str | None, patterns: list[str], options: LoadOptions) -> Path:
    """The local copy of the repository, with the files of these patterns in it."""
    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=patterns, local_files_only=options.offline)
        )
    except LocalEntryNotFoundError as error:
        where = f"{name}{f' at {revision}' if revision else ''}"
        raise DiffevalError(
            f"checkpoint: {where} is not in the hub's cache on this machine, and the hub cannot be asked; where there "
            f"is a network, run: {_command(name, revision)}"
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DiffevalError(f"checkpoint: cannot fetch {name} from the hub: {reason}") from error


def _command(name: str, revision: str | None) -> str:
    return f"hf download {name}{f' --revision {revision}' if revision else ''}, and copy the cache (HF_HOME)"


def _missing(name: str, folder: Path, options: LoadOptions) -> str:
    """Where only the cache may be asked, the weights may just not be in it."""
    if not options.offline:
        return ""
    return (
        f" in the hub's cache on this machine: {folder} lacks {WEIGHTS}.safetensors or .bin; where there is a "
        f"network, run: {_command(name, None)}"
    )
