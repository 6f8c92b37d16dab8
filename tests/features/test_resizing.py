"""Resizing protocols against the code they are named after, and by hand."""

from collections.abc import Callable

import cleanfid.resize
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from diffeval.data.pixels import Images
from diffeval.errors import DiffevalError
from diffeval.features.resizing import (
    Resize,
    pillow_bicubic,
    pillow_crop,
    pillow_float_bicubic,
    tensorflow_bilinear,
    to_rgb,
    torch_bicubic,
    torch_bilinear,
)

CPU = torch.device("cpu")
Draw = Callable[..., Images]


@pytest.mark.parametrize(("mode", "ours"), [("clean", pillow_float_bicubic), ("legacy_pytorch", torch_bilinear)])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (500, 340)])
def test_agrees_with_clean_fids_resizer_to_the_last_bit(
    draw: Draw, mode: str, ours: Resize, height: int, width: int
) -> None:
    images = draw(2, height=height, width=width)
    resizer = cleanfid.resize.build_resizer(mode)
    expected = np.stack([resizer(image.transpose(1, 2, 0)).transpose(2, 0, 1) for image in images])
    np.testing.assert_array_equal(ours(images, 299, CPU).numpy(), expected)


def test_tensorflows_bilinear_puts_output_pixel_i_at_i_h_over_size() -> None:
    row = np.array([0, 100, 40], dtype=np.uint8)
    images = np.broadcast_to(row, (1, 1, 3, 3)).copy()
    # Output pixels lie at 0, 0.5, 1, 1.5, 2 and 2.5; beyond the last pixel the border is repeated.
    expected = [0, 50, 100, 70, 40, 40]
    np.testing.assert_allclose(tensorflow_bilinear(images, 6, CPU)[0, 0, 0].numpy(), expected, atol=1e-4)


def test_bilinear_between_pixel_centres_by_hand() -> None:
    images = np.broadcast_to(np.array([0, 100], dtype=np.uint8), (1, 1, 2, 2)).copy()
    # Output pixels lie at -0.25, 0.25, 0.75 and 1.25.
    np.testing.assert_allclose(torch_bilinear(images, 4, CPU)[0, 0, 0].numpy(), [0, 25, 75, 100], atol=1e-4)


def test_the_crop_is_that_of_open_clips_own_transform(draw: Draw) -> None:
    transform = open_clip.image_transform(224, is_train=False, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    for height, width in ((32, 32), (300, 431), (411, 260)):
        images = draw(2, height=height, width=width)
        pictures = [Image.fromarray(image.transpose(1, 2, 0)) for image in images]
        expected = torch.stack([transform(picture) for picture in pictures])
        assert torch.equal(pillow_crop(images, 224, CPU) / 255, expected), (height, width)


def test_antialiased_protocols_average_what_is_too_fine_for_the_output() -> None:
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (1, 3, 64, 32))
    for resize in (torch_bicubic, pillow_bicubic, pillow_float_bicubic):
        middle = resize(stripes, 8, CPU)[..., 2:-2]
        assert (middle - 127.5).abs().max() < 8
    # One without antialiasing sees every eighth column, which is always of one colour.
    assert set(tensorflow_bilinear(stripes, 8, CPU).unique().tolist()) == {0.0}


def test_what_is_neither_grey_nor_rgb_is_refused(draw: Draw) -> None:
    with pytest.raises(DiffevalError, match="it takes grey or RGB images, got 2 channels"):
        to_rgb("it", draw(1, channels=2))
