import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffeval.data import inventory
from diffeval.data.source import OpenOptions, open_source
from diffeval.errors import DiffevalError, StoppedError
from diffeval.progress import SilentReporter


class Listener(SilentReporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []
        self.read = 0

    def note(self, message: str) -> None:
        self.notes.append(message)

    def advance(self, units: int, detail: str = "") -> None:
        self.read += units


def images(n: int, size: tuple[int, ...] = (8, 8, 3), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *size), dtype=np.uint8)


def write(folder: Path, arrays: np.ndarray, first: int = 0) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{first + row:03}.png" for row in range(len(arrays))]
    for path, array in zip(paths, arrays, strict=True):
        Image.fromarray(array).save(path)
    return paths


@pytest.fixture
def troubled(tmp_path: Path) -> Path:
    """200 images: 7 broken, 3 black, 4 copies of the first."""
    arrays = images(200)
    arrays[20:23] = 0
    arrays[50:54] = arrays[0]
    for row, path in enumerate(write(tmp_path / "troubled", arrays)[100:107]):
        path.write_bytes(path.read_bytes()[:60] if row % 2 else b"text")
    return tmp_path / "troubled"


def test_images_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    arrays = images(40)
    write(tmp_path / "a", arrays[20:], first=20)
    write(tmp_path / "a", arrays[:20])
    source = open_source(f"folder:{tmp_path / 'a'}")
    assert (source.split, len(source), source.shape, source.labels) == ("all", 40, (3, 8, 8), None)
    assert np.array_equal(source.images, arrays.transpose(0, 3, 1, 2))
    assert [len(batch) for batch in source.batches(16)] == [16, 16, 8]
    assert np.array_equal(source.pixels.read([7, 3, 7]), arrays[[7, 3, 7]].transpose(0, 3, 1, 2))
    assert source.in_memory().content_hash() == source.content_hash()
    assert np.array_equal(source.in_memory().images, source.images)
    assert source.in_memory(limit=40 * 192 - 1) is source


def test_bad_images_stop_the_work_and_are_counted_and_named(troubled: Path) -> None:
    counted = r"7 of 200 images cannot be used: 100\.png \(not an image.*\), 101\.png \(truncated\), .* and 4 more;"
    with pytest.raises(DiffevalError, match=f"{counted}.*--on-bad skip") as caught:
        open_source(f"folder:{troubled}")
    assert "\n" not in str(caught.value)


def test_skipping_goes_on_with_the_true_number_and_says_what_else_is_wrong(troubled: Path) -> None:
    listener = Listener()
    source = open_source(f"folder:{troubled}", options=OpenOptions(on_bad="skip", reporter=listener))
    assert len(source) == 193
    assert source.triage.looked_at == 200
    assert [(finding.what.split(",")[0], finding.count) for finding in source.triage.findings] == [
        ("cannot be used and were left out", 7),
        ("are of a single colour", 3),
        ("are exact copies of an earlier one", 4),
    ]
    assert listener.warnings[1].endswith("3 of 200 images are of a single colour: 020.png, 021.png, 022.png")
    assert listener.read == 200


def test_a_second_look_reads_only_what_changed(troubled: Path) -> None:
    options = OpenOptions(on_bad="skip")
    before = open_source(f"folder:{troubled}", options=options)
    again = Listener()
    same = open_source(f"folder:{troubled}", options=OpenOptions(on_bad="skip", reporter=again))
    assert again.read == 0
    assert same.triage == before.triage
    assert same.content_hash() == before.content_hash()
    assert np.array_equal(same.images, before.images)
    Image.fromarray(images(1, seed=9)[0]).save(troubled / "100.png")
    mended = open_source(f"folder:{troubled}", options=OpenOptions(on_bad="skip", reporter=again))
    assert again.read == 1
    assert len(mended) == 194
    assert mended.content_hash() != before.content_hash()


