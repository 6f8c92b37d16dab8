"""Images are committed while others are made, and what lies on disk is what one thread alone would write."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import diffeval.harvest
import diffeval.runs.chunks
from diffeval.committer import Committer, Piece
from diffeval.diffusion.sampling import Generator
from diffeval.errors import DiffevalError, StoppedError
from diffeval.evaluate import evaluate
from diffeval.plan import Settings
from diffeval.progress import SilentReporter
from diffeval.ranks import Ranks
from diffeval.runs.directory import RunDirectory
from diffeval.runs.files import replace_arrays

# Chunks of 250 images, in five batches each.
FAST = Settings(n=600, steps=2, device="cpu", batch=50)
SECONDS = 60


class _AtOnce(Committer):
    """Does what it is given where it is given it."""

    def submit(self, piece: Piece) -> None:
        piece()


def _run(checkpoint: Path, out: Path, reporter: SilentReporter | None = None, settings: Settings = FAST) -> Any:
    return evaluate(checkpoint, metrics=("fid",), settings=settings, out=out, keep="images", reporter=reporter)


def _files(run: Path) -> dict[str, bytes]:
    """All that is written per image, byte by byte."""
    return {
        str(path.relative_to(run)): path.read_bytes()
        for pattern in ("images/*.npz", "features/*/*.npz", "grid.npz")
        for path in run.glob(pattern)
    }


def _rows(run: Path) -> int:
    """Images that the run has on disk, features and all."""
    found = []
    for folder in (run / "images", *(run / "features").iterdir()):
        files = [np.load(path) for path in sorted(folder.glob("*.npz"))]
        found.append(sum(len(file[file.files[0]]) for file in files))
    return min(found)


def _status(run: Path) -> str:
    state = RunDirectory(run).state()
    assert state is not None
    return state.status


def _on_writing(monkeypatch: pytest.MonkeyPatch, before: Callable[[Path], None]) -> None:
    """Does something before each chunk is written."""

    def write(path: Path, arrays: Mapping[str, Any]) -> None:
        before(path)
        replace_arrays(path, arrays)

    monkeypatch.setattr(diffeval.runs.chunks, "replace_arrays", write)


def _on_making(monkeypatch: pytest.MonkeyPatch, before: Callable[[range], None]) -> None:
    """Does something before each batch is made."""
    original = Generator.images

    def images(self: Generator, indices: range) -> Any:
        before(indices)
        return original(self, indices)

    monkeypatch.setattr(Generator, "images", images)


def test_what_is_committed_is_what_one_thread_writes(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(tiny_checkpoint, tmp_path / "ours")
    monkeypatch.setattr(diffeval.harvest, "Committer", _AtOnce)
    _run(tiny_checkpoint, tmp_path / "plain")
    ours, plain = _files(tmp_path / "ours"), _files(tmp_path / "plain")
    assert len(ours) == 7, "three chunks of images and of features, and the grid"
    assert ours == plain


def test_images_are_made_while_others_are_written(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first chunk is not written before an image of the second is being made."""
    begun, threads = threading.Event(), set[str]()

    def writing(path: Path) -> None:
        assert begun.wait(SECONDS), "nothing is made while a chunk is written"
        threads.add(threading.current_thread().name)

    def making(indices: range) -> None:
        if indices.start == 250:
            begun.set()

    _on_writing(monkeypatch, writing)
    _on_making(monkeypatch, making)
    _run(tiny_checkpoint, tmp_path / "run")
    assert threads == {"diffeval-committer"}
    assert threading.main_thread().name not in threads


