"""The DINOv2 extractor against timm, and Meta's position embedding by hand."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from diffeval.data.pixels import Images
from diffeval.errors import DiffevalError
from diffeval.features.dinov2 import GRID, MEAN, STD, dinov2, meta_positions
from diffeval.features.extractor import Extractor, ExtractorRequest

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ViT-S as Meta's file has it: 37 x 37 positions, a mask token, layer scales that are not all small."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        wanted = timm.create_model("vit_small_patch14_dinov2", num_classes=0).state_dict()
    state = {name: torch.randn(value.shape, generator=generator) * 0.05 for name, value in wanted.items()}
    state |= {name: value + 1 for name, value in state.items() if name.endswith((".gamma", "norm.weight"))}
    state["pos_embed"] = torch.randn(wanted["pos_embed"].shape, generator=generator)
    state["mask_token"] = torch.zeros(1, 384)
    path = tmp_path_factory.mktemp("dino") / "dinov2_vits14_pretrain.pth"
    torch.save(state, path)
    return path


def _ours(path: Path, variant: str, resize: str | None = None) -> Extractor:
    return dinov2(ExtractorRequest(CPU, weights=path, variant=variant, resize=resize))


def _timm(path: Path, state: dict[str, torch.Tensor] | None = None) -> torch.nn.Module:
    """The network as timm itself loads it."""
    with torch.random.fork_rng():
        network = timm.create_model(
            "vit_small_patch14_dinov2",
            num_classes=0,
            img_size=224,
            pretrained=True,
            pretrained_cfg_overlay={"file": str(path)},
        )
    assert isinstance(network, torch.nn.Module)
    if state is not None:
        network.load_state_dict(state, strict=False)
    return network.eval()


def _input(images: Images) -> torch.Tensor:
    pixels = torch.nn.functional.interpolate(
        torch.from_numpy(images).float(), size=(224, 224), mode="bicubic", antialias=True
    )
    return (pixels / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def test_the_timm_variant_is_what_timm_computes_from_the_same_file(draw: Callable[..., Images], weights: Path) -> None:
    images = draw(2)
    with torch.inference_mode():
        expected = _timm(weights)(_input(images)).numpy()
    found = _ours(weights, "vits14-timm").run(images).features
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_metas_variant_differs_from_it_by_the_position_embedding_alone(
    draw: Callable[..., Images], weights: Path
) -> None:
    images = draw(2)
    positions = meta_positions(torch.load(weights, weights_only=True)["pos_embed"])
    with torch.inference_mode():
        expected = _timm(weights, {"pos_embed": positions})(_input(images)).numpy()
    found = _ours(weights, "vits14").run(images).features
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.abs(found - _ours(weights, "vits14-timm").run(images).features).max() > 1e-3


def _cubic(distance: float) -> float:
    """Keys' kernel with a = -0.75, which torch's bicubic uses."""
    a, x = -0.75, abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def test_metas_resampling_steps_by_the_side_over_16_1() -> None:
    side = 37
    random = np.random.Generator(np.random.Philox(0))
    grid = random.standard_normal((side, side))
    # One output sample per row and column, at (i + 1/2) side / 16.1 - 1/2, the border repeated.
    matrix = np.zeros((GRID, side))
    for i in range(GRID):
        centre = (i + 0.5) * side / (GRID + 0.1) - 0.5
        for j in range(math.floor(centre) - 1, math.floor(centre) + 3):
            matrix[i, min(max(j, 0), side - 1)] += _cubic(centre - j)
    positions = torch.from_numpy(np.concatenate([[5.0], grid.ravel()])).float().reshape(1, -1, 1)
    found = meta_positions(positions)
    assert found[0, 0, 0] == 5
    expected = (matrix @ grid @ matrix.T).ravel()
    np.testing.assert_allclose(found[0, 1:, 0].numpy(), expected, atol=1e-4)


def test_ids_and_errors_name_the_variant(weights: Path) -> None:
    ids = {_ours(weights, "vits14").id, _ours(weights, "vits14-timm").id, _ours(weights, "vits14", "pil").id}
    assert len(ids) == 3
    with pytest.raises(DiffevalError, match=r"no variant 'vitl15'; did you mean 'vitl14'\?"):
        _ours(weights, "vitl15")
    with pytest.raises(DiffevalError, match="does not hold the weights of dinov2:vitb14: of 174 tensors"):
        _ours(weights, "vitb14")
