"""The Inception extractor against torch-fidelity, pytorch-fid and clean-fid, on the same weights file and images."""

from collections.abc import Callable
from pathlib import Path

import cleanfid.resize
import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from diffeval.data.pixels import Images
from diffeval.errors import DiffevalError
from diffeval.features.extractor import Extractor, ExtractorRequest
from diffeval.features.inception import LAYERS, RESIZINGS, inception
from diffeval.metrics.frechet import frechet_distance, moments

CPU = torch.device("cpu")
Draw = Callable[..., Images]


def _ours(path: Path, layer: str = "2048", resize: str | None = None) -> Extractor:
    return inception(ExtractorRequest(CPU, weights=path, variant=layer, resize=resize, offline=True))


@torch.inference_mode()
def _theirs(path: Path, layers: list[str], images: Images) -> tuple[torch.Tensor, ...]:
    with torch.random.fork_rng():
        network = FeatureExtractorInceptionV3("theirs", layers, feature_extractor_weights_path=str(path))
    parts = [network(torch.from_numpy(images[i : i + 10])) for i in range(0, len(images), 10)]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _furthest(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_every_layer_agrees_with_torch_fidelity(draw: Draw, inception_weights: Path) -> None:
    images = draw(4)
    layers = [layer for layer in LAYERS if layer != "spatial"]
    expected = _theirs(inception_weights, layers, images)
    for layer, features in zip(layers, expected, strict=True):
        found = _ours(inception_weights, layer).run(images).features
        assert found.shape == (4, LAYERS[layer])
        assert _furthest(found, features.numpy()) < 2e-6, layer


@torch.inference_mode()
def test_the_spatial_layer_is_the_first_channels_of_mixed_6d(draw: Draw, inception_weights: Path) -> None:
    """TensorFlow's mixed_6 is torch's Mixed_6d, and its ``conv`` the 1x1 branch behind normalisation and ReLU."""
    seen = []
    with torch.random.fork_rng():
        network = FeatureExtractorInceptionV3("x", ["768"], feature_extractor_weights_path=str(inception_weights))
    network.Mixed_6d.branch1x1.register_forward_hook(lambda module, given, made: seen.append(made))
    images = draw(3)
    network(torch.from_numpy(images))
    assert seen[0].shape == (3, 192, 17, 17)
    found = _ours(inception_weights, "spatial").run(images)
    assert found.logits is None
    assert _furthest(found.features, seen[0][:, :7].flatten(1).numpy()) < 2e-6


def test_fid_of_500_images_agrees_with_torch_fidelity(draw: Draw, inception_weights: Path) -> None:
    images = np.concatenate([draw(250, seed=1), draw(250, seed=2) // 2])
    for layer, expected in zip(("64", "192"), _theirs(inception_weights, ["64", "192"], images), strict=True):
        found = _ours(inception_weights, layer).run(images).features
        assert _furthest(found, expected.numpy()) < 1e-6
        theirs = [fid_features_to_statistics(part) for part in (expected[:250], expected[250:])]
        value = fid_statistics_to_metric(*theirs, verbose=False)["frechet_inception_distance"]
        assert frechet_distance(moments(found[:250]), moments(found[250:])) == pytest.approx(value, rel=1e-5)


def test_the_logits_beside_the_features_are_those_without_bias(draw: Draw, inception_weights: Path) -> None:
    images = draw(2)
    (expected,) = _theirs(inception_weights, ["logits_unbiased"], images)
    extractor = _ours(inception_weights)
    logits = extractor.run(images).logits
    assert logits is not None
    assert logits.shape == (2, len(extractor.classes))
    assert _furthest(logits, expected.numpy()) < 2e-6


def test_grey_is_repeated_to_rgb(draw: Draw, inception_weights: Path) -> None:
    grey = draw(2, channels=1)
    extractor = _ours(inception_weights, "64")
    np.testing.assert_array_equal(extractor.run(grey).features, extractor.run(np.repeat(grey, 3, axis=1)).features)
    with pytest.raises(DiffevalError, match="got 4 channels"):
        extractor.run(draw(1, channels=4))


def test_legacy_pytorch_agrees_with_pytorch_fid_behind_clean_fids_resizer(
    draw: Draw, inception_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytorch_fid import inception as theirs

    state = torch.load(inception_weights, weights_only=True)
    monkeypatch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: state)
    with torch.random.fork_rng():
        network = theirs.InceptionV3([3], resize_input=False).eval()
    images = draw(3, height=48, width=40)
    resizer = cleanfid.resize.build_resizer("legacy_pytorch")
    resized = np.stack([resizer(image.transpose(1, 2, 0)).transpose(2, 0, 1) for image in images])
    with torch.inference_mode():
        expected = network(torch.from_numpy(resized).float() / 255)[0].squeeze().numpy()
    found = _ours(inception_weights, resize="legacy_pytorch").run(images).features
    assert _furthest(found, expected) < 2e-6


def test_an_unknown_layer_or_resizing_names_the_known_ones(inception_weights: Path) -> None:
    with pytest.raises(DiffevalError, match=r"no layer '204'; did you mean '2048'\? known: 192, 2048, 64"):
        _ours(inception_weights, "204")
    with pytest.raises(DiffevalError, match=r"no resizing 'cleam'; did you mean 'clean'\?"):
        _ours(inception_weights, resize="cleam")


def test_ids_tell_apart_all_that_changes_features(inception_weights: Path, tmp_path: Path) -> None:
    ids = {_ours(inception_weights, layer).id for layer in LAYERS}
    ids |= {_ours(inception_weights, resize=resize).id for resize in RESIZINGS}
    assert len(ids) == len(LAYERS) + len(RESIZINGS) - 1
    state = torch.load(inception_weights, weights_only=True)
    state["fc.bias"][0] += 1
    torch.save(state, tmp_path / "other.pth")
    assert _ours(tmp_path / "other.pth").id not in ids


def test_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(2, 3, 3, 3)}, tmp_path / "resnet.pth")
    with pytest.raises(DiffevalError, match=r"resnet.pth does not hold the weights of inception.*unknown \(conv1"):
        _ours(tmp_path / "resnet.pth")
