"""What lies on the disk after a training was killed, or the disk erred: it is known by its checksums."""

import shutil
from pathlib import Path

import pytest

from diffeval.checkpoints.checkpoint import load
from diffeval.checkpoints.options import LoadOptions
from diffeval.data.source import open_source
from diffeval.errors import DiffevalError
from diffeval.training import state as saving
from diffeval.training.recipe import Recipe
from diffeval.training.train import Training, train

RECIPE = Recipe(steps=2, batch=8, warmup=1)


def _flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 16
    path.write_bytes(bytes(content))


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    train(open_source("digits@train"), RECIPE, tmp_path / "trained", device="cpu")
    return tmp_path / "trained"


def test_a_flipped_bit_in_the_state_is_found(trained: Path) -> None:
    whole = saving.load_state(trained, "cpu")
    assert whole is not None
    _flip(trained / saving.STATE, (trained / saving.STATE).stat().st_size // 2)
    with pytest.raises(DiffevalError, match="is damaged; train anew in another --out"):
        saving.load_state(trained, "cpu")


@pytest.mark.parametrize("name", ["unet", "unet_raw"])
def test_a_flipped_bit_in_the_weights_is_found(trained: Path, name: str) -> None:
    assert load(str(trained)).training_step == 2
    weights = next((trained / name).glob("*.safetensors"))
    _flip(weights, weights.stat().st_size - 5)
    with pytest.raises(DiffevalError, match=rf"the weights in .*{name} are not those that .*diffeval\.json"):
        load(str(trained), LoadOptions(raw=name == "unet_raw"))


def test_weights_of_two_saves_are_not_taken_for_a_checkpoint(trained: Path, tmp_path: Path) -> None:
    """As a kill between the renames of a save leaves them."""
    train(open_source("digits@train"), Recipe(steps=3, batch=8, warmup=1), tmp_path / "later", device="cpu")
    shutil.rmtree(trained / "unet")
    shutil.copytree(tmp_path / "later" / "unet", trained / "unet")
    with pytest.raises(DiffevalError, match=r"a save was interrupted \(diffeval train .* --resume mends it\)"):
        load(str(trained))
    # Without the card there is nothing that says which weights belong together.
    (trained / "diffeval.json").unlink()
    assert load(str(trained)).training_step is None


def test_a_full_disk_is_one_line(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving.UNet2DModel, "save_pretrained", full)
    out = trained.parent / "other"
    with pytest.raises(DiffevalError, match="No space left on device; free the disk or choose --out"):
        train(open_source("digits@train"), RECIPE, out, device="cpu")
    monkeypatch.undo()
    train(open_source("digits@train"), RECIPE, out, device="cpu", resume=True)
    name = "unet/diffusion_pytorch_model.safetensors"
    assert (out / name).read_bytes() == (trained / name).read_bytes()


@pytest.mark.parametrize("part", ["_write", "_put_in_place"])
def test_a_first_save_that_is_broken_off_can_be_continued(
    trained: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Neither --resume nor starting anew was possible where the checkpoint was there and the state was not."""

    def struck(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(*((Training, part) if part == "_write" else (saving, part)), struck)
    out = trained.parent / "other"
    with pytest.raises(KeyboardInterrupt):
        train(open_source("digits@train"), RECIPE, out, device="cpu")
    monkeypatch.undo()
    train(open_source("digits@train"), RECIPE, out, device="cpu", resume=True)
    name = "unet/diffusion_pytorch_model.safetensors"
    assert (out / name).read_bytes() == (trained / name).read_bytes()
