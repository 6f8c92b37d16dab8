"""``diffeval show`` and the flags of a checkpoint, as a user meets them."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from diffeval.cli.app import make_app

CODE = """
import diffeval
from torch import nn

class Net(nn.Conv2d):
    def forward(self, x, time):
        return super().forward(x) * time[:, None, None, None]

def make():
    return Net(1, 1, 1), diffeval.Declaration(shape=(1, 8, 8), schedule="linear", timesteps=50)
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(CODE)
    torch.save({"model": {"weight": torch.ones(1, 1, 1, 1), "bias": torch.zeros(1)}}, "net.pt")


def _run(*words: str):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(make_app(), list(words), prog_name="diffeval")


def test_show_prints_what_was_understood_and_assumed() -> None:
    done = _run("show", "net.pt", "--model", "net.py:make", "--value-range", "0,1")
    assert done.exit_code == 0, done.output
    lines = {line.split("  ")[0]: line.split("  ")[-1].strip() for line in done.stdout.splitlines()}
    assert (lines["network"], lines["parameters"], lines["shape"]) == ("Net", "2", "1, 8, 8")
    assert (lines["schedule"], lines["timesteps"], lines["zero terminal snr"]) == ("linear", "50", "no")
    assert (lines["value range"], lines["classes"], lines["sampler"]) == ("0, 1", "none", "none")
    assert lines["overridden"] == "--value-range 0,1"
    assert "the prediction type is not declared: epsilon is assumed (--prediction)" in done.stdout
    assert "the time input is not declared: the timestep is assumed (--time)" in done.stdout


def test_show_of_the_digits_model_assumes_nothing() -> None:
    done = _run("show", "digits", "--json")
    document = json.loads(done.stdout)
    assert (document["schema"], document["assumed"], document["overridden"]) == ("diffeval.show/1", [], [])
    assert (document["null_class"], len(document["classes"]), document["steps"]) == (10, 10, 10)
    # log(alpha_bar / (1 - alpha_bar)) of the cosine schedule, from its closed form at the first of 1000 timesteps.
    angle = torch.tensor([0.008, 0.009], dtype=torch.float64) / 1.008 * torch.pi / 2
    first = (angle[1].cos() / angle[0].cos()) ** 2
    assert document["log_snr_first"] == pytest.approx(float((first / (1 - first)).log()), rel=1e-3)


def test_a_weights_file_is_measured_like_any_checkpoint() -> None:
    words = ("net.pt", "--model", "net.py:make", "--prediction", "sample", "--time", "t/T")
    done = _run("sample", *words, "--n", "4", "--steps", "5", "--device", "cpu", "--format", "npz")
    assert done.exit_code == 0, done.output
    again = _run("sample", *words[:-1], "step", "--n", "4", "--steps", "5", "--device", "cpu", "--format", "npz")
    assert again.exit_code == 0, again.output
    assert len(list(Path("runs").iterdir())) == 2, "two readings of a file are two models"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "net.pt"), "error: checkpoint: net.pt holds weights (model (2)) and no network; say which network"),
        (("show", "net.pt", "--model", "net.py:other"), "net.py has no function other"),
        (("show", "net.pt", "--model", "net.py:make", "--shape", "8"), "--shape: '8' is no shape; write C,H,W"),
        (("show", "net.pt", "--model", "net.py:make", "--value-range", "-1"), "--value-range: '-1' is no range"),
        (("show", "digits", "--null-class", "ten"), "--null-class: 'ten' is no class index; write a number, or none"),
        (("show", "digits", "--model", "net.py:make"), "--model is given, but a diffusers folder names its network"),
        (("show", "nothing.pt"), "nothing.pt does not exist; give a diffusers folder"),
        (("show", "net.py"), "net.py is a file, and none with weights by its name"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(words: tuple[str, ...], message: str) -> None:
    done = _run(*words)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_traceback_of_the_users_own_error_is_shown_on_request() -> None:
    Path("net.py").write_text("def make():\n    raise KeyError('width')\n")
    words = ("show", "net.pt", "--model", "net.py:make")
    assert "net.py:make fails: KeyError: 'width'" in _run(*words).stderr
    assert "Traceback" not in _run(*words).stderr
    assert "raise KeyError('width')" in _run(*words, "-v").stderr


def test_a_network_without_weights_has_none_in_the_file() -> None:
    Path("linear.py").write_text("from torch import nn\ndef make():\n    return nn.Identity()\n")
    torch.save({"weight": torch.ones(1)}, "linear.pt")
    done = _run("show", "linear.pt", "--model", "linear.py:make", "--shape", "1,8,8", "--schedule", "linear")
    assert done.exit_code == 2
    assert "no tensor in linear.pt has a name of the network's" in done.stderr
