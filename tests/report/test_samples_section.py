"""The samples section: galleries by stated rules, commands that draw an image again, the same seeds of two runs."""

import dataclasses
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from diffeval.cli.checkpoint_options import Loading, Sampling
from diffeval.cli.options import Wording
from diffeval.evaluate import evaluate
from diffeval.plan import Settings
from diffeval.report.again import FLAGS, WITH_VALUE, drawing
from diffeval.report.copies import copies_gallery
from diffeval.report.judged import read_story
from diffeval.report.page import report
from diffeval.report.sections.samples import samples
from diffeval.report.story import Story
from diffeval.report.view import Block, Gallery, Note, Versus
from diffeval.runs.directory import RunDirectory

FAST = Settings(n=200, steps=2, device="cpu")
TITLES = (
    "Uncurated grid", "By class", "Most real", "Least real", "Images that raise FID most", "Nearest training images",
    "The yardstick: held-out images",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two settings from the same noise, and one from another."""
    folder = tmp_path_factory.mktemp("samples")
    settings = {"plain": FAST, "four": dataclasses.replace(FAST, steps=4), "other": dataclasses.replace(FAST, seed=1)}
    for name, one in settings.items():
        evaluate(tiny_checkpoint, settings=one, out=folder / name)
    return {name: folder / name for name in settings}


def _copied(run: Path, target: Path) -> Path:
    shutil.copytree(run, target)
    return target


def _blocks(*paths: Path, baseline: tuple[Path, ...] = ()) -> list[Block]:
    return list(samples(read_story(list(paths), gate=None, baseline=baseline)))


def _galleries(blocks: list[Block]) -> dict[str, Gallery]:
    return {block.title: block for block in blocks if isinstance(block, Gallery)}


def test_the_uncurated_grid_comes_first_and_every_choice_says_its_rule(runs: dict[str, Path]) -> None:
    found = _galleries(_blocks(runs["plain"]))
    assert tuple(found) == TITLES
    assert "nothing was chosen" in found["Uncurated grid"].sentence
    assert "The first 8 images of each of the 10 classes" in found["By class"].sentence
    assert found["By class"].rows == tuple("0123456789")
    assert "The 16 of 200 images with the highest realism" in found["Most real"].sentence
    assert "The 16 of 200 images with the lowest realism" in found["Least real"].sentence
    assert "% of the images lie nearer than the nearest 1% of held-out images do" in (
        found["Nearest training images"].sentence
    )
    assert found["Nearest training images"].names == ("image", "nearest", "second", "third")


def test_captions_and_numbers_are_those_of_the_run(runs: dict[str, Path]) -> None:
    found, held = _galleries(_blocks(runs["plain"])), RunDirectory(runs["plain"]).arrays("sample_pictures")
    results = RunDirectory(runs["plain"]).results()
    assert held is not None
    assert results is not None
    first = found["Least real"].tiles[0]
    index, value = int(held["worst"][0]), float(held["worst_realism"][0])
    assert first.alt.startswith(f"seed 0, image {index}, class ")
    assert first.alt.endswith(f"realism {value:.4g}")
    np.testing.assert_array_equal(first.pixels, held["images"][held["index"].tolist().index(index)])
    influence = results.tables["raises_fid"][0]["influence"]
    assert isinstance(influence, float)
    assert f"{influence:.4g}" in found["Images that raise FID most"].sentence


def test_at_most_sixteen_are_carried_whole(runs: dict[str, Path]) -> None:
    found = _galleries(_blocks(runs["plain"]))
    whole = {title: sum(tile.chosen for tile in gallery.tiles) for title, gallery in found.items()}
    assert whole["Least real"] == 4
    assert whole["Uncurated grid"] == 16
    chosen = sum(count for title, count in whole.items() if title != "Uncurated grid")
    # Of images above 32 pixels the grid's first row is eight.
    assert chosen + 8 == 16


def test_the_command_draws_that_very_image(runs: dict[str, Path], tiny_checkpoint: Path) -> None:
    (told,) = read_story([runs["plain"]], gate=None, baseline=()).runs
    words = shlex.split(drawing(told, [17, 42]))
    assert words[:3] == ["diffeval", "sample", str(tiny_checkpoint)]
    for name, value in (("--steps", "2"), ("--seed", "0"), ("--w", "1"), ("--indices", "17,42")):
        assert words[words.index(name) + 1] == value
    assert told.results is not None
    typed = (
        "diffeval",
        "fid",
        "digits",
        "--n",
        "50",
        "--prediction=epsilon",
        "--shape",
        "-1,2",
        "--karras",
        "--w",
        "9",
    )
    provenance = dataclasses.replace(told.results.provenance, command=typed, checkpoint="digits")
    told = dataclasses.replace(told, results=dataclasses.replace(told.results, provenance=provenance))
    assert drawing(told, [3]) == (
        "diffeval sample digits --prediction=epsilon --shape -1,2 --karras --w 1 --steps 2 --seed 0 --indices 3"
    )


def test_every_option_of_loading_drawing_and_wording_is_known() -> None:
    fields = [field.name for group in (Loading, Sampling, Wording) for field in dataclasses.fields(group)]
    spelt = {name.replace("_", "-") for name in fields}
    # Where and in which parts it is computed is for whoever runs it; these three come from the run itself.
    left_out = {"device", "batch", "shard", "compile", "seed", "steps", "w"}
    assert spelt - left_out == {name for name in (*WITH_VALUE, *FLAGS) if not name.startswith("no-")} - {"ema"}


def test_runs_from_the_same_noise_stand_side_by_side(runs: dict[str, Path]) -> None:
    (found,) = [block for block in _blocks(runs["plain"], runs["four"]) if isinstance(block, Versus)]
    assert len(found.pairs) == 32
    grids = [RunDirectory(runs[name]).arrays("grid") for name in ("plain", "four")]
    for place, pair in enumerate(found.pairs):
        for tile, grid in zip(pair, grids, strict=True):
            assert grid is not None
            np.testing.assert_array_equal(tile.pixels, grid["images"][place])
    assert "the same noise" in found.sentence
    assert "the work of the settings" in found.sentence
    assert not [block for block in _blocks(runs["plain"], runs["other"]) if isinstance(block, Versus)]


def test_a_baseline_is_a_and_why_there_are_no_pairs_is_said(runs: dict[str, Path]) -> None:
    (found,) = [block for block in _blocks(runs["plain"], baseline=(runs["four"],)) if isinstance(block, Versus)]
    grid = RunDirectory(runs["four"]).arrays("grid")
    assert grid is not None
    np.testing.assert_array_equal(found.pairs[0][0].pixels, grid["images"][0])
    blocks = _blocks(runs["plain"], baseline=(runs["other"],))
    assert not [block for block in blocks if isinstance(block, Versus)]
    assert [block.text for block in blocks if isinstance(block, Note)][-1].endswith("seed 0 here, seed 1 there.")


def test_other_classes_are_no_pairs(runs: dict[str, Path], tmp_path: Path) -> None:
    other = _copied(runs["four"], tmp_path / "run")
    grid = RunDirectory(other).arrays("grid")
    assert grid is not None
    RunDirectory(other).save_arrays("grid", {**grid, "labels": grid["labels"][::-1]})
    assert not [block for block in _blocks(runs["plain"], other) if isinstance(block, Versus)]


def test_an_older_run_lacks_the_galleries(runs: dict[str, Path], tmp_path: Path) -> None:
    old = _copied(runs["plain"], tmp_path / "old")
    (old / "sample_pictures.npz").unlink()
    assert tuple(_galleries(_blocks(old))) == ("Uncurated grid",)
    assert "seed 0, image 3, class " in _galleries(_blocks(old))["Uncurated grid"].tiles[3].alt


def test_pictures_of_another_kind_are_one_warning(runs: dict[str, Path], tmp_path: Path) -> None:
    hurt = _copied(runs["plain"], tmp_path / "hurt")
    held = RunDirectory(hurt).arrays("sample_pictures")
    assert held is not None
    del held["worst_realism"]
    RunDirectory(hurt).save_arrays("sample_pictures", held)
    blocks = _blocks(hurt)
    assert tuple(_galleries(blocks)) == ("Uncurated grid",)
    (note,) = [block for block in blocks if isinstance(block, Note)]
    assert note.tone == "warn"
    (hurt / "sample_pictures.npz").write_bytes(b"PK broken")
    assert tuple(_galleries(_blocks(hurt))) == ("Uncurated grid",)


def test_the_page_of_a_copied_run_holds_all_of_them(runs: dict[str, Path], tmp_path: Path) -> None:
    text = report([_copied(runs["plain"], tmp_path / "elsewhere")], tmp_path / "page.html").read_text()
    for title in TITLES:
        assert title in text
    assert 'alt="seed 0, image 0, class' in text


def test_without_evaluations_there_is_nothing(tiny_checkpoint: Path) -> None:
    assert _blocks(tiny_checkpoint) == []
    assert Story(runs=()).evaluations == ()


def test_pairs_of_the_check_say_what_was_measured_of_each(runs: dict[str, Path]) -> None:
    (told,) = read_story([runs["plain"]], gate=None, baseline=()).runs
    assert told.results is not None
    pairs: list[dict[str, str | int | float | bool]] = [
        {"sample": 7, "training_image": "row 11", "ratio": 0.0, "by": "pixels", "grey_levels": 0.0, "mirrored": True,
         "copy": True},
        {"sample": 3, "training_image": "row 2", "ratio": 0.5, "by": "features", "grey_levels": 12.34,
         "mirrored": False, "copy": False},
    ]  # fmt: skip
    tables = {**told.results.tables, "memorization.pairs": tuple(pairs)}
    told = dataclasses.replace(told, results=dataclasses.replace(told.results, tables=tables))
    arrays = {"images": np.zeros((2, 2, 1, 8, 8), dtype=np.uint8), "sentence": np.array("Worst first.")}
    found = copies_gallery(told, arrays)
    assert found is not None
    assert found.title == "Nearest training images: 1 of these 2 samples is a copy"
    assert found.rows == ("copy: ratio 0.00 by pixels, 0.0 grey levels", "ratio 0.50 by features, 12.3 grey levels")
    assert found.tiles[0].alt == "seed 0, image 7, ratio 0.00 by pixels, 0.0 grey levels"
    assert found.tiles[0].command.endswith("--indices 7")
    assert found.tiles[1].alt.startswith("training image row 11, mirrored, ")
    assert [tile.chosen for tile in found.tiles] == [True, True, False, False]
    assert copies_gallery(told, {**arrays, "images": arrays["images"][:1]}) is None
