"""Where image files lie, a folder or a zip archive: what is there, and the bytes of one. Nothing is ever unpacked."""

import os
import stat
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from diffeval.data.decode import EXTENSIONS, extension
from diffeval.errors import DiffevalError
from diffeval.runs.files import is_bomb
from diffeval.runs.paths import regular


@dataclass(frozen=True, slots=True)
class Entry:
    """One image file.

    Attributes:
        name: relative, with ``/``.
        size: bytes.
        stamp: changes when the file does: modification time in ns, or the checksum in an archive.
    """

    name: str
    size: int
    stamp: int


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in a store.

    Attributes:
        images: by extension, sorted by name.
        others: how many other files there are of each extension.
    """

    images: tuple[Entry, ...]
    others: Counter[str]

    def other_files(self) -> str:
        """The other files in words, e.g. ``12 .txt, 3 without extension``."""
        return ", ".join(f"{count} {kind or 'without extension'}" for kind, count in self.others.most_common(4))


class Store(Protocol):
    """A place of files."""

    root: str

    def listing(self) -> Listing:
        """What lies there. Hidden files and what macOS adds to archives are passed over."""

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            OSError: if it cannot be read.
        """


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _listing(entries: list[Entry]) -> Listing:
    seen = [entry for entry in entries if not _hidden(entry.name)]
    images = sorted((e for e in seen if extension(e.name) in EXTENSIONS), key=lambda entry: entry.name)
    return Listing(tuple(images), Counter(extension(e.name) for e in seen if extension(e.name) not in EXTENSIONS))


class Folder:
    """Files below a folder, however deep; links are followed.

    Raises:
        DiffevalError: if there is no such folder.
    """

    def __init__(self, who: str, path: Path) -> None:
        if not path.is_dir():
            hint = "is a file; use zip:FILE or npz:FILE" if path.exists() else "does not exist"
            raise DiffevalError(f"{who}: needs a folder, and {path} {hint}")
        self._who, self._path = who, path
        self.root = str(path.resolve())

    def listing(self) -> Listing:
        """See ``Store``.

        Raises:
            DiffevalError: if a folder cannot be read.
        """
        entries: list[Entry] = []
        try:
            # A link to a folder that this one lies in would bring in all of the disk, and this folder again.
            self._walk("", {str(parent) for parent in Path(self.root).parents}, entries)
        except OSError as error:
            raise DiffevalError(f"{self._who}: cannot list {error.filename}: {error.strerror}") from error
        return _listing(entries)

    def _walk(self, below: str, above: set[str], entries: list[Entry]) -> None:
        real = os.path.realpath(self._path / below)
        if real in above:
            return  # a link to a folder that it lies in
        with os.scandir(self._path / below) as items:
            for item in items:
                name = f"{below}{item.name}"
                if _hidden(item.name):
                    continue
                if item.is_dir():
                    self._walk(f"{name}/", above | {real}, entries)
                elif item.is_file():
                    status = item.stat()
                    entries.append(Entry(name, status.st_size, status.st_mtime_ns))
                elif item.is_symlink():
                    # It leads nowhere; reading it will say so.
                    entries.append(Entry(name, 0, 0))

    def read(self, name: str) -> bytes:
        """See ``Store``."""
        return regular(self._path / name).read_bytes()


class Archive:
    """Members of a zip file, read in place.

    Raises:
        DiffevalError: if it is no readable zip file, or one with members that climb out, are encrypted or are bombs.
    """

    def __init__(self, who: str, path: Path) -> None:
        if not path.is_file():
            hint = "is a folder; use folder:DIR" if path.is_dir() else "does not exist"
            raise DiffevalError(f"{who}: needs a zip file, and {path} {hint}")
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # a damaged directory makes zipfile raise almost anything
            raise DiffevalError(f"{who}: cannot read {path} as a zip file: {error}") from error
        self.root = str(path.resolve())
        for info in self._zip.infolist():
            _require_harmless(who, path, info)
        self._members = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}

    def listing(self) -> Listing:
        """See ``Store``."""
        return _listing([Entry(name, info.file_size, info.CRC) for name, info in self._members.items()])

    def read(self, name: str) -> bytes:
        """See ``Store``."""
        if name not in self._members:
            raise FileNotFoundError(f"no member {name!r}")
        try:
            return self._zip.read(self._members[name])
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
            raise OSError(f"damaged in the archive: {error}") from error


def _require_harmless(who: str, path: Path, info: zipfile.ZipInfo) -> None:
    if not info.filename:
        raise DiffevalError(f"{who}: {path} has a member without a name; refused")
    name = info.filename.replace("\\", "/")
    if name.startswith("/") or name[1:2] == ":" or ".." in PurePosixPath(name).parts:
        raise DiffevalError(f"{who}: {path} has a member {info.filename!r} that leads out of it; refused")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise DiffevalError(f"{who}: {path} has a member {info.filename!r} that is a link; refused")
    if info.flag_bits & 1:
        raise DiffevalError(f"{who}: {path} is encrypted ({info.filename!r}); decrypt it first")
    if is_bomb(info):
        raise DiffevalError(
            f"{who}: {path} has a member {info.filename!r} that grows from {info.compress_size} to {info.file_size} "
            f"bytes; refused"
        )
