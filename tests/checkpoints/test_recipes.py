"""The recipes of docs/checkpoints.md as they stand there, on re-creations of what each project publishes.

Each test writes a small network with the project's interface and names, saves it as the project does, and samples it
both through the recipe and by the project's own rule.
"""

import re
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from diffeval.checkpoints.checkpoint import load
from diffeval.checkpoints.options import LoadOptions
from diffeval.diffusion.conditions import balanced_labels
from diffeval.diffusion.noise import initial_noise, step_generators
from diffeval.errors import DiffevalError

Floats = Callable[..., Tensor]
PAGE = Path(__file__).parents[2] / "docs" / "checkpoints.md"

# One convolution that hears of the time and the class is network enough for layouts and arithmetic.
NETWORK = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self, channels, out, classes=0, labels=0):
        super().__init__()
        self.first = nn.Conv2d(channels + 1, 8, 3, padding=1)
        self.second = nn.Conv2d(8, out, 3, padding=1)
        self.label_emb = nn.Embedding(classes, 8) if classes else None
        self.map_label = nn.Linear(labels, 8) if labels else None

    def forward(self, x, time, y=None):
        plane = torch.sin(time.float() / 50)[:, None, None, None].expand(-1, 1, *x.shape[2:])
        hidden = self.first(torch.cat([x, plane], 1))
        if self.label_emb is not None:
            hidden = hidden + self.label_emb(y)[:, :, None, None]
        if self.map_label is not None:
            hidden = hidden + self.map_label(y)[:, :, None, None]
        return self.second(torch.tanh(hidden))
"""

LUCIDRAINS = """
import math, torch
from torch import nn
from small import Small

class Unet(Small):
    def __init__(self, dim, dim_mults):
        super().__init__(3, 3)
        self.channels, self.out_dim, self.self_condition = 3, 3, False

class GaussianDiffusion(nn.Module):
    def __init__(self, model, *, image_size, objective="pred_v", timesteps=1000):
        super().__init__()
        self.model, self.channels, self.objective = model, model.channels, objective
        self.image_size, self.num_timesteps = (image_size, image_size), timesteps
        t = torch.linspace(0, 1, timesteps + 1, dtype=torch.float64)
        low, high = torch.tensor(-3.0).sigmoid(), torch.tensor(3.0).sigmoid()
        kept = (high - (6 * t - 3).sigmoid()) / (high - low)
        betas = (1 - kept[1:] / kept[:-1]).clip(0, 0.999)
        self.register_buffer("betas", betas.float())
        self.register_buffer("alphas_cumprod", torch.cumprod(1 - betas, 0).float())
"""

GUIDED = """
import numpy as np
from small import Small

def model_and_diffusion_defaults():
    return {"image_size": 64, "class_cond": False, "learn_sigma": False, "noise_schedule": "linear",
            "diffusion_steps": 100, "rescale_timesteps": True}

class Diffusion:
    def __init__(self, steps, rescale_timesteps):
        kept = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
        self.betas = np.minimum(1 - kept[1:] / kept[:-1], 0.999)
        self.num_timesteps, self.rescale_timesteps = steps, rescale_timesteps

def create_model_and_diffusion(class_cond, learn_sigma, diffusion_steps, rescale_timesteps, **others):
    model = Small(3, 6 if learn_sigma else 3, classes=1000 if class_cond else 0)
    return model, Diffusion(diffusion_steps, rescale_timesteps)
"""

EDM = """
import torch
from torch import nn
from small import Small

class EDMPrecond(nn.Module):
    def __init__(self, img_resolution, img_channels, label_dim, model_type, sigma_data=0.5):
        super().__init__()
        self.model, self.sigma_data = Small(img_channels, img_channels, labels=label_dim), sigma_data

    def forward(self, x, sigma, class_labels=None, force_fp32=False):
        sigma = sigma.reshape(-1, 1, 1, 1)
        total = sigma**2 + self.sigma_data**2
        F_x = self.model(x / total.sqrt(), sigma.flatten().log() / 4, class_labels)
        return self.sigma_data**2 / total * x + sigma * self.sigma_data / total.sqrt() * F_x
