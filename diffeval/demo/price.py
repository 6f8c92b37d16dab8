"""What the demo takes, stage by stage, priced from pieces of it on this machine."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import diffeval
from diffeval.checkpoints.checkpoint import Checkpoint, load
from diffeval.checks.check import Subject
from diffeval.checks.cost import PROBE, forecast
from diffeval.data.source import open_source
from diffeval.demo.sizes import Sizes
from diffeval.demo.story import STAGES, held_run
from diffeval.diffusion.sampling import Generator
from diffeval.examine import chosen
from diffeval.plan import Settings, plan_images
from diffeval.prepared import prepare
from diffeval.pricing.images import Part
from diffeval.pricing.run import run_prices, start
from diffeval.pricing.scoring import Also, Wanted
from diffeval.pricing.stage import Plan, Price, summed
from diffeval.progress import SilentReporter
from diffeval.runs.directory import RunDirectory
from diffeval.suite import Suite, choose
from diffeval.sweeps.run import suite_of
from diffeval.sweeps.sweep import leave_out_at

# The risk probe looks longer at a network that does not heed its timestep: so many times as many forward passes.
TWIN = 2.75
# Images of the small run whose page is drawn to price pages.
FEW = 256


def describe_demo(sizes: Sizes, folder: Path, page: Path, begun: float | None = None) -> Plan:
    """What the demo would do, and about how long each stage takes here; nothing is measured, and nothing written.

    Args:
        sizes: how much is measured.
        folder: for what it leaves; stages whose runs lie there finished cost nothing.
        page: the page.
        begun: when the command was started, by ``time.time()``; None where it is none, and starting is not priced.
    """
    # The demo speaks before it imports what it needs: its first stage pays for that.
    pieces, prices, starting = Pieces(sizes), list[Price](), summed(start(begun))
    work: dict[str, tuple[Sequence[str], int, Callable[[], float]]] = {
        "scores": (("model",), sizes.n, pieces.scores),
        "checks": (("model-checks",), sizes.probed, pieces.checks),
        "broken twin": (("twin-checks",), sizes.probed, pieces.twin_checks),
        "sweep": (("sweep",), sizes.swept, pieces.sweep),
        "baseline": (("baseline",), sizes.gated, pieces.gated),
        "twin's scores": (("twin",), sizes.gated, pieces.gated),
        "gate": ((), 0, lambda: 0.0),
    }
    for stage in STAGES:
        runs, n, price = work[stage.name]
        if runs and all(held_run(RunDirectory(folder / one), n) is not None for one in runs):
            continue
        drawn = pieces.page if stage.shown else 0.0
        prices.append(Price(stage.name, price() + drawn + (0.0 if prices else starting), stage.title))
    held = "" if len(prices) == len(STAGES) else "for what is left"
    lines = (f"checkpoint  digits, {sizes.n} images, and a broken twin of it", f"page        {page}")
    return Plan(lines, tuple(prices), held=held)


@dataclass
class Pieces:
    """Pieces of the demo, each timed when it is first asked for.

    Attributes:
        sizes: how much is measured.
    """

    sizes: Sizes

    @cached_property
    def digits(self) -> Checkpoint:
        """The model."""
        return load("digits")

    def scores(self) -> float:
        """Of the first run."""
        return self._run(choose(["standard", "mode_coverage"]), self.sizes.n, self.sizes.at)

    @cached_property
    def _gated(self) -> float:
        """Of a run that the gate reads; features of real images are there by then."""
        n = self.sizes.gated
        at = tuple(count for count in self.sizes.at if count < n)
        return self._run(choose(None), n, (*at, n), real=False)

    def gated(self) -> float:
        """Of the baseline, or of the twin's scores: both are alike."""
        return self._gated

    def sweep(self) -> float:
        """Of all points."""
        sizes = self.sizes
        return self._run(
            suite_of(self.digits, None), sizes.swept, (sizes.swept,), sizes.scales, also=leave_out_at, real=False
        )

    def _run(
        self,
        suite: Suite,
        n: int,
        counts: Sequence[int],
        scales: Sequence[float | None] = (None,),
        also: Also | None = None,
        *,
        real: bool = True,
    ) -> float:
        settings = Settings(n=n)
        known = prepare(self.digits, settings, None, None, None, SilentReporter(), fit=False, suite=suite)
        parts = [Part(plan_images(self.digits, replace(settings, w=w)), n) for w in scales]
        found = run_prices(self.digits, settings, parts, known, Wanted(suite, tuple(counts), len(scales), also))
        return sum(one.seconds for one in found if real or one.stage != "reference")

    @cached_property
    def _looks(self) -> dict[str, float]:
        """Seconds by what they are spent on."""
        generator = plan_images(self.digits, Settings(n=self.sizes.probed)).generator
        source = open_source("digits@train")
        assert isinstance(generator, Generator), "a checkpoint is sampled"
        subject = Subject(self.digits, generator, self.sizes.probed, source)
        return {one.spent_on: one.seconds for one in forecast(subject, chosen(self.sizes.checks))}

    def checks(self) -> float:
        """Of the model's weights."""
        return sum(self._looks.values())

    def twin_checks(self) -> float:
        """Of its twin's."""
        return self.checks() + (TWIN - 1.0) * self._looks[PROBE]

    @cached_property
    def page(self) -> float:
        """Of drawing the page once: that of a small run."""
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            diffeval.evaluate("digits", settings=Settings(n=FEW), at=(FEW,), out=run)
            started = time.perf_counter()
            diffeval.report([run], Path(folder) / "page.html")
            return time.perf_counter() - started
