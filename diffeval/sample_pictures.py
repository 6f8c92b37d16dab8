"""Images of a run that its page shows beyond the first ones: chosen by stated rules, from features that exist anyway.

The file ``sample_pictures.npz`` holds each image once, and for each choice the indices::

    images, index          uint8 [U, C, H, W], int64 [U]; no larger than ``LARGEST`` on a side, shrunk where they were
    size                   height and width before that
    caption                file name, prompt or class of each; where there are such
    grid_caption           the same of the first images, which lie in grid.npz
    best, worst            int64 [16]; and best_realism, worst_realism
    raises_fid             int64 [16]
    classes, class_images  names, and the first images of each, int64 [K, 8], -1 where there are fewer
    all_classes            how many classes there are
    nearest, held_out      see ``NearestPictures``, each name behind this word and a dot
    beaten                 share of the run's images nearer to a real one than a hundredth of held-out images are
    trained                whether the real images are those that the checkpoint was trained on
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffeval.data.pixels import Images
from diffeval.data.source import ImageSource, absolute
from diffeval.diffusion.sampling import Generator
from diffeval.export import picture
from diffeval.features.reference import held_out_source
from diffeval.metrics.metric import FeatureSet
from diffeval.metrics.realism import Balls, K, Likeness, balls_of, likeness
from diffeval.pairing import Asked
from diffeval.plan import ImageMaker
from diffeval.ready import Shown
from diffeval.real import RealImages
from diffeval.runs.records import Param

# The file in the run, without its suffix.
PICTURES = "sample_pictures"
# Images by each rule; of each class; classes; held-out images, as a yardstick.
CHOSEN, OF_CLASS, CLASSES, HELD_OUT = 16, 8, 20, 8
# Larger images are shrunk to this side: a page shows no more of them.
LARGEST = 256
# The first images, whose captions are kept.
FIRST = 64
# Of held-out images, this share is nearer to a real one than the distance that others are held against.
NEARER = 0.01

Arrays = dict[str, npt.NDArray[np.generic]]
Rows = Sequence[Mapping[str, Param]]
Index = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run's pictures are chosen from.

    Attributes:
        generated: all its images, as metrics know them.
        real: what they were measured against.
        reference: the real images; None where there are none to show.
        maker: makes the images.
        asked: their prompts; None without.
        trained_on: spec of what the checkpoint was trained on; None where unknown.
        tables: of the results: ``raises_fid`` and ``per_class`` are read.
    """

    generated: FeatureSet
    real: RealImages
    reference: ImageSource | None
    maker: ImageMaker
    asked: Asked | None
    trained_on: str | None
    tables: Mapping[str, Rows]


def sample_pictures(
    setting: Setting, draw: Callable[[Sequence[int]], Images], before: Mapping[str, npt.NDArray[np.generic]] | None
) -> Arrays:
    """The pictures of a run; see the module.

    Args:
        setting: what they are chosen from.
        draw: makes images of any indices.
        before: the same of fewer images, or of other scores: what it holds is not drawn again.
    """
    choices: Arrays = {**_by_influence(setting.tables), **_by_class(setting), **_by_reference(setting)}
    wanted = [choices[name] for name in ("best", "worst", "raises_fid", "class_images", "nearest.index")
              if name in choices]  # fmt: skip
    index: Index = np.unique(np.concatenate([one.ravel() for one in wanted])) if wanted else np.empty(0, np.int64)
    index = index[index >= 0].astype(np.int64)
    found: Arrays = {"index": index, "images": _pixels(index, setting.maker.image_shape, draw, before)}
    found["size"] = np.array(setting.maker.image_shape[1:])
    words = captions(setting)
    if words is not None:
        found["caption"] = np.array([words(one) for one in index.tolist()], dtype=np.str_)
        first = range(min(FIRST, len(setting.generated)))
        found["grid_caption"] = np.array([words(one) for one in first], dtype=np.str_)
    return {**found, **choices}


def captions(setting: Setting) -> Callable[[int], str] | None:
    """What is said of an image beside its index: its file's name, its prompt or its class; None without such."""
    maker, generated = setting.maker, setting.generated
    if isinstance(maker, Shown):
        return maker.name
    if setting.asked is not None and isinstance(maker, Generator) and maker.prompts is not None:
        prompts, rows = setting.asked.pairing.prompts, setting.asked.pairing.rows(len(generated))
        return lambda index: prompts[int(rows[index])].text
    labels, names = generated.labels, generated.classes
    return None if labels is None or not names else lambda index: f"class {names[int(labels[index])]}"


def _by_influence(tables: Mapping[str, Rows]) -> Arrays:
    rows = tables.get("raises_fid", ())[:CHOSEN]
    return {"raises_fid": np.array([int(str(row["index"])) for row in rows])} if rows else {}


