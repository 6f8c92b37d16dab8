"""Fetches a known data set where the user allows it: torchvision's addresses and checksums, its downloads."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

from diffeval.cache import cache_folder
from diffeval.data.source import Request
from diffeval.errors import DiffevalError


def dataset_folder(request: Request) -> Path:
    """The folder that the user names, or the one in the cache that downloads go to."""
    if request.argument == "":
        raise DiffevalError(f"{request.name} needs a folder after the colon, or no colon with --download")
    return Path(request.argument).expanduser() if request.argument else cache_folder() / "data"


def torchvision_download(name: str, **options: str) -> Callable[[str], object]:
    """The download of a torchvision data set, which checks what it gets; torchvision is imported when it runs."""

    def download(folder: str) -> object:
        from torchvision import datasets

        return getattr(datasets, name)(folder, download=True, **options)

    return download


def fetch(request: Request, title: str, folder: Path, download: Callable[[str], object], files: str) -> None:
    """Downloads what is missing, or says how to get it.

    Args:
        request: with the user's leave, or without.
        title: of the data set, as people call it.
        folder: where it goes.
        download: torchvision's, which takes the folder and checks what it gets.
        files: what must lie in the folder, for those who fetch it themselves.

    Raises:
        DiffevalError: without leave, or if the download fails.
    """
    options = request.options
    needs = f"{request.name}: {title} is not in {folder}; needs {files}"
    if options.offline:
        raise DiffevalError(f"{needs}; put them there, since --offline forbids a download")
    if not options.download:
        raise DiffevalError(f"{needs}; add --download to fetch it, or put them there")
    options.reporter.note(f"{request.name}: downloading {title} to {folder}")
    try:
        # torchvision reports on stdout, which may have to carry one JSON document and nothing else.
        with contextlib.redirect_stdout(sys.stderr):
            folder.mkdir(parents=True, exist_ok=True)
            download(str(folder))
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DiffevalError(f"{request.name}: cannot download {title}: {reason}; {files} can be put there") from error
