"""Noise and labels belong to an image index, whatever the batch."""

import numpy as np
import pytest
import torch

from diffeval.diffusion.conditions import Prompts, balanced_labels, labels_of
from diffeval.diffusion.noise import initial_noise, step_generators

SHAPE = (2, 4, 4)
# Philox with key (5, 9), numpy 2.4.6; frozen so that no release of ours or of numpy changes images unnoticed.
GOLDEN = [-0.16647516191005707, 0.11706939339637756, 0.14319710433483124, 0.10620216280221939]


def test_noise_is_bit_equal_in_any_batch() -> None:
    whole = initial_noise(7, range(10), SHAPE)
    parts = torch.cat([initial_noise(7, range(0, 3), SHAPE), initial_noise(7, range(3, 10), SHAPE)])
    assert torch.equal(whole, parts)


def test_noise_differs_by_image_and_by_seed() -> None:
    draws = [initial_noise(seed, range(20), SHAPE).flatten(1) for seed in (0, 1)]
    rows = torch.cat(draws)
    assert len({row.numpy().tobytes() for row in rows}) == 40
    correlations = torch.corrcoef(initial_noise(0, range(50), (1, 32, 32)).flatten(1))
    off_diagonal = correlations[~torch.eye(50, dtype=torch.bool)]
    # 1024 values each: correlations scatter by 1/32.
    assert off_diagonal.abs().max() < 6 / 32


def test_noise_is_standard_normal() -> None:
    noise = initial_noise(3, range(200), (1, 16, 16)).double()
    assert abs(float(noise.mean())) < 4 / np.sqrt(noise.numel())
    assert float(noise.var()) == pytest.approx(1.0, abs=4 * np.sqrt(2 / noise.numel()))


def test_golden_noise() -> None:
    """A change of these values changes every image of every run: it needs a new major version, not a new test."""
    found = initial_noise(5, [9], (1, 1, 4)).flatten().tolist()
    assert found == pytest.approx(GOLDEN, abs=1e-6)


def test_step_noise_belongs_to_the_image_and_is_not_the_initial_noise() -> None:
    alone = torch.randn(8, generator=step_generators(0, [4])[0])
    among = torch.randn(8, generator=step_generators(0, range(10))[4])
    assert torch.equal(alone, among)
    assert not torch.equal(alone, initial_noise(0, [4], (8,))[0])


@pytest.mark.parametrize("classes", [1, 3, 10])
def test_every_block_is_a_permutation(classes: int) -> None:
    labels = balanced_labels(0, classes * 20, classes).reshape(20, classes)
    assert all(sorted(block) == list(range(classes)) for block in labels)


def test_labels_are_a_function_of_the_index_alone() -> None:
    whole = balanced_labels(0, 1000, 10)
    parts = [balanced_labels(start, min(start + 7, 1000), 10) for start in range(0, 1000, 7)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert len({tuple(block) for block in whole.reshape(-1, 10)}) > 90
    assert balanced_labels(5, 5, 10).tolist() == []


def test_labels_and_prompts_of_scattered_images_are_those_of_the_run() -> None:
    scattered = [942, 3, 3, 17, 500]
    assert np.array_equal(labels_of(scattered, 10), balanced_labels(0, 1000, 10)[scattered])
    assert np.array_equal(labels_of(range(7, 33), 10), balanced_labels(7, 33, 10))
    prompts = Prompts(rows=((0, 1, 2), (3, 4)), nulls=(5,) * 5, seeds=(None,) * 5, content="")
    assert np.array_equal(prompts.of(scattered), prompts.of(range(1000))[scattered])