def _by_class(setting: Setting) -> Arrays:
    """The first images of each class; of those that read worst, where there are too many to show."""
    labels, names = setting.generated.labels, setting.generated.classes
    if labels is None or not names:
        return {}
    worst = [str(row["class"]) for row in setting.tables.get("per_class", ())]
    shown = list(names)
    if len(shown) > CLASSES:
        shown = [*dict.fromkeys((*(name for name in worst if name in names), *names))][:CLASSES]
    places = np.full((len(shown), OF_CLASS), -1, dtype=np.int64)
    for row, name in enumerate(shown):
        mine = np.flatnonzero(labels == names.index(name))[:OF_CLASS]
        places[row, : len(mine)] = mine
    return {"classes": np.array(shown), "class_images": places, "all_classes": np.array(len(names))}


def _by_reference(setting: Setting) -> Arrays:
    """The most and the least real images, and those nearest to a real one; nothing where there are too few."""
    known = setting.real.reference
    if len(known) <= K:
        return {}
    balls: Balls = known.once("realism", lambda: balls_of(known.features))
    ours = likeness(setting.generated.features, balls)
    order = np.argsort(-ours.realism, kind="stable")
    best, worst = order[:CHOSEN], order[::-1][:CHOSEN]
    found: Arrays = {
        "best": best, "worst": worst, "best_realism": ours.realism[best], "worst_realism": ours.realism[worst],
    }  # fmt: skip
    if setting.reference is None or len(setting.reference.sizes()) != 1:
        return found
    found |= _nearest_pictures("nearest", ours, setting.reference, CHOSEN)
    found["trained"] = np.array(_is_trained_on(setting.trained_on, setting.reference.spec))
    return {**found, **_yardstick(setting.real.held_out, setting.reference, balls, ours)}


def _yardstick(held_out: FeatureSet | None, reference: ImageSource, balls: Balls, ours: Likeness) -> Arrays:
    """How near held-out images lie, which nobody has copied; nothing without such."""
    if held_out is None or not len(held_out):
        return {}
    theirs = likeness(held_out.features, balls)
    near = np.quantile(theirs.distances[:, 0], NEARER)
    found: Arrays = {"beaten": np.array(float((ours.distances[:, 0] < near).mean()))}
    source = held_out_source(reference)
    if source is None or len(source.sizes()) != 1:
        return found
    found |= _nearest_pictures("held_out", theirs, reference, HELD_OUT)
    return {**found, "held_out.images": shrunk(source.pixels.read(found["held_out.index"].astype(np.int64)))}


def _nearest_pictures(word: str, found: Likeness, reference: ImageSource, most: int) -> Arrays:
    """The images that lie nearest to a real one, nearest first, with the real ones: names behind ``word`` and a dot.

    ``index`` of the images, int64 [p]; ``distance`` to the real ones, [p, 3]; ``real`` these, uint8 [p, 3, C, H, W];
    ``name`` of each, [p, 3]; ``median``, the distance of the image in the middle; ``n``, how many images there are.
    """
    near = np.argsort(found.distances[:, 0], kind="stable")[:most]
    rows = found.rows[near]
    pixels = shrunk(reference.pixels.read(rows.ravel()))
    return {
        f"{word}.index": near,
        f"{word}.distance": found.distances[near],
        f"{word}.real": pixels.reshape(*rows.shape, *pixels.shape[1:]),
        f"{word}.name": np.array([[reference.pixels.name(int(row)) for row in beside] for beside in rows]),
        f"{word}.median": np.array(np.median(found.distances[:, 0])),
        f"{word}.n": np.array(len(found.distances)),
    }


def _is_trained_on(trained_on: str | None, spec: str) -> bool:
    return trained_on is not None and absolute(trained_on) == absolute(spec)


def _pixels(
    index: Index,
    shape: tuple[int, int, int],
    draw: Callable[[Sequence[int]], Images],
    before: Mapping[str, npt.NDArray[np.generic]] | None,
) -> Images:
    """Images of these indices, shrunk; those that are known from before are taken from there."""
    images = np.zeros((len(index), shape[0], *_shrunk_size(*shape[1:])), dtype=np.uint8)
    known: dict[int, Images] = {}
    if before is not None and {"index", "images"} <= set(before) and before["images"].shape[1:] == images.shape[1:]:
        known = dict(zip(before["index"].tolist(), before["images"].astype(np.uint8), strict=True))
    missing = [one for one in index.tolist() if one not in known]
    if missing:
        known |= dict(zip(missing, shrunk(draw(missing)), strict=True))
    for row, one in enumerate(index.tolist()):
        images[row] = known[one]
    return images


def _shrunk_size(height: int, width: int) -> tuple[int, int]:
    by = max(1.0, max(height, width) / LARGEST)
    return max(1, round(height / by)), max(1, round(width / by))


def shrunk(images: Images) -> Images:
    """Images uint8 [n, C, H, W] with no side above ``LARGEST``, by averaging."""
    height, width = _shrunk_size(*images.shape[2:])
    if (height, width) == images.shape[2:]:
        return images
    small = [np.asarray(picture(one).resize((width, height), Image.Resampling.BOX)) for one in images]
    return np.stack([one[None] if one.ndim == 2 else one.transpose(2, 0, 1) for one in small])
