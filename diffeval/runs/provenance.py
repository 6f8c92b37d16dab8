"""Facts about this machine and this moment, gathered without importing torch."""

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

# Libraries whose version can move a number.
LIBRARIES = ("torch", "diffusers", "numpy", "scipy", "scikit-learn")


def own_version() -> str:
    """Version of the installed diffeval."""
    try:
        return metadata.version("diffeval")
    except metadata.PackageNotFoundError:
        return "0+unknown"


def versions() -> dict[str, str]:
    """Installed versions of diffeval, Python and the libraries that touch numbers."""
    found = {"diffeval": own_version(), "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def git_commit(folder: Path | None = None) -> str | None:
    """Commit of the repository around ``folder``, ``+dirty`` appended where tracked files differ; None outside one."""

    def ask(*words: str) -> str | None:
        try:
            answer = subprocess.run(
                ["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return answer.stdout.strip()

    commit = ask("rev-parse", "HEAD")
    if not commit:
        return None
    return commit + ("+dirty" if ask("status", "--porcelain", "--untracked-files=no") else "")


def host() -> str:
    """Operating system and machine, without the host's name."""
    return f"{platform.system()} {platform.release()} {platform.machine()}"


def command() -> tuple[str, ...]:
    """The command as typed, with the program's bare name."""
    return (Path(sys.argv[0]).name, *sys.argv[1:]) if sys.argv and sys.argv[0] else ()


def now() -> str:
    """This moment in UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
