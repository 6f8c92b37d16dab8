"""Weights files of hand-written networks: sampled as their own code samples them, to 1e-4 in float pixels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from diffeval.checkpoints.checkpoint import Checkpoint, load
from diffeval.checkpoints.options import LoadOptions
from diffeval.diffusion.noise import initial_noise
from diffeval.diffusion.schedule import from_alpha_bar
from diffeval.errors import DiffevalError
from diffeval.plan import Settings, plan_sampling

Floats = Callable[..., Tensor]

# A CNN that is told the time as t/T, and maybe the class, as people write it.
SMALL_CNN = """
import torch
from torch import nn
import diffeval

class Net(nn.Module):
    def __init__(self, classes=0):
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 1, 3, padding=1)
        self.table = nn.Embedding(classes, 8) if classes else None

    def forward(self, x, time, y=None):
        plane = time[:, None, None, None].expand(-1, 1, *x.shape[2:])
        hidden = torch.relu(self.first(torch.cat([x, plane], 1)))
        if self.table is not None:
            hidden = hidden + self.table(y)[:, :, None, None]
        return self.second(hidden)

def plain():
    return Net(), diffeval.Declaration(
        shape=(1, 8, 8), betas=torch.linspace(1e-3, 0.2, 20).tolist(), prediction="epsilon", time="t/T",
        value_range=(-1, 1), sampler="ddim", steps=20,
    )

def with_classes():
    return Net(4), diffeval.Declaration(
        shape=(1, 8, 8), schedule="linear", timesteps=20, prediction="epsilon", time="t/T", value_range=(-1, 1),
        classes=3, null_class=0, sampler="ddim", steps=10,
    )

def bare():
    return Net()

def failing():
    raise ValueError("no such size")
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(SMALL_CNN)
    return tmp_path / "net.py"


def _network(code: Path, classes: int = 0) -> nn.Module:
    space: dict[str, Callable[..., nn.Module]] = {}
    exec(compile(code.read_text(), str(code), "exec"), space)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return space["Net"](classes).eval()


def _ddim(predict: Callable[[Tensor, int], Tensor], alpha_bar: Tensor, x: Tensor, times: list[int]) -> Tensor:
    """DDIM as its paper has it (eq. 12, eta = 0), x_0 clipped and the noise derived from it anew."""
    with torch.inference_mode():
        for now, after in zip(times, [*times[1:], -1], strict=True):
            a, b = alpha_bar[now], alpha_bar[after] if after >= 0 else torch.tensor(1.0)
            x0 = ((x - (1 - a).sqrt() * predict(x, now)) / a.sqrt()).clamp(-1, 1)
            noise = (x - a.sqrt() * x0) / (1 - a).sqrt()
            x = b.sqrt() * x0 + (1 - b).sqrt() * noise
    return x


def test_a_hand_written_cnn_with_time_as_t_over_T_is_sampled_as_by_its_own_code(code: Path, floats: Floats) -> None:  # noqa: N802
    network = _network(code)
    save_file(network.state_dict(), "weights.safetensors")
    ours = floats(load("weights.safetensors", LoadOptions(model="net.py:plain")))
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-3, 0.2, 20), 0)
    noise = initial_noise(0, range(4), (1, 8, 8))
    theirs = _ddim(lambda x, t: network(x, torch.full((len(x),), t / 20)), alpha_bar, noise, list(range(19, -1, -1)))
    assert (theirs.abs() < 0.99).float().mean() > 0.2, "not all is clipped"
    assert (ours - theirs).abs().max() < 1e-4


def test_guidance_with_the_null_class_in_front(code: Path, floats: Floats) -> None:
    """Embedding 0 is "no class": our class c is the network's c + 1."""
    network = _network(code, 4)
    torch.save({"model": network.state_dict()}, "weights.pt")
    model = load("weights.pt", LoadOptions(model="net.py:with_classes"))
    assert (model.classes, model.null_class) == (("1", "2", "3"), 3)
    plan = plan_sampling(model, Settings(n=6, device="cpu", w=2.0))
    labels = plan.generator.labels(range(6))
    assert labels is not None
    own = torch.from_numpy(labels) + 1

    def predict(x: Tensor, t: int) -> Tensor:
        time = torch.full((len(x),), t / 20)
        unconditional = network(x, time, torch.zeros(len(x), dtype=torch.long))
        return unconditional + 2.0 * (network(x, time, own) - unconditional)

    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 20), 0)
    theirs = _ddim(predict, alpha_bar, initial_noise(0, range(6), (1, 8, 8)), list(range(19, -1, -2)))
    assert (theirs.abs() < 0.99).float().mean() > 0.2, "not all is clipped"
    assert (floats(model, 6, w=2.0) - theirs).abs().max() < 1e-4


