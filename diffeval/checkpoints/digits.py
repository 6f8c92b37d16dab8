"""Loader for the built-in digits model."""

from pathlib import Path

from diffeval.builtin import FOLDER
from diffeval.checkpoints.checkpoint import LOADERS, Checkpoint
from diffeval.checkpoints.diffusers_folder import DiffusersFolder
from diffeval.checkpoints.options import LoadOptions


class DigitsModel:
    """``digits``: a class-conditional DDPM on 8x8 digits, shipped with the package."""

    def accepts(self, spec: str, options: LoadOptions) -> bool:
        """Whether the user asks for it; a folder of that name is meant where it holds a network."""
        return spec == "digits" and not (Path(spec) / "unet" / "config.json").is_file()

    def load(self, spec: str, options: LoadOptions) -> Checkpoint:
        """See ``Loader``."""
        return DiffusersFolder().load(str(FOLDER / "digits"), options).renamed("digits")


LOADERS.register("digits")(DigitsModel())
