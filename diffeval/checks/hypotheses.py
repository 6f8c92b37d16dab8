"""What a network's output may be, as the noise prediction p f + q x that it stands for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from diffeval.diffusion.prediction import PredictionType

# (p, q) at signal alpha and noise sigma.
Coefficients = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One reading of the output.

    Attributes:
        name: as it is called.
        coefficients: of the noise prediction.
        declared: the prediction type that is declared where it is this; None where none can be.
        remedy: what makes it one that can be declared; empty for those that are.
    """

    name: str
    coefficients: Coefficients
    declared: PredictionType | None = None
    remedy: str = ""


# Each follows from x = alpha x_0 + sigma eps. Salimans and Ho 2022, appendix D, for v.
HYPOTHESES: Mapping[str, Hypothesis] = {
    one.name: one
    for one in (
        Hypothesis("epsilon", lambda alpha, sigma: (1.0, 0.0), "epsilon"),
        Hypothesis("sample", lambda alpha, sigma: (-alpha / sigma, 1.0 / sigma), "sample"),
        Hypothesis("v_prediction", lambda alpha, sigma: (alpha, sigma), "v_prediction"),
        Hypothesis(
            "negated epsilon", lambda alpha, sigma: (-1.0, 0.0), None, "negate the output and declare epsilon"
        ),
        Hypothesis("score", lambda alpha, sigma: (-sigma, 0.0), None, "multiply the output by -sigma: epsilon"),
        Hypothesis(
            "negated v", lambda alpha, sigma: (-alpha, sigma), None, "negate the output and declare v_prediction"
        ),
        Hypothesis(
            "negated sample", lambda alpha, sigma: (alpha / sigma, 1.0 / sigma), None,
            "negate the output and declare sample",
        ),
    )
}  # fmt: skip
