"""One pass over the images of a run: sample, extract, commit. What is on disk already is never made again."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from diffeval.committer import Committer
from diffeval.data.pixels import Images
from diffeval.diffusion.batching import is_out_of_memory, split_batches
from diffeval.errors import DiffevalError, StoppedError
from diffeval.features.appearance import appearance
from diffeval.features.extractor import Extracted, Extractor
from diffeval.plan import ImageMaker
from diffeval.progress import Reporter
from diffeval.ranks import Ranks, Share, here
from diffeval.runs.chunks import Arrays, ChunkStore
from diffeval.runs.directory import RunDirectory

# The uncurated grid: the first images of the run, whatever they show.
GRID = 64
# How often ranks look for chunks that are not there although all were made.
ROUNDS = 3
# Bytes of images that a process remembers.
REMEMBERED = 512 << 20


@dataclass(slots=True)
class Memory:
    """Images that this process has made, as long as there is room: what is shown of them need not be made again."""

    room: int = REMEMBERED
    held: dict[int, Images] = field(default_factory=dict)

    def add(self, indices: range, images: Images) -> None:
        """Remembers a batch, or as much of it as there is room for."""
        for index, image in zip(indices, images, strict=True):
            if image.nbytes > self.room:
                return
            self.held[index] = image.copy()
            self.room -= image.nbytes


@dataclass(frozen=True, slots=True)
class Harvest:
    """Where a run's per-image arrays are kept.

    Attributes:
        images: uint8 images by chunk, or None where they are not kept.
        features: features and logits by chunk, or None where none are extracted.
        judged: features by the judge of prompts, where it is not the extractor itself.
        memory: pixels of this process.
    """

    images: ChunkStore | None
    features: ChunkStore | None
    judged: ChunkStore | None = None
    memory: Memory = field(default_factory=Memory)

    @property
    def stores(self) -> tuple[ChunkStore, ...]:
        """Those that are kept."""
        return tuple(store for store in (self.images, self.features, self.judged) if store is not None)

    def missing(self, n: int, shard: Share | None = None) -> list[tuple[int, int]]:
        """Chunks that lack some of the first ``n`` images: the first index of each, and the images that it holds.

        Args:
            n: images that are wanted.
            shard: the chunks that count, dealt out by their number; None for all.
        """
        size = self.stores[0].size
        starts = list(range(0, n, size))
        dealt = starts if shard is None else shard.of(starts)
        held = [(start, min(store.rows(start) for store in self.stores)) for start in dealt]
        return [(start, rows) for start, rows in held if rows < min(size, n - start)]

    def drawn(self, indices: Sequence[int], maker: ImageMaker, batch: int) -> Images:
        """Images of any indices, uint8 [len(indices), C, H, W]; what is not remembered is made again, in batches.

        In a batch of others an image may differ by one level in one pixel of a thousand, as everywhere.
        """
        held = self.memory.held
        missing = sorted(set(indices) - set(held))
        for part in (missing[at : at + batch] for at in range(0, len(missing), batch)):
            held = {**held, **dict(zip(part, maker.images(part), strict=True))}
        empty: Images = np.zeros((0, *maker.image_shape), dtype=np.uint8)
        return np.stack([held[index] for index in indices]) if len(indices) else empty


def open_harvest(
    run: RunDirectory, chunk: int, extractor: Extractor | None, judge: Extractor | None = None, *, keep_images: bool
) -> Harvest:
    """The stores of a run."""
    images = ChunkStore(run.path / "images", chunk, ("images",)) if keep_images else None
    if extractor is None:
        return Harvest(images, None)
    names = ("features", "appearance", *(("logits",) if extractor.classes else ()))
    features = ChunkStore(_folder(run, extractor), chunk, names)
    if judge is None or judge.id == extractor.id:
        return Harvest(images, features)
    return Harvest(images, features, ChunkStore(_folder(run, judge), chunk, ("features",)))


def _folder(run: RunDirectory, extractor: Extractor) -> Path:
    return run.path / "features" / extractor.id.replace("/", "-")


@dataclass(frozen=True, slots=True)
class Batch:
    """What was made of consecutive indices.

    Attributes:
        indices: of the images.
        images: uint8 [b, C, H, W].
        extracted: features by the extractor; None without one.
        judged: features by the judge of prompts, where that is another.
    """

    indices: range
    images: Images
    extracted: Extracted | None
    judged: Extracted | None


@dataclass(frozen=True, slots=True)
class OpenChunk:
    """A chunk that is being filled. It is opened where images are made; all else is done by the committer's thread.

    Attributes:
        run: that the images belong to.
        harvest: where they go.
        maker: of the images.
        start: first index of the chunk.
        rows: images that were on disk.
        parts: arrays by store, in order.
    """

    run: RunDirectory
    harvest: Harvest
    maker: ImageMaker
    start: int
    rows: int
    parts: Mapping[Path, list[Arrays]]

    def add(self, made: Batch) -> None:
        """The next images of the chunk; the first ones of the run go into the grid at once."""
        images, features, judged = self.harvest.images, self.harvest.features, self.harvest.judged
        if images is not None:
            self._append(images, {"images": made.images, "labels": self.maker.labels(made.indices)})
        if features is not None and made.extracted is not None:
            found = {"features": made.extracted.features, "logits": made.extracted.logits}
            self._append(features, {**found, "appearance": appearance(made.images)})
        if judged is not None and made.judged is not None:
            self._append(judged, {"features": made.judged.features})
        _extend_grid(self.run, made.indices, made.images, self.maker)
        if self.maker.limit is None:  # ready-made images can be read again
            self.harvest.memory.add(made.indices, made.images)

    def _append(self, store: ChunkStore, arrays: Mapping[str, npt.NDArray[np.generic] | None]) -> None:
        self.parts[store.folder].append({name: array for name, array in arrays.items() if array is not None})

    def commit(self) -> None:
        """Replaces the chunk on disk."""
        for store in self.harvest.stores:
            store.write(self.start, _joined(self.parts[store.folder]))


def _open_chunk(run: RunDirectory, harvest: Harvest, maker: ImageMaker, start: int) -> OpenChunk:
    """A chunk as it is on disk, up to the last image that all stores have."""
    held = {store.folder: store.read(start) or {} for store in harvest.stores}
    rows = min(store.rows(start) for store in harvest.stores)
    return OpenChunk(run, harvest, maker, start, rows, {at: [_upto(arrays, rows)] for at, arrays in held.items()})


def reap(
    run: RunDirectory,
    harvest: Harvest,
    generator: ImageMaker,
    extractor: Extractor | None,
    n: int,
    batch: int,
    reporter: Reporter,
    judge: Extractor | None = None,
    shard: Share | None = None,
) -> int:
    """Makes images 0 to n - 1, or a shard of them, complete in the run; returns the batch that was last used.

    What is missing is dealt out to the ranks chunk by chunk, so that each comes about as it does in one process.
    Batches are always whole, so a run that is extended later is bit-equal to one that was long from the start. Where
    memory does not suffice the batch is halved, and the run says so.

    Chunks are joined and written by a thread while the next images are made; of these at most one chunk waits for it.
    Whatever ends this, the chunks that were made whole are on disk then.

    Raises:
        StoppedError: when asked to stop; everything up to the last batch is on disk.
        DiffevalError: if even a batch of one does not fit, the network's output is not finite, or the run cannot be
            written.
    """
    ranks, size = here(), harvest.stores[0].size
    stage = "sampling" if generator.limit is None else "features"
    with Committer(size // batch + 1) as committer:  # a chunk's batches, and its commit
        making = _Making(run, harvest, generator, extractor, judge, reporter, committer)
        for _ in range(ROUNDS):
            # Rank 0 alone looks, so that all deal out the same list.
            missing = ranks.tell(harvest.missing(n, shard) if ranks.first else None, reporter)
            mine = ranks.share.of(missing)
            _announce(stage, missing, mine, n, size, shard, reporter)
            for start, _ in mine:
                batch = making.fill(range(start, min(start + size, n)), batch)
            committer.flush()
            batch = _agreed(run, ranks, batch, reporter)
            if not missing or ranks.world == 1:
                return batch
    raise DiffevalError(f"{stage}: rank 0 does not find in {run.path} what others made; run the same command again")


def _announce(
    stage: str,
    missing: list[tuple[int, int]],
    mine: list[tuple[int, int]],
    n: int,
    size: int,
    shard: Share | None,
    reporter: Reporter,
) -> None:
    """Says how many images are to be made, and how many of them by this process."""
    left, own = (sum(min(size, n - start) - rows for start, rows in chunks) for chunks in (missing, mine))
    if here().world == 1:
        total = n if shard is None else left
        reporter.stage(stage, total, "images", total - left)
    elif left:
        reporter.note(f"{here().world} ranks make {left} images, rank 0 makes {own} of them")
        reporter.stage(stage, own, "images")


def _agreed(run: RunDirectory, ranks: Ranks, batch: int, reporter: Reporter) -> int:
    """Waits for the other ranks; the smallest batch is kept where memory did not suffice on one of them."""
    least = int(min(ranks.gather(batch, reporter)))
    if least < batch:
        said = f"out of memory on another rank; it went on with a batch of {least}"
        reporter.warn(said)
        state = run.state()
        run.update(batch=least, warnings=(*(state.warnings if state else ()), said))
    return least


@dataclass(frozen=True, slots=True)
class _Making:
    """How a run's images are made, and who commits them; see ``reap``."""

    run: RunDirectory
    harvest: Harvest
    generator: ImageMaker
    extractor: Extractor | None
    judge: Extractor | None
    reporter: Reporter
    committer: Committer

    def fill(self, wanted: range, batch: int) -> int:
        """Completes one chunk from its last committed row; commits what it has when asked to stop."""
        start, size, reporter = wanted.start, self.harvest.stores[0].size, self.reporter
        # Whole batches, beyond the last image that is wanted, but not beyond the last there is.
        end = min(start + size, self.generator.limit or start + size)
        chunk = _open_chunk(self.run, self.harvest, self.generator, start)
        position, stopping = start + chunk.rows, False
        while position < wanted.stop and not stopping:
            indices = next(split_batches(position, min(end, position + batch), batch))
            try:
                made = self._made(indices)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                batch = _halve(self.run, batch, reporter)
                continue
            self.committer.submit(partial(chunk.add, made))
            reporter.advance(min(indices.stop, wanted.stop) - position)
            position = indices.stop
            stopping = reporter.stop_requested and position < wanted.stop
        self.committer.submit(chunk.commit)
        if reporter.stop_requested:
            self.committer.flush()
            raise StoppedError(f"sampling: stopped at image {position}; run the same command to continue")
        return batch

    def _made(self, indices: range) -> Batch:
        images = self.generator.images(indices)
        extracted = self.extractor.run(images) if self.extractor else None
        judged = self.judge.run(images) if self.judge and self.harvest.judged else None
        return Batch(indices, images, extracted, judged)


