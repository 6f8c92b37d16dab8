"""The text half of a CLIP network against open_clip's own, at lengths below, at and beyond its context."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

from diffeval.errors import DiffevalError
from diffeval.features.clip import clip
from diffeval.features.clip_networks import variants
from diffeval.features.clip_text import TextTower, tokenize
from diffeval.features.digits_judge import load_judge
from diffeval.features.extractor import ExtractorRequest

CPU = torch.device("cpu")
# A word is a token: with start and end these are 3, 77 and 302 of them.
PROMPTS = ("cat", " ".join(["cat"] * 75), " ".join(["dog"] * 300), "A photo of <b>two</b> cats & a dog")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ViT-B-32's image tower and a small text tower of the whole vocabulary's width, as open_clip saves them."""
    generator = torch.Generator().manual_seed(1)
    vision = CLIPVisionCfg(layers=12, width=768, patch_size=32, image_size=224)
    with torch.device("meta"):
        wanted = CLIP(512, vision, CLIPTextCfg()).state_dict()
    state = {name: torch.randn(value.shape, generator=generator) * 0.03 for name, value in wanted.items()}
    state |= {name: value + 1 for name, value in state.items() if ".ln_" in name and name.endswith("weight")}
    path = tmp_path_factory.mktemp("clip") / "whole.pt"
    torch.save(state, path)
    return path


def test_texts_of_any_length_read_as_open_clip_reads_them(weights: Path) -> None:
    extractor = clip(ExtractorRequest(CPU, weights=weights, variant="ViT-B-32"))
    assert extractor.texts is not None
    found = extractor.texts(PROMPTS)
    with torch.random.fork_rng():
        theirs = open_clip.create_model("ViT-B-32", device="cpu")
    theirs.load_state_dict(torch.load(weights, weights_only=True))
    tokens = open_clip.get_tokenizer("ViT-B-32")(list(PROMPTS))
    with torch.inference_mode():
        expected = theirs.eval().encode_text(tokens).numpy()
    np.testing.assert_allclose(found.features, expected, atol=1e-5)
    assert found.cut.tolist() == [False, False, True, False]


def test_the_digits_judge_reads_in_any_order_and_batch() -> None:
    tower = TextTower(load_judge, CPU)
    texts = [f"the digit {word} {'very ' * (place % 7)}small" for place, word in enumerate(["one", "two", "six"] * 50)]
    together = tower(texts).features
    apart = np.concatenate([tower([text]).features for text in texts])
    np.testing.assert_allclose(together, apart, atol=2e-6)


def test_what_is_cut_keeps_its_end_token() -> None:
    tokens, cut = tokenize([PROMPTS[2]], 77)
    assert cut.tolist() == [True]
    assert int(tokens[0, -1]) == int(tokens.max()) == 49_407


def test_a_text_tower_of_another_shape_is_refused_when_the_first_text_comes(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    torch.save({name: value for name, value in state.items() if not name.startswith("transformer")}, tmp_path / "a.pt")
    extractor = clip(ExtractorRequest(CPU, weights=tmp_path / "a.pt", variant="ViT-B-32"))
    assert extractor.texts is not None
    with pytest.raises(DiffevalError, match=r"does not hold the weights of clip:ViT-B-32's text tower: .* missing"):
        extractor.texts(["cat"])


def test_other_networks_of_open_clip_are_known_and_say_how_to_get_their_weights() -> None:
    assert {"ViT-H-14", "RN50-quickgelu", "ViT-bigG-14"} <= set(variants())
    # Towers from elsewhere, or other tokenizers.
    assert not {"ViT-B-16-SigLIP", "coca_ViT-B-32", "roberta-ViT-B-32"} & set(variants())
    with pytest.raises(DiffevalError, match=r"ViT-H-14\.safetensors"):
        clip(ExtractorRequest(CPU, variant="ViT-H-14", offline=True))


def test_a_text_that_writes_the_end_token_out_is_cut_there_and_counted() -> None:
    _, cut = tokenize(["a seven<end_of_text> no, a three", "a seven", "a <b>seven</b>"], 77)
    assert cut.tolist() == [True, False, False]
