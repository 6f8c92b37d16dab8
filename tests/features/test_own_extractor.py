"""Extractors by name, and of the user's own."""

from pathlib import Path

import numpy as np
import pytest
import torch

from diffeval.data.source import open_source
from diffeval.errors import DiffevalError
from diffeval.features.extractor import Extractor, ExtractorRequest
from diffeval.features.opening import open_extractor

CODE = """
import helper_of_mine
import torch
from diffeval.features.extractor import Extracted, Extractor

class Net(torch.nn.Module):
    def __init__(self, value=1.0):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(value))
    def forward(self, x):
        return x.float().mean((2, 3)) * self.scale

def network():
    return Net()

def other():
    return Net(2.0)

def function(request):
    return lambda x: helper_of_mine.twice(x).double().flatten(1).numpy()

def whole(request):
    return Extractor("mine", "mine/1", 1, "none", (), lambda images: Extracted(images.mean((1, 2, 3))[:, None], None))

def broken():
    raise ValueError("no such thing")

def nothing():
    return None

def late():
    def run(x):
        return x[0, 0, 0, 99]
    return run

def integers():
    return lambda x: x.flatten(1)[:, :2]

def flat():
    return lambda x: x.float().mean((1, 2, 3))

def endless():
    return lambda x: x.float().flatten(1) / 0
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "helper_of_mine.py").write_text("def twice(x):\n    return 2 * x.int()\n")
    monkeypatch.chdir(tmp_path)


def _open(spec: str) -> Extractor:
    return open_extractor(spec, ExtractorRequest(torch.device("cpu"), reference=open_source("digits")))


def test_a_module_of_the_users_own() -> None:
    extractor = _open("mine.py:network")
    images = open_source("digits").images[:70]
    np.testing.assert_allclose(extractor.run(images).features, images.mean((2, 3)), rtol=1e-5)
    assert (extractor.dim, extractor.classes) == (1, ())
    assert "hash of its code and tensors" in extractor.notes[0]


def test_a_function_may_take_the_request_and_import_its_neighbours() -> None:
    extractor = _open("mine.py:function")
    images = open_source("digits").images[:3]
    np.testing.assert_array_equal(extractor.run(images).features, images.reshape(3, -1) * np.float32(2))
    assert extractor.dim == 64


def test_an_importable_module_is_found_in_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "unique_module_of_mine.py").write_text(CODE)
    assert _open("unique_module_of_mine:network").dim == 1


def test_a_whole_extractor_is_taken_as_it_is() -> None:
    assert _open("mine.py:whole").id == "mine/1"


def test_the_id_follows_code_and_tensors(tmp_path: Path) -> None:
    first = _open("mine.py:network").id
    assert _open("mine.py:network").id == first
    assert _open("mine.py:other").id.split("/")[-1] != first.split("/")[-1]
    (tmp_path / "mine.py").write_text(CODE + "\n# changed\n")
    assert _open("mine.py:network").id != first


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("mine.py:broken", r"fails: ValueError: no such thing \(.*mine.py:26\)"),
        ("mine.py:nothing", "returns NoneType; needs a torch module, a function or an Extractor"),
        ("mine.py:late", r"fails: IndexError: .*mine.py:33\)"),
        ("mine.py:integers", r"gives uint8 of shape \(2, 2\) for 2 images; needs floating point"),
        ("mine.py:flat", r"gives float32 of shape \(2,\) for 2 images"),
        ("mine.py:endless", "gives NaN or infinity"),
        ("mine.py:absent", "mine.py has no function absent"),
        ("none.py:network", "none.py does not exist"),
        ("mine.py:", "names no function; write pkg.module:factory"),
        ("no_such_module_at_all:network", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
    ],
)
def test_what_is_wrong_with_it_is_one_line(spec: str, said: str) -> None:
    with pytest.raises(DiffevalError, match=said) as caught:
        _open(spec)
    assert "\n" not in str(caught.value)


def test_names_are_known_or_the_nearest_is_told() -> None:
    assert _open("digits").name == "digits"
    with pytest.raises(DiffevalError, match=r"unknown extractor 'inceptoin:192'; did you mean 'inception'\?"):
        _open("inceptoin:192")
    with pytest.raises(DiffevalError, match="unknown extractor 'resnet'; known: clip, digits, dinov2, fitted"):
        _open("resnet")
    with pytest.raises(DiffevalError, match="digits has no variant '2048'; write digits alone"):
        _open("digits:2048")
    with pytest.raises(DiffevalError, match="digits has a resizing of its own; leave --resize out"):
        open_extractor("digits", ExtractorRequest(torch.device("cpu"), resize="clean"))