def test_flags_in_the_place_of_a_declaration_make_the_same_samples(code: Path, floats: Floats) -> None:
    torch.save(_network(code).state_dict(), "weights.pth")
    np.save("alpha_bar.npy", np.cumprod(1 - np.linspace(1e-3, 0.2, 20)))
    flags = LoadOptions(model="net.py:bare", schedule="alpha_bar.npy", shape=(1, 8, 8), time="t/T")
    model = load("weights.pth", flags)
    assert [line.partition(":")[0] for line in model.assumptions] == [
        "the prediction type is not declared",
        "the value range is not declared",
    ]
    declared = load("weights.pth", LoadOptions(model="net.py:plain"))
    settings = {"sampler": "ddim", "steps": 20}
    assert (floats(model, **settings) - floats(declared)).abs().max() < 1e-4


def test_an_override_is_another_checkpoint_and_a_confirmation_is_not(code: Path) -> None:
    torch.save(_network(code).state_dict(), "weights.pt")

    def loaded(**flags: object) -> Checkpoint:
        return load("weights.pt", LoadOptions(model="net.py:plain", **flags))  # type: ignore[arg-type]

    plain = loaded()
    assert loaded(prediction="epsilon", time="t/T", value_range=(-1.0, 1.0)).sha256 == plain.sha256
    changed = [
        loaded(prediction="v_prediction"),
        loaded(time="step"),
        loaded(value_range=(0.0, 1.0)),
        loaded(schedule="linear"),
        loaded(schedule="linear", timesteps=20),
        loaded(schedule="linear", timesteps=20, zero_snr=True),
    ]
    assert len({plain.sha256, *(one.sha256 for one in changed)}) == 1 + len(changed)
    assert changed[0].overrides == ("--prediction v_prediction",)
    Path("net.py").write_text(SMALL_CNN.replace("torch.relu", "torch.tanh"))
    assert loaded().sha256 != plain.sha256, "other code is another model"


def test_the_value_range_is_undone(code: Path) -> None:
    torch.save(_network(code).state_dict(), "weights.pt")
    model = load("weights.pt", LoadOptions(model="net.py:plain", value_range=(0.0, 4.0)))
    assert model.decode(torch.tensor([0.0, 1.0, 4.0])).tolist() == [-1.0, -0.5, 1.0]


def test_preconditioning_by_flag_takes_the_place_of_time_and_prediction(code: Path) -> None:
    torch.save(_network(code).state_dict(), "weights.pt")
    model = load("weights.pt", LoadOptions(model="net.py:plain", preconditioning="edm:sigma_data=1"))
    assert model.prediction == "sample"
    assert model.overrides == ("--preconditioning edm:sigma_data=1",)


def test_timesteps_between_two_of_the_networks_own(code: Path, floats: Floats) -> None:
    """Karras' noise levels fall between timesteps: t/T takes them, a table of embeddings cannot."""
    torch.save(_network(code).state_dict(), "weights.pt")
    model = load("weights.pt", LoadOptions(model="net.py:plain"))
    assert floats(model, sampler="euler", karras=True, steps=7).isfinite().all()
    Path("table.py").write_text(
        "import torch\nfrom torch import nn\n\nclass Net(nn.Embedding):\n    def forward(self, x, time):\n"
        "        return x * super().forward(time)[:, :, None, None]\n\ndef make():\n    return Net(20, 1)\n"
    )
    torch.save({"weight": torch.ones(20, 1)}, "table.pt")
    tabled = load("table.pt", LoadOptions(model="table.py:make", shape=(1, 8, 8), schedule="linear", timesteps=20))
    assert floats(tabled, sampler="euler", steps=5).isfinite().all()
    with pytest.raises(DiffevalError, match=r"cannot take the timestep .*, which lies between two of its own; use a"):
        floats(tabled, sampler="euler", karras=True, steps=7)


