"""The built-in judge of captions: what it knows of digits that it never saw, in words that it never read."""

from pathlib import Path

import open_clip
import pytest
import torch

from diffeval.data.source import open_source
from diffeval.errors import DiffevalError
from diffeval.features.digits_judge import (
    HELD_OUT_TEMPLATES,
    TEMPLATES,
    WEIGHTS,
    caption,
    load_judge,
    to_picture,
    token_rows,
)


@pytest.fixture(scope="module")
def similar() -> object:
    """Cosine of every held-out digit with a caption of every class, by template."""
    judge, tokenizer, source = load_judge(), open_clip.get_tokenizer("ViT-B-32"), open_source("digits@heldout")
    labels = torch.from_numpy(source.labels)
    with torch.inference_mode():
        pictures = judge.encode_image(to_picture(torch.from_numpy(source.images)), normalize=True)

        def of(template: str, figure: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
            texts = tokenizer([caption(label, template, figure=figure) for label in range(10)])
            return pictures @ judge.encode_text(texts, normalize=True).T, labels

        yield of


@pytest.mark.parametrize("template", [*TEMPLATES, *HELD_OUT_TEMPLATES])
def test_held_out_digits_find_their_caption(similar, template: str) -> None:  # type: ignore[no-untyped-def]
    cosines, labels = similar(template)
    assert float((cosines.argmax(dim=1) == labels).float().mean()) > 0.95
    # And captions their digits: the nearest picture of each is of its class.
    assert labels[cosines.argmax(dim=0)].tolist() == list(range(10))


def test_figures_are_read_like_words(similar) -> None:  # type: ignore[no-untyped-def]
    cosines, labels = similar(TEMPLATES[1], figure=True)
    assert float((cosines.argmax(dim=1) == labels).float().mean()) > 0.95


def test_a_wrong_caption_is_far_off(similar) -> None:  # type: ignore[no-untyped-def]
    cosines, labels = similar(TEMPLATES[0])
    right = cosines[torch.arange(len(labels)), labels]
    wrong = cosines[torch.arange(len(labels)), (labels + 1) % 10]
    assert float(right.mean()) > 0.7
    assert float(wrong.mean()) < 0.3


def test_the_file_is_small_and_says_what_the_rest_is_drawn_from() -> None:
    assert WEIGHTS.stat().st_size < 1e6
    judge = load_judge()
    table = token_rows(0)
    differing = (judge.token_embedding.weight != table).any(dim=1)
    # The rows of its captions, and no others; the last two begin and end every text.
    assert 20 < int(differing.sum()) < 100
    assert differing[-2:].all()


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DiffevalError, match="is missing"):
        load_judge(tmp_path / "none.safetensors")
    (tmp_path / "other.safetensors").write_bytes(b"no such thing")
    with pytest.raises(DiffevalError, match="no file of its own"):
        load_judge(tmp_path / "other.safetensors")