def test_a_damaged_cache_is_passed_over(troubled: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIFFEVAL_CACHE", str(tmp_path / "cache"))
    options = OpenOptions(on_bad="skip")
    before = open_source(f"folder:{troubled}", options=options)
    (kept,) = (tmp_path / "cache" / "inventories").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert open_source(f"folder:{troubled}", options=options).content_hash() == before.content_hash()


def test_reading_stops_when_asked_to(tmp_path: Path) -> None:
    write(tmp_path / "a", images(20))
    listener = Listener()
    listener.stop_requested = True
    with pytest.raises(StoppedError, match="stopped while reading"):
        open_source(f"folder:{tmp_path / 'a'}", options=OpenOptions(reporter=listener))


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    for name, count in (("10", 3), ("9", 2)):
        write(tmp_path / "a" / name / "deep", images(count, seed=count))
    source = open_source(f"folder:{tmp_path / 'a'}")
    assert source.classes == ("9", "10"), "numbers are ordered as numbers"
    assert source.labels is not None
    assert source.labels.tolist() == [1, 1, 1, 0, 0]
    assert any("2 classes by sub-folder" in note for note in source.notes)
    write(tmp_path / "a", images(1, seed=7))
    source = open_source(f"folder:{tmp_path / 'a'}")
    assert source.labels is None
    assert any("so they have no classes" in note for note in source.notes)


def test_folders_named_as_parts_are_parts(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("val", 3), ("test", 2)):
        for name in ("cat", "dog"):
            write(tmp_path / "a" / part / name, images(count, seed=hash_of(part, name)))
    sizes = {
        split: len(open_source(f"folder:{tmp_path / 'a'}@{split}")) for split in ("train", "heldout", "test", "all")
    }
    assert sizes == {"train": 8, "heldout": 6, "test": 4, "all": 18}
    omitted = open_source(f"folder:{tmp_path / 'a'}")
    assert omitted.spec.endswith("@train")
    assert omitted.classes == ("cat", "dog")
    for path in (tmp_path / "a" / "test").rglob("*.png"):
        path.unlink()
    with pytest.raises(DiffevalError, match="has no part 'test', only the folders train"):
        open_source(f"folder:{tmp_path / 'a'}@test")


def hash_of(part: str, name: str) -> int:
    return sum(map(ord, part + name))


def test_without_parts_there_is_a_seeded_split_that_divides_every_class(tmp_path: Path) -> None:
    for name, count in (("a", 40), ("b", 20)):
        write(tmp_path / "x" / name, images(count, seed=count))
    train, heldout = (open_source(f"folder:{tmp_path / 'x'}@{split}") for split in ("train", "heldout"))
    assert (len(train), len(heldout)) == (54, 6)
    assert np.bincount(heldout.labels).tolist() == [4, 2]  # type: ignore[arg-type]
    seen = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in seen for image in heldout.images)
    assert any("seeded 9:1 split, 54 of 60" in note for note in train.notes)
    with pytest.raises(DiffevalError, match="has no test part of its own"):
        open_source(f"folder:{tmp_path / 'x'}@test")


def test_copies_across_the_split_are_named(tmp_path: Path) -> None:
    write(tmp_path / "x", np.concatenate([images(10), images(10)]))
    heldout = open_source(f"folder:{tmp_path / 'x'}@heldout")
    assert len(heldout) == 2
    across = [finding.count for finding in heldout.triage.findings if finding.what == "are also in the other part"]
    assert across in ([2], [1], []), "each of the two has its twin here or there"
    twins = len({image.tobytes() for image in heldout.images})
    assert across == ([2] if twins == 2 else [])


def test_different_sizes_are_counted_and_batches_stay_of_one(tmp_path: Path) -> None:
    write(tmp_path / "x", images(5))
    write(tmp_path / "x", images(2, (4, 6, 3)), first=5)
    write(tmp_path / "x", images(1, seed=1), first=7)
    source = open_source(f"folder:{tmp_path / 'x'}")
    assert [batch.shape for batch in source.batches(4)] == [(4, 3, 8, 8), (1, 3, 8, 8), (2, 3, 4, 6), (1, 3, 8, 8)]
    assert source.triage.warnings() == ("2 of 8 images are not 8 x 8 as most are: 005.png, 006.png",)
    with pytest.raises(DiffevalError, match=r"different sizes \(6 of 8 x 8, 2 of 4 x 6\).*resize them first"):
        _ = source.shape
    with pytest.raises(DiffevalError, match="cannot be read together"):
        source.pixels.read([4, 5])
    assert source.in_memory() is source