def _upto(arrays: Arrays, rows: int) -> Arrays:
    return {name: array[:rows] for name, array in arrays.items()}


def _joined(parts: list[Arrays]) -> Arrays:
    parts = [part for part in parts if part]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _halve(run: RunDirectory, batch: int, reporter: Reporter) -> int:
    if batch == 1:
        raise DiffevalError("sampling: out of memory with a batch of one image; use a larger device or --dtype bf16")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    said = f"out of memory with a batch of {batch}; going on with {batch // 2}"
    reporter.warn(said)
    state = run.state()
    run.update(batch=batch // 2, warnings=(*(state.warnings if state else ()), said))
    return batch // 2


def _extend_grid(run: RunDirectory, indices: range, images: np.ndarray, generator: ImageMaker) -> None:
    """Keeps the first images for the report, whatever else is kept."""
    if indices.start >= GRID:
        return
    before = run.arrays("grid")
    held = before["images"][: indices.start] if before is not None else images[:0]
    if len(held) < indices.start:
        return
    grid = np.concatenate([held, images])[:GRID]
    labels = generator.labels(range(len(grid)))
    run.save_arrays("grid", {"images": grid, **({} if labels is None else {"labels": labels})})


def timed(run: RunDirectory, stage: str, started: float) -> None:
    """Adds the seconds since ``started`` (``time.monotonic``) to a stage of the run."""
    state = run.state()
    if state is not None:
        seconds = {**state.seconds, stage: state.seconds.get(stage, 0.0) + time.monotonic() - started}
        run.save_state(replace(state, seconds=seconds))