"""

MODULES = {
    "small": NETWORK,
    "denoising_diffusion_pytorch": LUCIDRAINS,
    "guided_diffusion.script_util": GUIDED,
    "training.networks": EDM,
    "my_unet": "from small import Small\ndef UNet():\n    return Small(1, 1)\n",
}


@pytest.fixture(autouse=True)
def _checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working directory with the recipes and the projects' modules."""
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        (tmp_path / block.split()[1]).write_text(block)
    for name, code in MODULES.items():
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in {key.partition(".")[0] for key in MODULES}]:
        del sys.modules[name]


def _weights(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """Random weights by the network's names, larger than initial ones so that they matter."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(value.shape, generator=generator) * 0.2 for name, value in network.state_dict().items()}


def _prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def _ddim(
    x0_of: Callable[[Tensor, int], Tensor], alpha_bar: Tensor, x: Tensor, pairs: list[tuple[int, int]]
) -> Tensor:
    """x_0 clipped, the noise derived from it anew: the rule of both projects' DDIM samplers, eta = 0."""
    with torch.inference_mode():
        for now, after in pairs:
            a, b = alpha_bar[now], alpha_bar[after] if after >= 0 else torch.tensor(1.0)
            x0 = x0_of(x, now).clamp(-1, 1)
            x = b.sqrt() * x0 + (1 - b).sqrt() * (x - a.sqrt() * x0) / (1 - a).sqrt()
    return x


def test_a_lucidrains_checkpoint(floats: Floats) -> None:
    import denoising_diffusion_pytorch as project

    with torch.random.fork_rng():
        diffusion = project.GaussianDiffusion(project.Unet(dim=64, dim_mults=(1, 2, 4, 8)), image_size=32)
    raw, averaged = _weights(diffusion.model, 1), _weights(diffusion.model, 2)
    buffers = {name: value for name, value in diffusion.state_dict().items() if not name.startswith("model.")}
    wrapped = {kind: _prefixed("model.", state) | buffers for kind, state in (("raw", raw), ("averaged", averaged))}
    ema = {
        **_prefixed("online_model.", wrapped["raw"]),
        **_prefixed("ema_model.", wrapped["averaged"]),
        "initted": torch.tensor(True),
        "step": torch.tensor(10),
    }
    saved = {"step": 10, "model": wrapped["raw"], "opt": {}, "ema": ema, "scaler": None, "version": "2.3.4"}
    torch.save(saved, "model-10.pt")
    model = load("model-10.pt", LoadOptions(model="lucidrains.py:make"))
    assert "averaged (EMA), at ema.ema_model.model" in model.weights
    assert model.assumptions == ()
    assert model.raw is not None
    assert torch.equal(model.raw().state_dict()["first.bias"], raw["first.bias"])

    network = diffusion.model.eval()
    network.load_state_dict(averaged)
    kept = diffusion.alphas_cumprod

    def x0_of(x: Tensor, t: int) -> Tensor:
        v = network(x, torch.full((len(x),), t))
        return kept[t].sqrt() * x - (1 - kept[t]).sqrt() * v

    times = [*reversed(torch.linspace(-1, 999, 251).int().tolist())]
    theirs = _ddim(x0_of, kept, initial_noise(0, range(4), (3, 32, 32)), list(pairwise(times)))
    assert theirs.std() > 0.1
    assert (floats(model) - theirs).abs().max() < 1e-4


def test_a_guided_diffusion_checkpoint(floats: Floats) -> None:
    import guided_diffusion.script_util as project

    settings = {**project.model_and_diffusion_defaults(), "class_cond": True, "learn_sigma": True}
    with torch.random.fork_rng():
        network, diffusion = project.create_model_and_diffusion(**settings)
    torch.save(_weights(network, 1), "ema_0.9999_300000.pt")
    recipe = Path("guided.py").read_text().replace("steps=250", "steps=50")
    Path("guided.py").write_text(recipe)
    model = load("ema_0.9999_300000.pt", LoadOptions(model="guided.py:make"))
    assert (len(model.classes), model.null_class, model.schedule.timesteps) == (1000, None, 100)
    assert "averaged (EMA)" in model.weights

    network.load_state_dict(_weights(network, 1))
    network.eval()
    kept = torch.from_numpy(np.cumprod(1 - diffusion.betas)).float()
    y = torch.from_numpy(balanced_labels(0, 4, 1000))

    def x0_of(x: Tensor, t: int) -> Tensor:
        noise = network(x, torch.full((len(x),), t * 10.0), y)[:, :3]
        return (x - (1 - kept[t]).sqrt() * noise) / kept[t].sqrt()

    times = [*range(99, -1, -2), -1]
    theirs = _ddim(x0_of, kept, initial_noise(0, range(4), (3, 64, 64)), list(pairwise(times)))
    assert (floats(model) - theirs).abs().max() < 1e-4


def test_the_second_half_of_an_output_is_not_taken_silently() -> None:
    import guided_diffusion.script_util as project

    settings = {**project.model_and_diffusion_defaults(), "class_cond": True, "learn_sigma": True}
    with torch.random.fork_rng():
        network, _ = project.create_model_and_diffusion(**settings)
    torch.save(_weights(network, 1), "model.pt")
    with pytest.raises(
        DiffevalError, match=r"makes \[2, 6, 64, 64\].*\[2, 3, 64, 64\]; if the second half is a learned"
    ):
        load("model.pt", LoadOptions(model="guided.py:make", learned_variance=False))


def test_an_edm_checkpoint(floats: Floats) -> None:
    import training.networks as project

    with torch.random.fork_rng():
        network = project.EDMPrecond(32, 3, 10, "SongUNet").eval()
    network.load_state_dict(_weights(network, 1))
    torch.save({"ema": network}, "edm.pt")
    with pytest.raises(DiffevalError, match=r"wants to run training\.networks\.EDMPrecond, which is refused"):
        load("edm.pt", LoadOptions(model="edm.py:make"))
    save_file(network.state_dict(), "edm.safetensors")
    model = load("edm.safetensors", LoadOptions(model="edm.py:make"))
    assert (model.prediction, model.schedule.timesteps, model.steps) == ("sample", 18, 18)

    labels = nn.functional.one_hot(torch.from_numpy(balanced_labels(0, 4, 10)), 10).double()
    network.double()
    grid = [(80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(18)] + [0.0]

    def slope(x: Tensor, sigma: float) -> Tensor:
        made: Tensor = (x - network(x, torch.full((4,), sigma, dtype=torch.float64), labels)) / sigma
        return made

    with torch.inference_mode():
        x = initial_noise(0, range(4), (3, 32, 32)).double() * grid[0]
        for now, after in pairwise(grid):
            first = slope(x, now)
            step = x + (after - now) * first
            x = step if after == 0 else x + (after - now) * (first + slope(step, after)) / 2
    assert x.std() > 0.1
    assert (floats(model) - x).abs().max() < 1e-4


def test_a_textbook_mnist_ddpm(floats: Floats) -> None:
    """Ho et al.'s algorithm 2 with sigma_t^2 the posterior's variance, as tutorials have it."""
    import small

    with torch.random.fork_rng():
        network = small.Small(1, 1).eval()
    network.load_state_dict(_weights(network, 1))
    torch.save(network.state_dict(), "mnist.pt")
    model = load("mnist.pt", LoadOptions(model="mnist.py:make"))
    assert (model.shape, model.reference, model.assumptions) == ((1, 28, 28), "mnist:data", ())

    # In float64: in float32, beta_0 / (1 - alpha_bar_0) is 0.9998, and not 1, and dims every image by as much.
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    alphas, kept = 1 - betas, torch.cumprod(1 - betas, 0)
    generators = step_generators(0, range(2))
    with torch.inference_mode():
        x = initial_noise(0, range(2), (1, 28, 28))
        for t in range(999, -1, -1):
            noise = network(x.float(), torch.full((2,), t / 1000))
            x0 = ((x - (1 - kept[t]).sqrt() * noise) / kept[t].sqrt()).clamp(-1, 1)
            before = kept[t - 1] if t else torch.tensor(1.0)
            x = (before.sqrt() * betas[t] * x0 + alphas[t].sqrt() * (1 - before) * x) / (1 - kept[t])
            if t:
                drawn = torch.stack([torch.randn(1, 28, 28, generator=one) for one in generators])
                x = x + (betas[t] * (1 - before) / (1 - kept[t])).sqrt() * drawn
    assert (floats(model, 2) - x).abs().max() < 1e-4


def test_every_field_of_a_declaration_is_in_the_table() -> None:
    from diffeval.checkpoints.declaration import Declaration

    table = PAGE.read_text(encoding="utf-8")
    fields: Any = Declaration.__dataclass_fields__
    assert [name for name in fields if f"`{name}`" not in table] == []
