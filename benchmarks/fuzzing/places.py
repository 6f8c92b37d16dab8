"""What is no file in the place of one that a user names: pipes, sockets, devices, folders, links."""

from collections.abc import Callable, Mapping
from pathlib import Path

import hypothesis.strategies as st

from diffeval.checkpoints.declaration import Declaration
from diffeval.checkpoints.schedules import declared_schedule
from diffeval.data.prompts import read_prompts
from diffeval.data.source import OpenOptions, open_source
from diffeval.features.statistics_files import read_statistics
from diffeval.ready import open_images
from diffeval.training_log import read_training_log
from fuzzing.damage import PLACES, Place, put
from fuzzing.images import picture
from fuzzing.outcome import Kind


def _schedule(path: Path) -> object:
    return declared_schedule(Declaration(schedule=str(path)), None)


def _images(path: Path) -> object:
    return open_images(f"images:{path}", OpenOptions(on_bad="skip"))


def _npz(path: Path) -> object:
    return open_source(f"npz:{path}", options=OpenOptions(on_bad="skip"))


def _zip(path: Path) -> object:
    return open_source(f"zip:{path}", options=OpenOptions(on_bad="skip"))


# A file's name, and what reads it.
READERS: Mapping[str, Callable[[Path], object]] = {
    "prompts.txt": read_prompts, "prompts.csv": read_prompts, "prompts.json": read_prompts,
    "stats.npz": read_statistics, "stats.pkl": read_statistics, "alpha_bar.npy": _schedule,
    "log.csv": read_training_log, "log.jsonl": read_training_log, "samples.npz": _images,
    "images.npz": _npz, "photos.zip": _zip,
}  # fmt: skip


def read_named(folder: Path, drawn: tuple[str, Place]) -> None:
    """Reads what is no file."""
    name, place = drawn
    put(folder / name, b"", place)
    READERS[name](folder / name)


def read_pictures(folder: Path, drawn: Mapping[str, Place]) -> None:
    """Reads a folder in which some pictures are none."""
    for name, place in drawn.items():
        put(folder / name, picture("PNG"), place)
    source = open_source(f"folder:{folder}", options=OpenOptions(on_bad="skip"))
    source.content_hash()
    for _ in source.batches(4):
        pass
    _images(folder)


_NAMES = st.sampled_from(tuple(READERS))
_PICTURES = st.dictionaries(
    st.sampled_from(("a.png", "b.png", "c.npy", "0/a.png", "dataset.json")),
    st.sampled_from(("file", "file", *PLACES)), min_size=1, max_size=4,
)  # fmt: skip

KINDS = (
    Kind(
        "links, folders, pipes, devices for files that are named",
        st.tuples(_NAMES, st.sampled_from(PLACES)),
        read_named,
    ),
    Kind("image folder: links, folders, pipes, devices for pictures", _PICTURES, read_pictures),
)
