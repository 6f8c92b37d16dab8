"""The pictures that a run keeps of its images, as galleries: by class, best and worst, and those beside real ones."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from diffeval.report.again import drawing
from diffeval.report.story import Told
from diffeval.report.view import Gallery, Tile
from diffeval.runs.words import number, percent, shortened

# Images of each kind that are carried whole.
WHOLE = {"worst": 4, "raises": 2, "nearest": 2}
# Characters of a file name or prompt.
LONGEST = 60

Arrays = Mapping[str, Any]


def caption(told: Told, index: int, words: str = "") -> str:
    """What an image is: its seed and index, its class, file or prompt."""
    sampled = told.results is not None and told.results.protocol.sampler is not None
    begun = f"seed {told.state.seed}, image {index}" if sampled else f"image {index}"
    return f"{begun}, {shortened(words, LONGEST)}" if words else begun


class Chosen:
    """The pictures of one run.

    Args:
        told: the run.
        arrays: its ``sample_pictures.npz``, see ``diffeval.sample_pictures``.

    Raises:
        KeyError: if something is missing in there, here or later.
    """

    def __init__(self, told: Told, arrays: Arrays) -> None:
        self.told, self.arrays = told, arrays
        self._row = {int(index): row for row, index in enumerate(arrays["index"])}
        self._words = [str(one) for one in arrays["caption"]] if "caption" in arrays else []

    @property
    def n(self) -> int:
        """Images that these were chosen from."""
        return self.told.state.n if self.told.results is None else self.told.results.provenance.n

    def tile(self, index: int, said: str = "", *, whole: bool = False) -> Tile:
        """An image that was chosen."""
        row = self._row[index]
        words = caption(self.told, index, self._words[row] if self._words else "")
        pixels = self.arrays["images"][row]
        return Tile(pixels, f"{words}, {said}" if said else words, drawing(self.told, [index]), whole)

    def galleries(self) -> Iterator[Gallery]:
        """All that there are, in the order of the page."""
        if "classes" in self.arrays:
            yield self._classes()
        if "best" in self.arrays:
            yield from self._extremes()
        if "raises_fid" in self.arrays:
            yield self._raising()
        if "nearest.index" in self.arrays:
            yield from self._nearest()

    def _classes(self) -> Gallery:
        names, places = [str(one) for one in self.arrays["classes"]], self.arrays["class_images"]
        total = int(self.arrays["all_classes"])
        empty = np.zeros_like(self.arrays["images"][0])
        tiles = [
            self.tile(int(index)) if index >= 0 else Tile(empty, f"class {name}: no more images")
            for name, row in zip(names, places, strict=True)
            for index in row
        ]
        which = f"each of the {total} classes" if total == len(names) else f"{len(names)} of {total} classes"
        order = "" if total == len(names) else " The classes that read worst come first, see By class."
        sentence = f"The first {places.shape[1]} images of {which}, in order: no image was chosen.{order}"
        return Gallery("By class", sentence, tuple(tiles), places.shape[1], rows=tuple(names))

    def _extremes(self) -> Iterator[Gallery]:
        best, worst = (self.arrays[f"{name}_realism"] for name in ("best", "worst"))
        rule = (
            "Realism is how near an image lies to a real one, counted in the distance from that real one to its third "
            "neighbour: from 1 on it lies as near as real images do. Real images with few others around them are left "
            "out."
        )
        limits = "An exact copy of a real image would be the most real of all."
        yield self._ranked("best", "Most real", f"{self._range(best, 'highest')} {rule} {limits}")
        yield self._ranked(
            "worst",
            "Least real",
            f"{self._range(worst, 'lowest')} The same rule. Rare images that are fine can be among them, and what the "
            f"extractor does not see does not count.",
        )

    def _range(self, values: Sequence[float], which: str) -> str:
        first, last = (number(float(one)) for one in (values[0], values[-1]))
        return f"The {len(values)} of {self.n:,} images with the {which} realism, {first} to {last}."

    def _ranked(self, name: str, title: str, sentence: str) -> Gallery:
        values = self.arrays[f"{name}_realism"]
        tiles = [
            self.tile(int(index), f"realism {number(float(value))}", whole=place < WHOLE.get(name, 0))
            for place, (index, value) in enumerate(zip(self.arrays[name], values, strict=True))
        ]
        return Gallery(title, sentence, tuple(tiles))

    def _raising(self) -> Gallery:
        results, indices = self.told.results, [int(one) for one in self.arrays["raises_fid"]]
        rows = () if results is None else results.tables.get("raises_fid", ())
        takes = {int(str(row["index"])): float(str(row["influence"])) for row in rows}
        said = [f"leaving it out takes {number(takes[one])} from FID" if one in takes else "" for one in indices]
        tiles = [
            self.tile(one, words, whole=place < WHOLE["raises"])
            for place, (one, words) in enumerate(zip(indices, said, strict=True))
        ]
        known = [takes[one] for one in indices if one in takes]
        much = f" Leaving one of them out takes {number(known[0])} to {number(known[-1])} from it." if known else ""
        sentence = f"The {len(tiles)} of {self.n:,} images that raise FID most, the most first.{much}"
        return Gallery("Images that raise FID most", sentence, tuple(tiles))

    def _nearest(self) -> Iterator[Gallery]:
        kind = "training" if bool(self.arrays["trained"]) else "reference"
        indices = [int(one) for one in self.arrays["nearest.index"]]
        own = [self.tile(one, whole=place < WHOLE["nearest"]) for place, one in enumerate(indices)]
        found = self._beside("nearest", f"Nearest {kind} images", own, kind, self._near_sentence(kind))
        yield found
        if "held_out.images" in self.arrays:
            held = [
                Tile(pixels, f"held-out image {int(index)}")
                for pixels, index in zip(self.arrays["held_out.images"], self.arrays["held_out.index"], strict=True)
            ]
            sentence = (
                f"The same of the {len(held)} held-out real images that lie nearest to a {kind} image, out of "
                f"{int(self.arrays['held_out.n']):,}: nobody has copied these."
            )
            yield self._beside("held_out", "The yardstick: held-out images", held, kind, sentence)

    def _near_sentence(self, kind: str) -> str:
        distances = self.arrays["nearest.distance"][:, 0]
        begun = (
            f"The {len(distances)} of {self.n:,} images that lie nearest to a {kind} image by features, "
            f"{number(float(distances[0]))} to {number(float(distances[-1]))}, each beside the nearest ones."
        )
        if "beaten" not in self.arrays:
            return f"{begun} No real images are held out that would say how near is usual."
        usual = ""
        if "held_out.median" in self.arrays:
            ours, theirs = (number(float(self.arrays[f"{one}.median"])) for one in ("nearest", "held_out"))
            usual = f" The median is {ours}, that of {int(self.arrays['held_out.n']):,} held-out images {theirs}."
        return (
            f"{begun}{usual} {percent(float(self.arrays['beaten']))} of the images lie nearer than the nearest 1% of "
            f"held-out images do; whether that is memorisation is for the check memorization to say."
        )

    def _beside(self, word: str, title: str, own: Sequence[Tile], kind: str, sentence: str) -> Gallery:
        real, names, distances = (self.arrays[f"{word}.{one}"] for one in ("real", "name", "distance"))
        tiles: list[Tile] = []
        for tile, pixels, called, far in zip(own, real, names, distances, strict=True):
            tiles.append(tile)
            for one, name, distance in zip(pixels, called, far, strict=True):
                tiles.append(
                    Tile(one, f"{kind} image {shortened(str(name), LONGEST)}, distance {_even(float(distance))}")
                )
        rows = tuple(", ".join(_even(float(one)) for one in far) for far in distances)
        columns = ("image", *(("nearest", "second", "third")[: real.shape[1]]))
        return Gallery(title, sentence, tuple(tiles), len(columns), columns, rows)


def _even(distance: float) -> str:
    """Three digits, zeros at the end included, so that a column of them stands even."""
    return f"{distance:#.3g}" if 1e-3 <= distance < 1000 else number(distance)
