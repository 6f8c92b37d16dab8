"""The CLIP extractor against open_clip, and the activation that its weights were trained with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from PIL import Image

from diffeval.data.pixels import Images
from diffeval.errors import DiffevalError
from diffeval.features.clip import clip
from diffeval.features.clip_networks import OPENAI_KEYS
from diffeval.features.extractor import Extractor, ExtractorRequest

CPU = torch.device("cpu")


class _Box(torch.nn.Module):
    """Holds tensors under dotted names, as a scripted network does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def put(self, name: str, value: torch.Tensor) -> None:
        head, _, rest = name.partition(".")
        if not rest:
            self.register_buffer(head, value)
            return
        if head not in self._modules:
            self.add_module(head, _Box())
        box = self.get_submodule(head)
        assert isinstance(box, _Box)
        box.put(rest, value)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """ViT-B-32's image tower with a text tower that is as small as can be."""
    generator = torch.Generator().manual_seed(0)
    vision = CLIPVisionCfg(layers=12, width=768, patch_size=32, image_size=224)
    text = CLIPTextCfg(context_length=4, vocab_size=8, width=64, heads=1, layers=1)
    with torch.device("meta"):
        wanted = CLIP(512, vision, text, quick_gelu=True).state_dict()
    drawn = {name: torch.randn(value.shape, generator=generator) * 0.05 for name, value in wanted.items()}
    return drawn | {n: v + 1 for n, v in drawn.items() if ".ln_" in n and n.endswith("weight")}


@pytest.fixture(scope="module")
def plain(state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "somebody.pt"
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    return path


@pytest.fixture(scope="module")
def openai(state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as OpenAI published theirs: a TorchScript archive in half precision."""
    path = tmp_path_factory.mktemp("openai") / "renamed.pt"
    box = _Box()
    for name, value in state.items():
        box.put(name, value.half())
    for name, number in zip(OPENAI_KEYS, (224, 4, 8), strict=True):
        box.put(name, torch.tensor(number))
    torch.jit.script(box).save(str(path))
    return path


def _ours(path: Path, variant: str | None = None) -> Extractor:
    return clip(ExtractorRequest(CPU, weights=path, variant=variant))


def _pictures(images: Images) -> list[Image.Image]:
    return [Image.fromarray(image.transpose(1, 2, 0)) for image in images]


@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated")
def test_openais_weights_are_recognised_and_give_what_open_clip_makes_of_them(
    draw: Callable[..., Images], openai: Path
) -> None:
    images = draw(2, height=40, width=52)
    with torch.random.fork_rng():
        theirs = open_clip.load_openai_model(str(openai), precision="fp32", device="cpu")
    transform = open_clip.image_transform(
        224, is_train=False, mean=theirs.visual.image_mean, std=theirs.visual.image_std
    )
    with torch.inference_mode():
        expected = theirs.encode_image(torch.stack([transform(picture) for picture in _pictures(images)])).numpy()
    for variant in (None, "ViT-B-32", "ViT-B-32-quickgelu"):
        extractor = _ours(openai, variant)
        assert extractor.name == "clip:ViT-B-32-quickgelu"
        np.testing.assert_allclose(extractor.run(images).features, expected, atol=1e-5)
        said = "".join(extractor.notes)
        assert ("holds OpenAI's weights, which need QuickGELU" in said) == (variant == "ViT-B-32")


def test_the_activation_of_other_weights_must_be_said(draw: Callable[..., Images], plain: Path) -> None:
    with pytest.raises(DiffevalError, match="write clip:ViT-B-32 for GELU, or clip:ViT-B-32-quickgelu for QuickGELU"):
        _ours(plain)
    gelu, quick = _ours(plain, "ViT-B-32"), _ours(plain, "ViT-B-32-quickgelu")
    assert gelu.id != quick.id
    images = draw(2)
    difference = np.abs(gelu.run(images).features - quick.run(images).features).max()
    assert difference > 1e-3, "the wrong activation moves features, silently"


def test_gelu_weights_give_what_open_clip_makes_of_them(
    draw: Callable[..., Images], plain: Path, state: dict[str, torch.Tensor]
) -> None:
    images = draw(2)
    with torch.device("meta"):
        theirs = open_clip.create_model("ViT-B-32", device="meta").visual
    theirs.load_state_dict({n[7:]: v for n, v in state.items() if n.startswith("visual.")}, assign=True)
    transform = open_clip.image_transform(224, is_train=False, mean=theirs.image_mean, std=theirs.image_std)
    with torch.inference_mode():
        expected = theirs.eval()(torch.stack([transform(picture) for picture in _pictures(images)])).numpy()
    np.testing.assert_allclose(_ours(plain, "ViT-B-32").run(images).features, expected, atol=1e-5)


def test_features_are_not_brought_to_unit_length(draw: Callable[..., Images], plain: Path) -> None:
    lengths = np.linalg.norm(_ours(plain, "ViT-B-32").run(draw(2)).features, axis=1)
    assert (np.abs(lengths - 1) > 0.1).all()


def test_unknown_towers_are_named(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(DiffevalError, match=r"no variant 'ViT-B-33'; did you mean 'ViT-B-32'\?"):
        _ours(plain, "ViT-B-33")
    torch.save({"visual.conv1.weight": torch.zeros(8, 3, 4, 4)}, tmp_path / "tiny.pt")
    with pytest.raises(DiffevalError, match="knows no image tower of these shapes"):
        _ours(tmp_path / "tiny.pt")
