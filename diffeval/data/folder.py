"""``folder:DIR`` and ``zip:FILE``: image files, looked at once and decoded when they are read."""

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffeval.data.decode import EXTENSIONS, MARKS, BadImageError, decode
from diffeval.data.files import Archive, Folder, Store
from diffeval.data.inventory import Look, inventory, quiet_pillow, threads
from diffeval.data.parts import Part, part_of
from diffeval.data.pixels import Images, Labels, Rows
from diffeval.data.source import SOURCES, ImageSource, Request
from diffeval.data.splits import undivided
from diffeval.data.triage import NAMED, Finding, Triage, found, repeats, shown
from diffeval.errors import DiffevalError


class FilePixels:
    """Pixels of image files, decoded in parallel threads whenever they are read.

    Args:
        store: where they lie.
        names: of the files, in order.
        looks: what was seen of each; all good.
        channels: 1, or 3 where grey images become RGB.
        listed: classes that stand in a list of their own, not in the names; None without such.
    """

    def __init__(
        self, store: Store, names: list[str], looks: list[Look], channels: int, listed: Labels | None = None
    ) -> None:
        self._store, self._names, self._channels = store, names, channels
        self._shapes = np.array([(channels, *look.shape[1:]) for look in looks], dtype=np.int64).reshape(-1, 3)
        digest = hashlib.sha256(f"files, {channels} channels".encode())
        for name, look in zip(names, looks, strict=True):
            digest.update(f"{name}\0".encode(errors="surrogateescape") + look.content)
        if listed is not None:
            digest.update(listed.tobytes())
        self._content = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._names)

    @property
    def shapes(self) -> npt.NDArray[np.int64]:
        """See ``Pixels``."""
        return self._shapes

    def read(self, rows: Rows) -> Images:
        """See ``Pixels``."""
        numbers = np.asarray(rows, dtype=np.int64)
        shapes = {tuple(shape) for shape in self._shapes[numbers].tolist()}
        if len(shapes) != 1:
            sizes = ", ".join(sorted(f"{height} x {width}" for _, height, width in shapes)[:NAMED])
            raise DiffevalError(
                f"data: images of different sizes ({sizes}) cannot be read together; resize them first"
            )
        images = np.empty((len(numbers), *next(iter(shapes))), dtype=np.uint8)

        def fill(place: int) -> None:
            images[place] = self._decoded(int(numbers[place]))

        with quiet_pillow():
            list(self._pool.map(fill, range(len(numbers))))
        return images

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(threads())

    def _decoded(self, row: int) -> Images:
        """One image, as it was when it was looked at."""
        name = self._names[row]
        try:
            pixels = decode(name, self._store.read(name)).pixels
        except (BadImageError, OSError) as error:
            raise DiffevalError(f"data: {shown(name)} could be read before and cannot be now: {error}") from error
        if pixels.shape[1:] != tuple(self._shapes[row, 1:]) or pixels.shape[0] > self._channels:
            raise DiffevalError(f"data: {shown(name)} has changed while it was in use; run the command again")
        return pixels if pixels.shape[0] == self._channels else np.repeat(pixels, self._channels, axis=0)

    def content_hash(self) -> str:
        """sha256 over the names and bytes of the files, in order, and the classes that a list gives them."""
        return self._content

    def name(self, row: int) -> str:
        """Of the file, relative."""
        return shown(self._names[row])


@SOURCES.register("folder")
def folder(request: Request) -> ImageSource:
    """Opens the images below a folder.

    Raises:
        DiffevalError: if there are none, or some cannot be used.
    """
    return _open(request, Folder(request.name, Path(_path(request)).expanduser()))


@SOURCES.register("zip")
def archive(request: Request) -> ImageSource:
    """Opens the images in a zip file, in place.

    Raises:
        DiffevalError: if there are none, some cannot be used, or a member is not what an image can be.
    """
    return _open(request, Archive(request.name, Path(_path(request)).expanduser()))


