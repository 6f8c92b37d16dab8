"""What the demo is said to take, from pieces that are made up; and once from pieces of it."""

from pathlib import Path

import pytest

from diffeval.checkpoints.checkpoint import load
from diffeval.checks.check import Subject
from diffeval.checks.cost import counting
from diffeval.data.source import open_source
from diffeval.demo.price import TWIN, Pieces, describe_demo
from diffeval.demo.sizes import Sizes
from diffeval.demo.story import STAGES, Demo
from diffeval.demo.twin import make_twin
from diffeval.diffusion.sampling import Generator
from diffeval.plan import Settings, plan_images


@pytest.fixture
def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("scores", 16.0), ("gated", 8.0), ("sweep", 32.0)):
        monkeypatch.setattr(Pieces, name, lambda self, seconds=seconds: seconds)
    monkeypatch.setattr(Pieces, "_looks", {"risk probe": 4.0, "timestep-embedding": 1.0})
    monkeypatch.setattr(Pieces, "page", 0.5)


@pytest.mark.usefixtures("_made_up")
def test_every_stage_is_priced_with_the_page_that_it_draws(tiny_demo: Sizes, tmp_path: Path) -> None:
    plan = describe_demo(tiny_demo, tmp_path / "demo", tmp_path / "demo.html")
    assert {one.stage: one.seconds for one in plan.prices} == {
        "scores": 16.5,
        "checks": 5.5,
        "broken twin": 4.0 * TWIN + 1.0 + 0.5,
        "sweep": 32.5,
        "baseline": 8.0,
        "twin's scores": 8.5,
        "gate": 0.5,
    }
    assert [one.about for one in plan.prices] == [stage.title for stage in STAGES]
    assert plan.held == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_made_up")
def test_of_a_finished_demo_the_gate_is_left(told: tuple[Demo, object], tiny_demo: Sizes) -> None:
    demo, _ = told
    plan = describe_demo(tiny_demo, demo.gate.parent, demo.page)
    assert [one.stage for one in plan.prices] == ["gate"]
    assert plan.held == "for what is left"


def test_pieces_of_the_demo_are_timed(tiny_demo: Sizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffeval.pricing.stage.ENOUGH", 0.0)
    plan = describe_demo(tiny_demo, tmp_path / "demo", tmp_path / "demo.html")
    assert [one.stage for one in plan.prices] == [stage.name for stage in STAGES]
    assert all(one.seconds > 0 for one in plan.prices)
    assert not list(tmp_path.iterdir())


def test_the_risk_probe_looks_longer_at_the_twin(tmp_path: Path) -> None:
    passes = []
    for checkpoint in (load("digits"), load(make_twin(tmp_path / "twin"))):
        generator = plan_images(checkpoint, Settings(n=4, device="cpu")).generator
        assert isinstance(generator, Generator)
        subject = Subject(checkpoint, generator, 4, open_source("digits"))
        with counting(checkpoint.network) as cost:
            cost.spend("probe", lambda subject=subject: subject.scan)
        passes.append(float(str(cost.rows[0]["forward_passes"])))
    assert passes[1] / passes[0] == pytest.approx(TWIN, rel=0.2)
