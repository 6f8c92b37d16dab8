"""Where diffeval keeps what it can make again: ``$DIFFEVAL_CACHE``, by default the user's cache folder."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The cache folder, which need not exist."""
    named = os.environ.get("DIFFEVAL_CACHE")
    if named:
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "diffeval"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "diffeval" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "diffeval"
