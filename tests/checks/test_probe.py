"""The risk probe against a model whose best predictions are known in closed form."""

import numpy as np
import pytest
import torch
from oracle import COSINE, LINEAR, mixture, perfect

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.hypotheses import HYPOTHESES
from diffeval.checks.implied import candidates, fits, implied
from diffeval.checks.probe import Probe, Reading, time_grid
from diffeval.checks.real_images import ModelImages
from diffeval.checks.scan import Scan, scan
from diffeval.diffusion.noise import initial_noise

CPU = torch.device("cpu")
MIXED = mixture()


def _probe(checkpoint: Checkpoint, images: ModelImages) -> Probe:
    return Probe(checkpoint.denoiser, images.x0, None, CPU)


def _scan(checkpoint: Checkpoint, n: int = 64, seed: int = 0) -> Scan:
    return scan(_probe(checkpoint, MIXED.images(n, seed)), checkpoint.schedule, checkpoint.prediction)


def test_inner_products_give_the_squared_error_of_every_type() -> None:
    checkpoint = perfect(MIXED, LINEAR, "v_prediction")
    images = MIXED.images(8, 0)
    probe = _probe(checkpoint, images)
    reading = probe.read(0.5, [100, 400])
    noise = initial_noise(0x5EED, range(8), (1, 4, 4))
    alpha, sigma = reading.signal, reading.noise
    assert alpha**2 + sigma**2 == pytest.approx(1.0)
    assert np.log(alpha**2 / sigma**2) == pytest.approx(0.5)
    x = alpha * images.x0 + sigma * noise
    for row, t in enumerate((100, 400)):
        output = checkpoint.denoiser(x, torch.full((8,), t), None)
        for p, q in ((1.0, 0.0), (-alpha / sigma, 1 / sigma), (alpha, sigma), (0.3, -0.2)):
            direct = ((p * output + q * x - noise) ** 2).flatten(1).mean(dim=1).numpy()
            assert reading.risk(p, q)[row] == pytest.approx(direct, rel=1e-4, abs=1e-6)


def test_conversions_return_the_noise() -> None:
    """Of the exact targets: at x = alpha x_0 + sigma eps each type's conversion gives eps itself."""
    alpha, sigma, x0, noise = 0.6, 0.8, 1.7, -0.4
    x = alpha * x0 + sigma * noise
    targets = {
        "epsilon": noise, "sample": x0, "v_prediction": alpha * noise - sigma * x0, "negated epsilon": -noise,
        "score": -noise / sigma, "negated v": sigma * x0 - alpha * noise, "negated sample": -x0,
    }  # fmt: skip
    assert targets.keys() == HYPOTHESES.keys()
    for name, target in targets.items():
        p, q = HYPOTHESES[name].coefficients(alpha, sigma)
        assert p * target + q * x == pytest.approx(noise)


def test_readings_join_and_are_kept() -> None:
    probe = _probe(perfect(MIXED, LINEAR, "epsilon"), MIXED.images(4, 0))
    joined = probe.read(0.0, [10, 500]).joined(probe.read(0.0, [300, 500]))
    assert joined.times == (10, 300, 500)
    assert np.array_equal(joined.ff, probe.read(0.0, [10, 300, 500]).ff)
    again = Reading.from_arrays(0.0, joined.to_arrays())
    assert again.times == joined.times
    assert np.array_equal(again.fe, joined.fe)


def test_the_time_grid_holds_both_ends_and_ascends() -> None:
    for schedule in (LINEAR, COSINE):
        grid = time_grid(schedule.log_snr)
        assert grid[0] == 0
        assert grid[-1] == 999
        assert list(grid) == sorted(set(grid))


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("schedule", [LINEAR, COSINE], ids=["linear", "cosine"])
def test_type_and_schedule_of_a_perfect_network(schedule, prediction) -> None:  # type: ignore[no-untyped-def]
    found = _scan(perfect(MIXED, schedule, prediction))
    assert found.type == prediction
    read = implied(found).part((3.0, 2.0, 1.0, 0.0, -1.0))
    # Within the limits at which the check warns; the best of many timesteps fits 64 images a little too well.
    assert float(np.median(read.excess[:, 0])) < 0.02
    declared = next(one for one in fits(read, candidates(schedule)) if one.curve.like == "declared")
    assert declared.rms < 0.3


def test_another_schedule_is_named() -> None:
    found = _scan(perfect(MIXED, LINEAR, "epsilon", declared=COSINE))
    read = implied(found).part((3.0, 2.0, 1.0, 0.0, -1.0))
    assert fits(read, candidates(COSINE))[0].curve.name == "linear, 1000 timesteps"
    assert float(np.median(read.excess[:, 0])) > 0.15


def test_intervals_of_the_excess_risk_cover_the_truth() -> None:
    """What the declared timesteps cost, from 64 images, against 8,192; nominal coverage is 95%."""
    checkpoint = perfect(MIXED, LINEAR, "epsilon", declared=COSINE)
    levels = (2.0, 0.0, -2.0)

    def excess(n: int, seed: int) -> np.ndarray:
        probe = _probe(checkpoint, MIXED.images(n, seed))
        return implied(scan(probe, COSINE, "epsilon", levels=levels)).excess

    truth = excess(8192, 1)[:, 0]
    hits = []
    for seed in range(2, 32):
        drawn = excess(64, seed)
        low, high = np.quantile(drawn[:, 1:], [0.025, 0.975], axis=1)
        hits += list((low <= truth) & (truth <= high))
    assert np.mean(hits) >= 0.9