def test_grey_among_colour_becomes_rgb_and_is_said(tmp_path: Path) -> None:
    write(tmp_path / "x", images(2))
    grey = images(1, (8, 8))
    write(tmp_path / "x", grey, first=2)
    source = open_source(f"folder:{tmp_path / 'x'}")
    assert source.shape == (3, 8, 8)
    assert np.array_equal(source.images[2], np.repeat(grey, 3, axis=0))
    assert source.triage.notes() == ("1 of 3 images is grey, made RGB: 002.png",)


def test_other_files_are_counted_and_hidden_ones_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "x", images(2))
    write(tmp_path / "x" / "__MACOSX", images(1))
    write(tmp_path / "x" / ".thumbs", images(1))
    (tmp_path / "x" / "readme.txt").write_text("x")
    source = open_source(f"folder:{tmp_path / 'x'}")
    assert len(source) == 2
    assert source.notes == ("passed over, no images: 1 .txt",)


def test_a_folder_that_links_to_itself_is_read_once(tmp_path: Path) -> None:
    write(tmp_path / "x", images(2))
    (tmp_path / "x" / "loop").symlink_to(tmp_path / "x", target_is_directory=True)
    assert len(open_source(f"folder:{tmp_path / 'x'}")) == 2


def test_a_file_that_changes_under_way_is_named(tmp_path: Path) -> None:
    paths = write(tmp_path / "x", images(3))
    source = open_source(f"folder:{tmp_path / 'x'}")
    paths[1].unlink()
    with pytest.raises(DiffevalError, match=r"001\.png could be read before and cannot be now"):
        source.pixels.read([0, 1])
    write(tmp_path / "x", images(1, (4, 4, 3)), first=1)
    with pytest.raises(DiffevalError, match=r"001\.png has changed"):
        source.pixels.read([0, 1])


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_a_zip_file_is_the_folder_it_was_made_from(tmp_path: Path) -> None:
    paths = [*write(tmp_path / "x" / "a", images(20)), *write(tmp_path / "x" / "b", images(20, seed=1))]
    members = {path.relative_to(tmp_path / "x").as_posix(): path.read_bytes() for path in paths}
    archive = zipped(tmp_path / "x.zip", {**members, "__MACOSX/a/000.png": b"x", "inner.zip": b"PK"})
    source, folder = open_source(f"zip:{archive}"), open_source(f"folder:{tmp_path / 'x'}")
    assert np.array_equal(source.images, folder.images)
    assert source.content_hash() == folder.content_hash()
    assert source.classes == ("a", "b")
    assert "passed over, no images: 1 .zip" in source.notes


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/etc/evil.png", "C:\\evil.png", "..\\evil.png"])
def test_a_member_that_climbs_out_is_refused_by_name(tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path / "x.zip", {"ok.png": b"", name: b""})
    with pytest.raises(DiffevalError, match=r"evil\.png' that leads out of it; refused"):
        open_source(f"zip:{archive}")


