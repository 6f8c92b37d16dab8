"""The one plug-in mechanism: a registry is filled by the files of a folder.

Adding a metric, a loader, an extractor or a sampler means adding one file to the folder of its kind, with one
decorated function or class in it. The registry imports every file of the folder the first time it is asked.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from diffeval.errors import DiffevalError

T = TypeVar("T")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The tail of an error about an unknown name: the nearest known one, and all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" did you mean {near[0]!r}?" if near else ""
    return f"{hint} known: {', '.join(names) or 'none'}"


class Registry(Generic[T]):
    """Named things of one kind, found in one package folder.

    Args:
        kind: what one entry is called in messages, e.g. ``"sampler"``.
        package: the importable package whose modules register the entries.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files an entry under ``name``; a name taken twice is our bug."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice in {self.package}")
            self._entries[name] = entry
            return entry

        return add

    def _load(self) -> None:
        if self._loaded:
            return
        folder = importlib.import_module(self.package)
        for module in sorted(pkgutil.iter_modules(folder.__path__), key=lambda found: found.name):
            importlib.import_module(f"{self.package}.{module.name}")
        self._loaded = True

    def __getitem__(self, name: str) -> T:
        """The entry called ``name``.

        Raises:
            DiffevalError: if there is none; the message names the nearest one and lists all.
        """
        self._load()
        if name not in self._entries:
            raise DiffevalError(f"unknown {self.kind} {name!r};{did_you_mean(name, self._entries)}")
        return self._entries[name]

    def __contains__(self, name: str) -> bool:
        self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._entries))

    def names(self) -> list[str]:
        """All names, sorted."""
        return list(self)
