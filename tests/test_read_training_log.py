"""Logs of other tools become the same rows; what is no log is refused in one line."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from diffeval.data.source import open_source
from diffeval.errors import DiffevalError
from diffeval.training.recipe import Recipe
from diffeval.training.train import train
from diffeval.training_log import read_training_log


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def make(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return make


def test_ours_is_read_from_the_folder_of_a_training(tmp_path: Path) -> None:
    train(open_source("digits"), Recipe(steps=3, batch=8, warmup=1), tmp_path / "run", device="cpu")
    rows = read_training_log(tmp_path / "run")
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert set(rows[0]) == {"step", "loss", "gradient_norm"}
    written = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["loss"] for row in rows] == [row["loss"] for row in written]
    assert rows == read_training_log(tmp_path / "run" / "log.jsonl")


def test_columns_of_csv_are_known_by_their_usual_names(write: Callable[[str, str], Path]) -> None:
    text = "epoch,Global_Step,train_loss,grad_norm\n0,20,0.5,\n0,10,0.75,2.5\n1,,,\n"
    assert read_training_log(write("metrics.csv", text)) == [
        {"step": 10, "loss": 0.75, "gradient_norm": 2.5},
        {"step": 20, "loss": 0.5},
    ]
    assert read_training_log(write("metrics.tsv", text.replace(",", "\t")))[0]["loss"] == 0.75


def test_rows_without_steps_are_counted(write: Callable[[str, str], Path]) -> None:
    assert [row["step"] for row in read_training_log(write("a.csv", "loss\n3\n2\n1\n"))] == [1, 2, 3]


def test_of_a_step_that_was_logged_twice_the_last_row_counts(write: Callable[[str, str], Path]) -> None:
    rows = read_training_log(write("a.csv", "step,loss\n1,3\n2,2\n2,1.5\n3,1\n"))
    assert [(row["step"], row["loss"]) for row in rows] == [(1, 3.0), (2, 1.5), (3, 1.0)]


def test_losses_that_are_no_numbers_stay(write: Callable[[str, str], Path]) -> None:
    rows = read_training_log(write("a.csv", "step,loss\n1,3\n2,nan\n3,inf\n"))
    assert [str(row["loss"]) for row in rows] == ["3.0", "nan", "inf"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "step,accuracy\n1,2\n", r"a\.csv has no column of losses \(it has: step, accuracy\); name one loss"),
        ("a.csv", "step,loss\n1,high\n", r"a\.csv, row 1: loss is 'high', no number"),
        ("a.csv", "step,loss\nnan,1\n", r"a\.csv, row 1: step is 'nan', no step"),
        ("a.csv", "step,loss\n", r"a\.csv has no row with a loss"),
        ("a.jsonl", "", r"a\.jsonl has no row with a loss"),
        ("a.jsonl", '[1, 2]\n{"step": 1}\n', r"has no column of losses \(it has: step\)"),
        ("a.txt", "loss 1", r"a\.txt is none that is known; give a \.csv, a \.jsonl"),
        ("folder/a.txt", "", r"folder holds neither log\.jsonl nor a TensorBoard event file"),
    ],
)
def test_what_is_no_log_is_refused_in_a_line(
    write: Callable[[str, str], Path], name: str, text: str, message: str
) -> None:
    path = write(name, text)
    with pytest.raises(DiffevalError, match=message) as told:
        read_training_log(path if path.parent.name != "folder" else path.parent)
    assert "\n" not in str(told.value)


def test_bytes_that_are_no_text_are_refused_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"step,loss\n\xff\xfe,1\n")
    with pytest.raises(DiffevalError, match="is no CSV file"):
        read_training_log(path)
    with pytest.raises(DiffevalError, match="does not exist"):
        read_training_log(tmp_path / "b.csv")


def test_tensorboard_is_asked_for_where_it_is_needed(
    write: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("run/events.out.tfevents.1.host", "")
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(DiffevalError, match="needs tensorboard to be read; pip install tensorboard, or export"):
        read_training_log(path.parent)
    write("run/events.out.tfevents.2.host", "")
    with pytest.raises(DiffevalError, match=r"holds 2 event files; name one, e\.g\. .*tfevents\.2\.host"):
        read_training_log(path.parent)


class Events:
    """TensorBoard's accumulator, as far as it is called."""

    scalars: dict[str, list[tuple[int, float]]] = {}  # noqa: RUF012

    def __init__(self, path: str, size_guidance: dict[str, int]) -> None:
        assert size_guidance == {"scalars": 0}

    def Reload(self) -> None:  # noqa: N802
        pass

    def Tags(self) -> dict[str, list[str]]:  # noqa: N802
        return {"scalars": list(self.scalars)}

    def Scalars(self, tag: str) -> list[SimpleNamespace]:  # noqa: N802
        return [SimpleNamespace(step=step, value=value) for step, value in self.scalars[tag]]


def test_scalars_of_an_event_file_are_joined_by_step(
    write: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("events.out.tfevents.1.host", "")
    name = "tensorboard.backend.event_processing.event_accumulator"
    module = ModuleType(name)
    module.EventAccumulator = Events  # type: ignore[attr-defined]
    for part in ("tensorboard", "tensorboard.backend", "tensorboard.backend.event_processing"):
        monkeypatch.setitem(sys.modules, part, ModuleType(part))
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(Events, "scalars", {"train/loss": [(2, 0.5), (1, 1.0)], "train/grad_norm": [(1, 3.0)]})
    assert read_training_log(path) == [{"step": 1, "loss": 1.0, "gradient_norm": 3.0}, {"step": 2, "loss": 0.5}]
    monkeypatch.setattr(Events, "scalars", {"lr": [(1, 1.0)]})
    with pytest.raises(DiffevalError, match=r"has no scalar of losses \(it has: lr\)"):
        read_training_log(path)


def test_a_log_with_bytes_that_are_no_text_is_read_up_to_them(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 0.5}\n{"step": 2, "lo\xffss": 0.4}\n' + b"[" * 100_000)
    assert read_training_log(path) == [{"step": 1, "loss": 0.5}]
