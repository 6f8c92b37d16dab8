"""Weights files: found, fetched, summed, and read without running anything in them."""

import hashlib
import os
import pickle
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from diffeval.errors import DiffevalError
from diffeval.features.extractor import ExtractorRequest
from diffeval.features.opening import open_extractor
from diffeval.features.weights import Published, fill, find_weights, read_state, weights_folder

CPU = torch.device("cpu")
CONTENT = b"weights" * 1000
SUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


@pytest.fixture
def server() -> Iterator[str]:
    """Serves CONTENT; under /short it promises more than it sends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            if self.path == "/gone":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT) * (2 if self.path == "/short" else 1)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def _published(url: str = "http://127.0.0.1:9/net.pth", digits: int = 8) -> Published:
    return Published("net.pth", url, SUM[:digits])


def test_a_named_file_is_taken_with_its_own_sum(tmp_path: Path) -> None:
    (tmp_path / "mine.pth").write_bytes(b"other")
    found = find_weights("net", _published(), ExtractorRequest(CPU, weights=tmp_path / "mine.pth"))
    assert found.sha256 == hashlib.sha256(b"other").hexdigest()
    assert found.short == found.sha256[:16]


@pytest.mark.parametrize("digits", [8, 64])
def test_a_file_under_the_published_name_must_have_its_sum_and_both_are_said(tmp_path: Path, digits: int) -> None:
    (tmp_path / "net.pth").write_bytes(b"other")
    with pytest.raises(DiffevalError) as caught:
        find_weights("net", _published(digits=digits), ExtractorRequest(CPU, weights=tmp_path / "net.pth"))
    assert hashlib.sha256(b"other").hexdigest() in str(caught.value)
    assert SUM[:digits] in str(caught.value)


def test_a_missing_file_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(
        DiffevalError, match=r"does not exist; fetch http://127\.0\.0\.1:9/net\.pth elsewhere and put it"
    ):
        find_weights("net", _published(), ExtractorRequest(CPU, weights=tmp_path / "none.pth"))


def test_offline_never_asks_the_network(server: str) -> None:
    with pytest.raises(DiffevalError, match="--offline forbids") as caught:
        find_weights("net", _published(f"{server}/net.pth"), ExtractorRequest(CPU, offline=True))
    assert str(weights_folder()) in str(caught.value)
    assert not weights_folder().exists()


@pytest.mark.parametrize("folder", ["cache/weights", "hub/checkpoints"])
def test_a_file_in_the_cache_or_torch_hubs_is_found_offline(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "net.pth").write_bytes(CONTENT)
    found = find_weights("net", _published(), ExtractorRequest(CPU, offline=True))
    assert found.path == tmp_path / folder / "net.pth"


def test_a_download_is_kept_and_not_made_twice(server: str) -> None:
    first = find_weights("net", _published(f"{server}/net.pth"), ExtractorRequest(CPU))
    assert first.path.read_bytes() == CONTENT
    assert find_weights("net", _published(), ExtractorRequest(CPU, offline=True)) == first
    assert os.listdir(weights_folder()) == ["net.pth"]


@pytest.mark.parametrize(
    ("path", "sha256", "said"),
    [
        ("/net.pth", "0" * 64, f"gave a file with sha256 {SUM}, and {'0' * 64} is expected"),
        ("/short", SUM, f"the connection ended after {len(CONTENT)} of {2 * len(CONTENT)} bytes"),
        ("/gone", SUM, "Not Found"),
    ],
)
def test_a_download_that_fails_leaves_nothing_behind(server: str, path: str, sha256: str, said: str) -> None:
    with pytest.raises(DiffevalError, match=said):
        find_weights("net", Published("net.pth", server + path, sha256), ExtractorRequest(CPU))
    assert os.listdir(weights_folder()) == []


def test_state_dicts_are_found_where_people_leave_them(tmp_path: Path) -> None:
    state = {"a": torch.arange(3.0)}
    torch.save(state, tmp_path / "plain.pth")
    torch.save({"state_dict": {"module.a": state["a"]}, "epoch": 3}, tmp_path / "nested.pth")
    save_file(state, tmp_path / "file.safetensors")
    for name in ("plain.pth", "nested.pth", "file.safetensors"):
        assert torch.equal(read_state("net", tmp_path / name)["a"], state["a"]), name


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch exploded",)


def test_a_pickle_that_wants_to_run_code_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": _Bomb()}, "bomb.pth")
    with pytest.raises(DiffevalError, match=r"refuses .*bomb.pth: it wants to run \w*\.?system"):
        read_state("net", Path("bomb.pth"))
    assert not Path("exploded").exists()


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    for name, part in (("cut.pth", content[:2000]), ("text.pth", b"hello"), ("no.safetensors", b"hello")):
        (tmp_path / name).write_bytes(part)
        with pytest.raises(DiffevalError, match=r"net (cannot read|refuses)") as caught:
            read_state("net", tmp_path / name)
        assert "\n" not in str(caught.value)


class _Layered(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layer = torch.nn.Linear(3, 2, device="meta")
        self.layer.weight = torch.nn.Parameter(torch.randn(2, 3, generator=generator).half())
        self.layer.bias = torch.nn.Parameter(torch.randn(2, generator=generator))
        self.register_buffer("turned", torch.arange(6).reshape(2, 3).T)
        self.count = 7

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated")  # OpenAI's files are such archives
def test_a_torchscript_archive_is_read_without_its_code(tmp_path: Path) -> None:
    module = _Layered()
    torch.jit.script(module).save(str(tmp_path / "archive.pt"))
    found = read_state("net", tmp_path / "archive.pt")
    expected = module.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value), name


def test_an_archive_that_wants_to_run_code_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("bomb.pt", "w") as archive:
        archive.writestr("bomb/constants.pkl", pickle.dumps(()))
        archive.writestr("bomb/data.pkl", pickle.dumps({"a": _Bomb()}))
    with pytest.raises(DiffevalError, match=r"wants to run \w+\.system"):
        read_state("net", Path("bomb.pt"))
    assert not Path("exploded").exists()


def test_filling_a_network_names_what_does_not_fit() -> None:
    network = torch.nn.Linear(3, 2, device="meta")
    with pytest.raises(
        DiffevalError, match=r"of 2 tensors 1 missing \(bias\), 1 unknown \(scale\), 1 of another shape \(weight\)"
    ):
        fill("net", network, {"weight": torch.zeros(3, 2), "scale": torch.zeros(1)}, Path("net.pth"))


@pytest.mark.parametrize("name", ["digits", "clip:digits"])
def test_built_in_networks_refuse_weights_of_nothing(tmp_path: Path, name: str) -> None:
    """Text, an archive without their tensors, and a pipe that nobody writes into."""
    (tmp_path / "text").write_text("[[rule]]")
    save_file({"x": torch.zeros(2)}, tmp_path / "other")
    os.mkfifo(tmp_path / "pipe")
    for path in tmp_path.iterdir():
        with pytest.raises(
            DiffevalError, match=r"^(extractor: digits cannot load|digits judge: .*is no file of its own)"
        ):
            open_extractor(name, ExtractorRequest(CPU, weights=path))