def test_the_same_network_as_folder_and_as_file_makes_equal_images(tiny_checkpoint: Path, code: Path) -> None:
    folder = tiny_checkpoint / "unet"
    Path("unet.py").write_text(
        f"from diffusers import UNet2DModel\nimport diffeval\n\n"
        f"def call(network, x, time, condition):\n    return network(x, time, class_labels=condition)\n\n"
        f"def make():\n    return UNet2DModel(**UNet2DModel.load_config({str(folder)!r})), diffeval.Declaration(\n"
        f"        shape=(1, 8, 8), schedule='squaredcos_cap_v2', timesteps=1000, prediction='epsilon',\n"
        f"        value_range=(-1, 1), time='step', classes=10, null_class=10, sampler='ddim', eta=0.0, steps=10,\n"
        f"        call=call)\n"
    )
    torch.save({"model": load_file(folder / "diffusion_pytorch_model.safetensors")}, "unet.pt")
    settings = Settings(n=6, w=2.0, steps=5, sampler="ddim", device="cpu")
    own, ours = load("unet.pt", LoadOptions(model="unet.py:make")), load(tiny_checkpoint)
    images = [plan_sampling(model, settings).generator.images(range(6)) for model in (own, ours)]
    assert np.array_equal(*images)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {},
            r"weights\.pt holds weights \(top level \(4\)\) and no network; say which network they are of with --mod",
        ),
        ({"model": "net.py"}, "names no function; write pkg.module:factory or file.py:factory"),
        ({"model": "nets.py:plain"}, "nets.py does not exist"),
        ({"model": "net.py:other"}, "net.py has no function other"),
        ({"model": "net.py:failing"}, r"fails: ValueError: no such size \(.*net\.py:\d+\)"),
        ({"model": "no_such_package.net:make"}, "fails: ModuleNotFoundError: No module named 'no_such_package'"),
        ({"model": "net.py:SMALL"}, "net.py has no function SMALL"),
        ({"model": "net.py:bare"}, "the shape of the images is declared nowhere; give --shape, e.g. 3,32,32"),
        ({"model": "net.py:bare", "shape": (1, 8, 8)}, "schedule is declared nowhere; give --schedule, e.g. linear"),
        ({"model": "net.py:plain", "timesteps": 10}, "--timesteps is given, but the noise schedule has no name"),
        ({"model": "net.py:plain", "schedule": "linaer"}, "unknown schedule 'linaer'; did you mean 'linear'?"),
        ({"model": "net.py:plain", "prediction": "noise"}, "unknown prediction type 'noise'"),
        ({"model": "net.py:plain", "time": "T"}, "unknown time input 'T'"),
        ({"model": "net.py:plain", "value_range": (1.0, 0.0)}, "the value range 1 to 0 is none"),
        ({"model": "net.py:plain", "null_class": 3}, "null class 3, but the model has no classes; give --classes"),
        (
            {"model": "net.py:plain", "shape": (3, 8, 8)},
            r"fails on a batch \[2, 3, 8, 8\] at timestep 10: RuntimeError",
        ),
        (
            {"model": "net.py:plain", "learned_variance": True},
            r"makes \[2, 1, 8, 8\] of a batch, needs \[2, 2, 8, 8\]",
        ),
        ({"model": "net.py:plain", "key": "ema"}, "holds no weights at --key ema; candidates: top level"),
        ({"model": "net.py:plain", "raw": False}, "holds no weights that are called averaged"),
        ({"model": "net.py:plain", "revision": "main"}, "--revision is given, but a weights file has none"),
        (
            {"model": "net.py:plain", "preconditioning": "edm", "time": "t/T"},
            "time is 't/T', but preconditioning sets it",
        ),
        (
            {"model": "net.py:bare", "shape": (1, 8, 8), "preconditioning": "edm:sigma=1"},
            "sets 'sigma'; write e.g. edm:sigma_data=0.5",
        ),
        ({"model": "net.py:with_classes"}, r"1 missing: table\.weight"),
    ],
)
def test_mistakes_are_one_line(code: Path, flags: dict[str, object], message: str) -> None:
    torch.save(_network(code).state_dict(), "weights.pt")
    with pytest.raises(DiffevalError, match=message) as caught:
        load("weights.pt", LoadOptions(**flags))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_time_that_becomes_infinite_is_refused() -> None:
    from diffeval.checkpoints.adapt import Adapter

    schedule = from_alpha_bar([0.9, 0.5, 0.0])
    adapter = Adapter(schedule, "log-snr", None, (), 1, False, None)
    with pytest.raises(DiffevalError, match="the time input log-snr is infinite at timestep 2"):
        adapter(nn.Identity())


@pytest.mark.parametrize(("time", "expected"), [("log-snr", [np.log(9), 0.0]), ("sigma", [1 / 3, 1.0])])
def test_named_time_inputs(time: str, expected: list[float]) -> None:
    """alpha_bar = 0.9 and 0.5: SNR 9 and 1, sigma 1/3 and 1."""
    from diffeval.checkpoints.adapt import Adapter

    seen: list[Tensor] = []

    def call(network: nn.Module, x: Tensor, time: Tensor, condition: Tensor | None) -> Tensor:
        seen.append(time)
        return x

    denoise = Adapter(from_alpha_bar([0.9, 0.5]), time, None, (), 1, False, call)(nn.Identity())
    denoise(torch.zeros(2, 1, 2, 2), torch.tensor([0, 1]), None)
    assert seen[0].tolist() == pytest.approx(expected, rel=1e-6, abs=1e-6)
    # Between two timesteps, as samplers with Karras' noise levels ask for it: half way in log-SNR.
    denoise(torch.zeros(1, 1, 2, 2), torch.tensor(0.5), None)
    half = np.log(9) / 2
    assert float(seen[1]) == pytest.approx(half if time == "log-snr" else np.exp(-half / 2), rel=1e-6)