def test_no_more_than_a_chunk_waits(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first chunk is written the second may wait, and a batch of the third is made, but no other."""
    third, beyond, found = threading.Event(), threading.Event(), list[bool]()

    def writing(path: Path) -> None:
        if not found:
            found.append(third.wait(SECONDS))
            found.append(beyond.wait(1.0))

    def making(indices: range) -> None:
        if indices.start == 500:
            third.set()
        elif indices.start > 500:
            beyond.set()

    _on_writing(monkeypatch, writing)
    _on_making(monkeypatch, making)
    _run(tiny_checkpoint, tmp_path / "run", settings=Settings(n=800, steps=1, device="cpu", batch=125))
    assert found == [True, False]


def test_a_run_that_cannot_be_written_ends_soon_with_one_line(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Where its features should go lies a file."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "features").write_text("in the way")
    made, settings = list[range](), Settings(n=5000, steps=1, device="cpu", batch=125)
    with pytest.MonkeyPatch.context() as patch:
        _on_making(patch, made.append)
        with pytest.raises(DiffevalError, match=r"^cannot write .*features.*00000000\.npz: .*choose --out$") as caught:
            _run(tiny_checkpoint, tmp_path / "run", settings=settings)
    assert isinstance(caught.value.__cause__, OSError)
    assert _status(tmp_path / "run") == "failed"
    assert len(made) <= 2 + 3 + 1, "the first chunk, what may wait, and the batch at work"
    assert [path.name for path in (tmp_path / "run" / "images").iterdir()] == ["00000000.npz"]
    (tmp_path / "run" / "features").unlink()
    results = _run(tiny_checkpoint, tmp_path / "run", settings=replace(settings, n=500))
    assert results.score("fid").n == 500


class _Stopper(SilentReporter):
    """Asks to stop after so many images."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after, self.seen = after, 0

    def advance(self, units: int, detail: str = "") -> None:
        self.seen += units
        self.stop_requested = self.seen >= self.after


def test_all_that_was_made_is_on_disk_when_a_run_stops(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _on_writing(monkeypatch, lambda path: time.sleep(0.2))
    with pytest.raises(StoppedError, match=r"stopped at image 350; run the same command to continue"):
        _run(tiny_checkpoint, tmp_path / "run", _Stopper(350))
    assert _rows(tmp_path / "run") == 350
    assert _status(tmp_path / "run") == "stopped"
    _run(tiny_checkpoint, tmp_path / "run")
    _run(tiny_checkpoint, tmp_path / "whole")
    assert _files(tmp_path / "run") == _files(tmp_path / "whole")


def test_a_run_that_stops_and_cannot_be_written_has_failed(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not say that the same command continues from what was never written."""

    def writing(path: Path) -> None:
        if path.name == "00000250.npz":
            raise DiffevalError(f"cannot write {path}: No space left on device; free the disk or choose --out")

    _on_writing(monkeypatch, writing)
    with pytest.raises(DiffevalError, match="No space left on device") as caught:
        _run(tiny_checkpoint, tmp_path / "run", _Stopper(350))
    assert not isinstance(caught.value, StoppedError)
    assert _status(tmp_path / "run") == "failed"
    assert _rows(tmp_path / "run") == 250


def test_a_second_ctrl_c_loses_no_chunk_that_was_made_whole(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def making(indices: range) -> None:
        if indices.start == 550:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        _on_writing(patch, lambda path: time.sleep(0.2))
        _on_making(patch, making)
        with pytest.raises(KeyboardInterrupt):
            _run(tiny_checkpoint, tmp_path / "run")
    assert _rows(tmp_path / "run") == 500
    assert _status(tmp_path / "run") == "stopped"
    assert not list((tmp_path / "run").rglob(".*.npz.*")), "nothing is half written"
    assert not [one for one in threading.enumerate() if one.name == "diffeval-committer"]
    _run(tiny_checkpoint, tmp_path / "run")
    _run(tiny_checkpoint, tmp_path / "whole")
    assert _files(tmp_path / "run") == _files(tmp_path / "whole")


def test_ranks_speak_of_what_they_made_once_it_is_on_disk(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The word that ends a round is the batch; ``missing`` is read after it."""
    original, rows = Ranks.gather, list[int]()

    def gather(self: Ranks, word: Any, reporter: Any) -> list[Any]:
        if word == FAST.batch:
            rows.append(_rows(tmp_path / "run"))
        return original(self, word, reporter)

    _on_writing(monkeypatch, lambda path: time.sleep(0.2))
    monkeypatch.setattr(Ranks, "gather", gather)
    _run(tiny_checkpoint, tmp_path / "run")
    assert rows == [600]


def test_memory_that_gives_out_while_chunks_are_written(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is halved in the run's state meanwhile, and neither file disturbs the other."""

    def making(indices: range) -> None:
        if indices.start >= 250 and len(indices) > 25:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )

    _on_writing(monkeypatch, lambda path: time.sleep(0.2))
    _on_making(monkeypatch, making)
    results = _run(tiny_checkpoint, tmp_path / "run")
    assert results.provenance.batch == 25
    assert results.warnings == ("out of memory with a batch of 50; going on with 25",)
    assert _rows(tmp_path / "run") >= 600
    state = RunDirectory(tmp_path / "run").state()
    assert state is not None
    assert (state.batch, state.status) == (25, "done")
