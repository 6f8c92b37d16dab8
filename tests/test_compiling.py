"""Compiling: decided by the work ahead, recorded with the run, and the same images to rounding."""

import copy
import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import diffeval.compiling as compiling
from diffeval.checkpoints.checkpoint import Checkpoint, load
from diffeval.compiling import (
    AGAIN,
    FIRST_SECONDS,
    MARGIN,
    CompiledNetwork,
    Costs,
    compiled,
    known_costs,
    pays,
    worth_it,
)
from diffeval.diffusion.batching import memory_format
from diffeval.diffusion.sampling import Generator
from diffeval.errors import DiffevalError
from diffeval.evaluate import sample
from diffeval.plan import Settings, plan_sampling
from diffeval.progress import SilentReporter
from diffeval.runs.directory import RunDirectory

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that changes nothing, so that what surrounds it can be looked at without waiting for it."""
    monkeypatch.setattr("torch.compile", lambda network, **_: network)


def _digits(**settings: Any) -> tuple[Checkpoint, Generator]:
    checkpoint = load("digits")
    generator = plan_sampling(checkpoint, Settings(n=8, device="cpu", steps=2, **settings)).generator
    assert isinstance(generator, Generator)
    return checkpoint, generator


def test_auto_pays_where_what_is_saved_is_half_as_much_again_as_the_cost() -> None:
    """Twice as fast at 0.1 s a call saves 0.05 s of each: 30 s of compiling are worth 45 s, 900 calls."""
    known = Costs(plain=0.1, compiled=0.05, warm_up=90.0, again=30.0)
    assert MARGIN == 1.5
    assert not pays(899, 0.1, known)
    assert pays(901, 0.1, known)
    # A machine that is now twice as slow saves twice as much.
    assert pays(451, 0.2, known)
    assert not pays(10**9, 0.1, Costs(plain=0.1, compiled=0.11, warm_up=1.0, again=1.0))


def test_auto_is_cautious_before_anything_was_measured() -> None:
    """A gain of 1.2 saves a sixth: 120 s of compiling, and half as much again, are a sixth of 1080 s."""
    assert FIRST_SECONDS == 120.0
    assert not pays(1079, 1.0, None)
    assert pays(1081, 1.0, None)


def test_short_runs_are_not_even_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, generator = _digits()
    monkeypatch.setattr(compiling, "call_seconds", lambda *_, **__: pytest.fail("it was timed"))
    assert not worth_it(generator, checkpoint, 8, 100)
    assert not worth_it(generator, checkpoint, 8, 0)


def test_what_was_measured_decides_the_next_time(monkeypatch: pytest.MonkeyPatch, eager: None) -> None:
    checkpoint, generator = _digits()
    taken = iter([1.0, 0.25])  # as it is, and compiled
    monkeypatch.setattr(compiling, "call_seconds", lambda *_, **__: next(taken))
    assert compiled(generator, checkpoint, 8, SilentReporter(), anyway=False, offload=False) is not None
    monkeypatch.setattr(compiling, "call_seconds", lambda *_, **__: 1.0)
    # 400 calls of 1 s are too few for a first guess; known to be four times as fast, they save 300 s.
    assert worth_it(generator, checkpoint, 8, 1600)
    other = dataclasses.replace(generator, dtype="bf16")
    assert not worth_it(other, checkpoint, 8, 1600)


def test_the_next_checkpoint_of_the_architecture_knows_what_compiling_costs(
    monkeypatch: pytest.MonkeyPatch, eager: None
) -> None:
    checkpoint, generator = _digits()
    monkeypatch.setattr(compiling, "call_seconds", lambda *_, **__: 1.0)
    compiled(generator, checkpoint, 8, SilentReporter(), anyway=False, offload=False)
    first = known_costs(generator, checkpoint, 8)
    assert first is not None
    assert first.again == pytest.approx(AGAIN * first.warm_up), "a guess, until it was seen"
    # Later in the training: other weights.
    network = copy.deepcopy(checkpoint.network)
    with torch.no_grad():
        next(network.parameters()).mul_(2)
    later = dataclasses.replace(checkpoint, network=network, sha256="0" * 64)
    assert later.adapter is not None
    generator = dataclasses.replace(generator, denoiser=later.adapter(network))
    assert known_costs(generator, later, 8) == first
    compiled(generator, later, 8, SilentReporter(), anyway=False, offload=False)
    second = known_costs(generator, checkpoint, 8)
    assert second is not None
    assert second.warm_up >= first.warm_up
    assert second.again != first.again, "now it was seen"
    # A network of other layers is another.
    other = dataclasses.replace(checkpoint, network=torch.nn.Sequential(network, torch.nn.Identity()))
    assert known_costs(generator, other, 8) is None


def test_what_the_compiler_makes_stays_in_the_cache(
    monkeypatch: pytest.MonkeyPatch, eager: None, tmp_path: Path
) -> None:
    checkpoint, generator = _digits()
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    compiled(generator, checkpoint, 8, SilentReporter(), anyway=False, offload=False)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "cache" / "compiled")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")  # the user's own is left as it is
    compiled(generator, checkpoint, 8, SilentReporter(), anyway=False, offload=False)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "elsewhere"


def test_a_network_that_is_no_faster_is_used_only_if_the_user_says_so(
    monkeypatch: pytest.MonkeyPatch, eager: None
) -> None:
    checkpoint, generator = _digits()
    monkeypatch.setattr(compiling, "call_seconds", lambda *_, warm, **__: 1.0)
    reporter = SilentReporter()
    assert compiled(generator, checkpoint, 8, reporter, anyway=False, offload=False) is None
    assert reporter.warnings == ["digits is not compiled: its calls then take as long as before"]
    assert compiled(generator, checkpoint, 8, reporter, anyway=True, offload=False) is not None


def test_what_stands_in_the_way_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, generator = _digits()
    monkeypatch.setattr("shutil.which", lambda name: None)
    cases: list[tuple[Checkpoint, Generator, bool, str]] = [
        (checkpoint, generator, False, "no C++ compiler (c++, g++, clang++) is found"),
        (checkpoint, generator, True, "--offload moves its layers about"),
        (dataclasses.replace(checkpoint, adapter=None), generator, False, "its denoiser is more than a network"),
        (checkpoint, dataclasses.replace(generator, distilled=True), False, "an input of its network"),
    ]
    for one, made, offload, said in cases:
        reporter = SilentReporter()
        assert compiled(made, one, 8, reporter, anyway=True, offload=offload) is None
        assert len(reporter.warnings) == 1
        assert said in reporter.warnings[0]


def test_a_miscompiled_or_failing_network_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, generator = _digits()

    def wrong(network: Any, **_: Any) -> Callable[..., Any]:
        return lambda *args, **kwargs: (network(*args, **kwargs).sample * 1.01,)

    class Sampled(tuple):  # type: ignore[type-arg]
        @property
        def sample(self) -> torch.Tensor:
            return self[0]  # type: ignore[no-any-return]

    def scaled(network: Any, **_: Any) -> Callable[..., Any]:
        return lambda *args, **kwargs: Sampled(wrong(network)(*args, **kwargs))

    def broken(network: Any, **_: Any) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("no backend\nat all")

        return run

    for compiler, said in (
        (scaled, "would differ by 0.01 of their size"),
        (broken, "RuntimeError: no backend at all"),
    ):
        monkeypatch.setattr("torch.compile", compiler)
        reporter = SilentReporter()
        assert compiled(generator, checkpoint, 8, reporter, anyway=True, offload=False) is None
        assert said in reporter.warnings[0]


class _Seen(torch.nn.Module):
    """Notes the sizes that it is called with; its output is the input and what it was told beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, x: torch.Tensor, t: torch.Tensor, *, class_labels: torch.Tensor) -> tuple[torch.Tensor]:
        self.sizes.append(len(x))
        return (x + t.reshape(-1, 1) + class_labels.reshape(-1, 1),)


