"""What the command line says about images on disk: one line and exit code 2, never a traceback."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from diffeval.cli.app import make_app


def run(*words: str):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(make_app(), [*words, "--steps", "2", "--batch", "4"], prog_name="diffeval")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def photos() -> Path:
    Path("photos").mkdir()
    for row in range(12):
        array = np.random.default_rng(row).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(array).save(f"photos/{row:02}.png")
    Path("photos/05.png").write_bytes(b"text")
    return Path("photos")


def test_bad_images_stop_training_and_can_be_skipped(photos: Path) -> None:
    stopped = run("train", "folder:photos", "--out", "out")
    assert stopped.exit_code == 2
    assert (
        "error: folder:photos: 1 of 12 images cannot be used: 05.png (not an image that is read here)"
        in stopped.stderr
    )
    assert not Path("out").exists()
    skipped = run("train", "folder:photos", "--out", "out", "--on-bad", "skip")
    assert skipped.exit_code == 0, skipped.output
    assert "1 of 12 images cannot be used and was left out, 11 remain: 05.png" in skipped.stderr
    assert Path("out/unet").is_dir()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("folder:none",), "folder:none: needs a folder, and none does not exist"),
        (("folder:text",), "folder:text: holds no images but only other files (1 .txt)"),
        (("zip:evil.zip",), "has a member '../evil.png' that leads out of it; refused"),
        (("mnist:text",), "add --download to fetch it"),
        (("foldr:text",), "did you mean 'folder'"),
        (("folder:text@trian",), "did you mean 'train'"),
        (("digits", "--on-bad", "ignore"), "--on-bad is 'ignore', must be stop or skip"),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], line: str) -> None:
    Path("text").mkdir()
    Path("text/a.txt").write_text("x")
    with zipfile.ZipFile("evil.zip", "w") as archive:
        archive.writestr("../evil.png", b"x")
    done = run("train", *words, "--out", "out")
    assert done.exit_code == 2
    assert line in done.stderr
    assert "Traceback" not in done.output
    assert len([text for text in done.stderr.splitlines() if text.startswith("error:")]) == 1
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "words", [("--n", "1" + "0" * 30), ("--batch", "1" + "0" * 9), ("--at", "1" + "0" * 20), ("--n", "9" * 400)]
)
def test_numbers_beyond_any_run_are_refused_in_one_line(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(make_app(), ["fid", "digits", "--dry-run", *words])
    assert done.exit_code == 2
    assert words[0] in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
