"""How much of everything the demo measures."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of a story.

    Attributes:
        n: images of the digits model.
        at: counts that its scores are logged at.
        gated: images of the baseline, and of the broken twin.
        scales: guidance scales of the sweep.
        swept: images at each of them.
        checks: names; None for all that there are.
        probed: seeds, and real images, that a check may spend.
        seconds: what each stage takes on 2 cores with nothing else to do, in order.
    """

    n: int
    at: tuple[int, ...]
    gated: int
    scales: tuple[float, ...]
    swept: int
    checks: tuple[str, ...] | None
    probed: int
    seconds: tuple[float, ...]


# Those that show what is wrong with the twin, and that the noise schedule is not it.
NAMED = ("timestep-embedding", "noise-schedule")

SHORT = Sizes(
    n=2000,
    at=(500, 1000, 2000),
    gated=2000,
    scales=(1.0, 2.0, 4.0, 7.0),
    swept=500,
    checks=NAMED,
    probed=64,
    seconds=(13.0, 5.0, 12.0, 16.0, 5.0, 5.0, 2.0),
)
FULL = Sizes(
    n=10000,
    at=(1000, 2500, 5000, 10000),
    gated=5000,
    scales=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0),
    swept=2000,
    checks=None,
    probed=64,
    seconds=(46.0, 28.0, 37.0, 100.0, 18.0, 12.0, 2.0),
)
