"""Components of a pipeline's folder: read from disk alone, by a class that was chosen here, in float32."""

from pathlib import Path
from typing import Any

import torch

from diffeval.checkpoints.diffusers_network import quiet_diffusers
from diffeval.checkpoints.safe_reading import read_weights
from diffeval.checkpoints.scheduler_config import read_json
from diffeval.errors import DiffevalError
from diffeval.usercode import one_line

# What a tokenizer may lie in.
TOKENS = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json",
          "added_tokens.json", "spiece.model")  # fmt: skip
VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",))
CHECKER = "StableDiffusionSafetyChecker"
STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")


def files_of(folder: Path) -> list[Path]:
    """What defines a component: its configuration, its weights as they are read, its vocabulary."""
    named = [folder / name for name in ("config.json", *TOKENS)]
    return [*(path for path in named if path.is_file()), *weights_of(folder)]


def weights_of(folder: Path) -> list[Path]:
    """Weights to read: safetensors before pickles, full precision before a variant such as fp16."""
    for suffix in ("safetensors", "bin"):
        for stem in STEMS:
            for names in (f"{stem}.{suffix}", f"{stem}*.{suffix}"):
                files = sorted(folder.glob(names))
                if files:
                    return files
    return []


def read_component(folder: Path, name: str) -> torch.nn.Module:
    """A network of diffusers or transformers, float32, in eval mode; nothing in the folder is run.

    Args:
        folder: of the component.
        name: of its class; one that the caller chose from a list of its own.

    Raises:
        DiffevalError: if files are missing or damaged, or do not fit each other.
    """
    import diffusers

    files = weights_of(folder)
    if not (folder / "config.json").is_file() or not files:
        missing = "weights" if (folder / "config.json").is_file() else "config.json"
        raise DiffevalError(f"checkpoint: {folder} has no {missing}; fetch it whole")
    read_json(folder / "config.json")  # a text alone would be taken for a name on the hub, and asked for there
    for file in files:  # one that is refused, or cut short, is refused by name
        read_weights(file)
    kind: Any = getattr(diffusers, name, None) or (_checker() if name == CHECKER else _of_transformers(name))
    variant = _variant(files[0])
    try:
        with quiet_diffusers(), torch.random.fork_rng(devices=[]):
            found, info = kind.from_pretrained(
                folder,
                use_safetensors=files[0].suffix == ".safetensors",
                variant=variant,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # libraries look at these values each in its own way, or not at all
        raise DiffevalError(f"checkpoint: cannot load the {name} in {folder}: {one_line(error)}") from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        # Libraries only log these, and leave missing weights at random values.
        odd = [key for key in info.get(what) or () if "position_ids" not in str(key)]
        if odd:
            raise DiffevalError(
                f"checkpoint: the weights in {folder} do not fit its config.json: {len(odd)} "
                f"{what.replace('_', ' ')}, e.g. {odd[0]}"
            )
    network: torch.nn.Module = found.eval().requires_grad_(False).float()
    return network


def read_tokenizer(folder: Path, name: str) -> Any:
    """A tokenizer of transformers, from its files alone.

    Raises:
        DiffevalError: if they are missing or damaged.
    """
    # Without its vocabulary transformers makes an empty one, and says nothing.
    if not any(all((folder / one).is_file() for one in files) for files in VOCABULARIES):
        known = ", or ".join(" with ".join(files) for files in VOCABULARIES)
        raise DiffevalError(f"checkpoint: {folder} holds no vocabulary ({known}); fetch it whole")
    try:
        with quiet_diffusers():
            return _of_transformers(name).from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers names no base for what its tokenizers raise
        raise DiffevalError(f"checkpoint: cannot load the {name} in {folder}: {one_line(error)}") from error


def read_processor(folder: Path) -> Any:
    """What makes CLIP's input of pictures, from its configuration alone.

    Raises:
        DiffevalError: if that is missing or damaged.
    """
    try:
        return _of_transformers("CLIPImageProcessor").from_pretrained(folder, local_files_only=True)
    except Exception as error:  # as above
        raise DiffevalError(f"checkpoint: cannot load the image processor in {folder}: {one_line(error)}") from error


def _checker() -> Any:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    return StableDiffusionSafetyChecker


def _of_transformers(name: str) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise DiffevalError(
            "checkpoint: text-to-image pipelines need transformers (extra t2i); run: pip install 'transformers>=4.45'"
        ) from error
    said: Any = transformers.utils.logging
    said.set_verbosity_error()
    said.disable_progress_bar()
    return getattr(transformers, name)


def _variant(file: Path) -> str | None:
    """``fp16`` of ``model.fp16.safetensors``, and of its shards."""
    stem = next(stem for stem in sorted(STEMS, key=len, reverse=True) if file.name.startswith(stem))
    rest = file.name.removeprefix(stem).split("-")[0].strip(".").split(".")[0]
    return None if rest in ("safetensors", "bin", "") else rest