def _path(request: Request) -> str:
    if not request.argument:
        raise DiffevalError(f"{request.name}: needs a path, e.g. folder:photos or zip:photos.zip")
    return request.argument


def _open(request: Request, store: Store) -> ImageSource:
    listing = store.listing()
    if not listing.images:
        holds = f"only other files ({listing.other_files()})" if listing.others else "nothing"
        kinds = " ".join(sorted(kind[1:] for kind in EXTENSIONS))
        raise DiffevalError(f"{request.name}: holds no images but {holds}; images end in {kinds}")
    declared = _declared(store)
    part = part_of(request, listing.images, declared)
    rows, notes = undivided(request, "all" if part.own else part.split, len(part.entries), part.labels)
    looks = inventory(store, part.entries, part.split if part.own else "", request.options.reporter)
    selection = _Selection(part, looks, rows)
    good = selection.usable(request)
    channels = max(look.shape[0] for look in looks)
    if listing.others:
        notes = (*notes, f"passed over, no images: {listing.other_files()}")
    labels = None if part.labels is None else part.labels[good]
    names = [part.entries[row].name for row in good]
    listed = labels if declared is not None else None
    return ImageSource(
        name=request.name,
        split=part.split,
        pixels=FilePixels(store, names, [looks[row] for row in good], channels, listed),
        labels=labels,
        classes=part.classes,
        notes=(*part.notes, *notes),
        triage=Triage(len(rows), selection.findings(good, channels)),
    )


def _declared(store: Store) -> bytes | None:
    try:
        return store.read("dataset.json")
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class _Selection:
    """The chosen rows of a part that was looked at."""

    part: Part
    looks: list[Look]
    rows: npt.NDArray[np.intp]

    def names(self, rows: list[int]) -> list[str]:
        return [shown(self.part.entries[row].name) for row in rows]

    def usable(self, request: Request) -> list[int]:
        """The rows that are no bad images; stops at bad ones unless they may be skipped."""
        bad = [row for row in self.rows.tolist() if self.looks[row].reason]
        reasons = [f"{name} ({self.looks[row].reason})" for name, row in zip(self.names(bad), bad, strict=True)]
        line = found("cannot be used", reasons)[0].line(len(self.rows)) if bad else ""
        if len(bad) == len(self.rows):
            raise DiffevalError(f"{request.name}: {line}; nothing is left")
        if bad and request.options.on_bad == "stop":
            raise DiffevalError(f"{request.name}: {line}; mend or remove them, or leave them out with --on-bad skip")
        return [row for row in self.rows.tolist() if not self.looks[row].reason]

    def findings(self, good: list[int], channels: int) -> tuple[Finding, ...]:
        """What the looks at these rows say, beginning with those that were left out."""
        looks = [self.looks[row] for row in good]
        left_out = sorted(set(self.rows.tolist()) - set(good))

        def where(holds: list[bool]) -> list[str]:
            return self.names([row for row, held in zip(good, holds, strict=True) if held])

        usual = Counter(look.shape[1:] for look in looks).most_common(1)[0][0]
        # An image of one colour is counted as that only.
        repeated = {row for row in repeats([look.pixels for look in looks]).tolist() if not looks[row].constant}
        elsewhere = {self.looks[row].pixels for row in set(range(len(self.looks))) - set(self.rows.tolist())}
        elsewhere -= {bytes(32)}  # of bad images
        size = f"{usual[0]} x {usual[1]}"
        return (
            *found(f"cannot be used and were left out, {len(good)} remain", self.names(left_out)),
            *found(f"are not {size} as most are", where([look.shape[1:] != usual for look in looks])),
            *found("are of a single colour", where([look.constant for look in looks])),
            *found("are exact copies of an earlier one", where([row in repeated for row in range(len(looks))])),
            *found("are also in the other part", where([look.pixels in elsewhere for look in looks])),
            *found("are grey, made RGB", where([look.shape[0] < channels for look in looks]), grave=False),
            *(
                finding
                for mark, what in MARKS.items()
                for finding in found(what, where([mark in look.marks for look in looks]), grave=False)
            ),
        )