def test_a_bomb_is_refused_unopened(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", {"bomb.png": bytes(101_000_000)})
    with pytest.raises(DiffevalError, match=r"bomb\.png' that grows from \d+ to 101000000 bytes; refused"):
        open_source(f"zip:{archive}")


def test_damage_in_an_archive_is_a_bad_image(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(images(1)[0]).save(buffer, "PNG")
    archive = zipped(tmp_path / "x.zip", {"a.png": buffer.getvalue(), "b.png": buffer.getvalue()})
    data = bytearray(archive.read_bytes())
    data[60] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(DiffevalError, match=r"1 of 2 images cannot be used: a\.png \(damaged in the archive"):
        open_source(f"zip:{archive}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("folder:{0}/text", r"holds no images but only other files \(2 \.txt\)"),
        ("folder:{0}/empty", "holds no images but nothing"),
        ("folder:{0}/none", "does not exist"),
        ("folder:{0}/text/0.txt", "is a file; use zip:FILE or npz:FILE"),
        ("zip:{0}/text", "is a folder; use folder:DIR"),
        ("zip:{0}/text/0.txt", "as a zip file"),
        ("folder:", "needs a path"),
        ("folder", "needs a path"),
        ("folder:{0}/text@tset", "did you mean 'test'"),
        ("folder:{0}/text@val", "did you mean 'heldout'"),
    ],
)
def test_what_holds_no_images_says_what_it_holds(tmp_path: Path, spec: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    for row in range(2):
        (tmp_path / "text" / f"{row}.txt").write_text("x")
    with pytest.raises(DiffevalError, match=message) as caught:
        open_source(spec.format(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_path_may_hold_the_signs_of_the_grammar(tmp_path: Path) -> None:
    write(tmp_path / "a@b:c@x", images(10))
    assert len(open_source(f"folder:{tmp_path / 'a@b:c@x'}")) == 10
    assert len(open_source(f"folder:{tmp_path / 'a@b:c@x'}@heldout")) == 1


def test_a_name_that_would_break_the_line_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a\nb\x1b[31m.png").write_bytes(b"text")
    with pytest.raises(DiffevalError, match=r"a\\nb\\x1b\[31m\.png"):
        open_source(f"folder:{tmp_path / 'x'}")


def test_looks_are_taken_in_blocks_that_cover_everything(tmp_path: Path) -> None:
    arrays = images(2 * inventory.BLOCK + 5)
    write(tmp_path / "x", arrays)
    assert np.array_equal(open_source(f"folder:{tmp_path / 'x'}").images, arrays.transpose(0, 3, 1, 2))


def test_dataset_json_gives_the_classes_and_folders_do_not(tmp_path: Path) -> None:
    paths = [*write(tmp_path / "x" / "00000", images(3)), *write(tmp_path / "x" / "00001", images(2, seed=1))]
    names = [path.relative_to(tmp_path / "x").as_posix() for path in paths]
    declared = tmp_path / "x" / "dataset.json"
    declared.write_text(json.dumps({"labels": [[name, place % 2] for place, name in enumerate(names)]}))
    source = open_source(f"folder:{tmp_path / 'x'}")
    assert source.labels is not None
    assert (source.labels.tolist(), source.classes) == ([0, 1, 0, 1, 0], ("0", "1"))
    declared.write_text(json.dumps({"labels": [[name, 1 - place % 2] for place, name in enumerate(names)]}))
    assert open_source(f"folder:{tmp_path / 'x'}").content_hash() != source.content_hash()
    declared.write_text(json.dumps({"labels": [[names[0], 0]]}))
    source = open_source(f"folder:{tmp_path / 'x'}")
    assert source.labels is None
    assert "no class number for 4 of 5 images" in source.notes[0]
    declared.write_text('{"labels": null}')
    assert open_source(f"folder:{tmp_path / 'x'}").classes == ()
    archive = zipped(tmp_path / "x.zip", {"0/a.png": paths[0].read_bytes(), "1/a.png": paths[1].read_bytes()})
    assert open_source(f"zip:{archive}").classes == ("0", "1")
    declared.write_text('{"labels": 3}')
    with pytest.raises(DiffevalError, match=r"cannot read the labels in dataset\.json"):
        open_source(f"folder:{tmp_path / 'x'}")


def test_a_link_to_a_folder_that_this_one_lies_in_is_not_followed(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in (tmp_path / "elsewhere.png", photos / "a.png"):
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path)
    for name, target in (("up", ".."), ("here", "."), ("far", "../..")):
        (photos / name).symlink_to(target)
    assert len(open_source(f"folder:{photos}")) == 1


def test_an_archive_with_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as made:
        made.writestr("a.png", b"")
    content = (tmp_path / "photos.zip").read_bytes()
    at = content.rfind(b"PK\x01\x02")
    nameless = content[: at + 28] + b"\x00\x00" + content[at + 30 : at + 46] + content[at + 51 :]
    (tmp_path / "photos.zip").write_bytes(nameless)
    with pytest.raises(DiffevalError, match=r"without a name|cannot read"):
        open_source(f"zip:{tmp_path / 'photos.zip'}")