def test_a_smaller_batch_is_filled_up_and_cut_again(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []

    def compiler(network: Any, **options: Any) -> Callable[..., Any]:
        assert options == {"mode": "default", "dynamic": False}

        def run(x: torch.Tensor, t: torch.Tensor, **given: Any) -> Any:
            called.append(len(x))
            return network(x, t, **given)

        return run

    monkeypatch.setattr("torch.compile", compiler)
    network = _Seen()
    filled = CompiledNetwork(network, (4, 8), CPU)
    for count in (1, 2, 3, 4, 5, 8, 9):
        x, labels = torch.linspace(-1, 1, 3 * count).reshape(count, 3), torch.arange(count)
        for t in (torch.tensor(7), torch.arange(count)):
            expected = x + t.reshape(-1, 1) + labels.reshape(-1, 1)
            assert torch.equal(filled(x, t, class_labels=labels)[0], expected)
    # Half of a size or less, and more than the largest, go to the network itself.
    assert called == [4, 4, 4, 4, 8, 8, 8, 8]
    assert [network.sizes.count(size) for size in (1, 2, 9)] == [2, 2, 2]
    assert filled.sizes is not network.sizes


def test_the_run_records_it_and_goes_on_as_it_was_begun(tmp_path: Path, eager: None) -> None:
    settings = Settings(n=40, steps=2, device="cpu", batch=20, compile="on")
    run, harvest = sample("digits", settings=settings, out=tmp_path / "run")
    assert harvest.images is not None
    made = harvest.images.gather("images", 40)
    document = json.loads((run.path / "results.json").read_text())
    assert document["provenance"]["compiled"] is True
    assert document["provenance"]["seconds"]["compiling"] > 0
    more = dataclasses.replace(settings, n=80, compile="off")
    again, longer = sample("digits", settings=more, out=tmp_path / "run")
    state = RunDirectory(again.path).state()
    assert state is not None
    assert state.compiled is True
    plain, other = sample("digits", settings=more, out=tmp_path / "plain")
    held = RunDirectory(plain.path).state()
    assert held is not None
    assert held.compiled is False
    assert longer.images is not None
    assert other.images is not None
    assert np.array_equal(longer.images.gather("images", 80)[:40], made)
    assert np.array_equal(longer.images.gather("images", 80), other.images.gather("images", 80))


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(DiffevalError, match="--compile 'yes' is none"):
        _digits(compile="yes")


class _Tiny(torch.nn.Module):
    """A network of the digits model's kind that compiles in seconds."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first, self.last = torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.Conv2d(8, 1, 3, padding=1)
            self.norm, self.classes = torch.nn.GroupNorm(2, 8), torch.nn.Embedding(11, 8)

    def forward(self, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        told = self.classes(condition) + (t / 1000.0)[:, None]
        return self.last(torch.nn.functional.silu(self.norm(self.first(x)) + told[:, :, None, None]))  # type: ignore[no-any-return]


def test_compiled_images_agree_with_the_others() -> None:
    """The real compiler, under guidance on and off: within one level on all but a pixel in a thousand."""
    checkpoint, generator = _digits(w=2.0, interval=(0.3, 100.0))
    if compiling.reason_against(checkpoint, generator, offload=False) is not None:
        pytest.skip("no C++ compiler is found")
    network = _Tiny().eval().requires_grad_(False)
    adapter = dataclasses.replace(checkpoint.adapter, call=None)  # type: ignore[type-var]
    checkpoint = dataclasses.replace(checkpoint, network=network, adapter=adapter)
    generator = dataclasses.replace(generator, denoiser=adapter(network), steps=20)  # type: ignore[operator]
    before = torch.random.get_rng_state()
    fast = compiled(generator, checkpoint, 8, SilentReporter(), anyway=True, offload=False)
    assert fast is not None
    assert torch.equal(before, torch.random.get_rng_state())
    expected, found = (np.concatenate([one.images(range(8)), one.images(range(8, 13))]) for one in (generator, fast))
    gap = np.abs(expected.astype(int) - found.astype(int))
    assert expected.std() > 10, "there is something to differ in"
    assert gap.max() <= 1
    assert (gap > 0).mean() <= 0.001


def test_channels_last_where_it_is_faster() -> None:
    last, first = torch.channels_last, torch.contiguous_format
    assert memory_format(CPU, (3, 32, 32), torch.float32) is last
    assert memory_format(CPU, (1, 8, 8), torch.float32) is first
    cuda = torch.device("cuda")
    assert memory_format(cuda, (3, 32, 32), torch.float32) is first
    assert memory_format(cuda, (1, 8, 8), torch.bfloat16) is last


def test_channels_last_moves_images_by_rounding_alone() -> None:
    from diffeval.training.recipe import make_network, preset_for

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = make_network(preset_for(16, None), (3, 16, 16), 0).eval().requires_grad_(False)
    _, generator = _digits()
    generator = dataclasses.replace(
        generator, denoiser=lambda x, t, condition: network(x, t).sample, shape=(3, 16, 16), w=None, classes=0,
        null_class=None, steps=5, pixels=None,
    )  # fmt: skip
    expected = generator.images(range(8))
    network.to(memory_format=torch.channels_last)
    gap = np.abs(expected.astype(int) - generator.images(range(8)).astype(int))
    assert gap.max() <= 1
    assert (gap > 0).mean() <= 0.001
