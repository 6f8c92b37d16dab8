"""Published protocols."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from diffeval.diffusion.sampling import ROUNDINGS
from diffeval.errors import DiffevalError
from diffeval.measured import Extracting
from diffeval.plan import Settings
from diffeval.progress import SilentReporter
from diffeval.prompting import Prompting
from diffeval.published import PUBLISHED, combined, prompted, windowed
from diffeval.runs.records import Protocol, Provenance, Results, Score
from diffeval.runs.words import window_sentences


def test_roundings_are_those_of_the_sampling_scripts() -> None:
    """By hand: 127 and a quarter is 127 for all; 127 and three quarters 128, but ADM cuts; -1 and 1 are the ends."""
    levels = torch.tensor([0.0, 127.25, 127.75, 255.0], dtype=torch.float64)
    x = levels / 127.5 - 1
    found = {name: rule(x).clamp(0, 255).tolist() for name, rule in ROUNDINGS.items()}
    assert found == {
        "nearest": [0.0, 127.0, 128.0, 255.0],
        "adm": [0.0, 127.0, 127.0, 255.0],
        "edm": [0.0, 127.0, 128.0, 255.0],
    }


def test_edm_rounds_half_levels_up_and_nearest_to_even() -> None:
    x = torch.tensor([126.5, 127.5], dtype=torch.float64) / 127.5 - 1
    assert ROUNDINGS["edm"](x).tolist() == [127.0, 128.0]
    assert ROUNDINGS["nearest"](x).tolist() == [126.0, 128.0]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_protocol_sets_everything_together(name: str) -> None:
    reporter = SilentReporter()
    settings, extracting = combined(name, Settings(n=0), Extracting(), reporter)
    wanted = PUBLISHED[name]
    assert (settings.n, settings.rounding) == (wanted.n, wanted.rounding)
    assert (extracting.name, extracting.resize) == (wanted.extractor, wanted.resize)
    assert len(reporter.warnings) == 1
    combined(name, Settings(n=100), Extracting(), reporter)
    assert any(f"stand on {wanted.n} images, these on 100" in said for said in reporter.warnings)


def test_what_contradicts_a_protocol_is_refused() -> None:
    for extracting, message in (
        (Extracting(resize="legacy_pytorch"), "clean-fid takes --resize clean, got legacy_pytorch"),
        (Extracting(name="digits"), "clean-fid takes --extractor inception:2048, got digits"),
        (Extracting(fast=True), "full precision"),
    ):
        with pytest.raises(DiffevalError, match=message):
            combined("clean-fid", Settings(n=0), extracting, SilentReporter())
    with pytest.raises(DiffevalError, match="did you mean 'edm2'"):
        combined("edm", Settings(n=0), Extracting(), SilentReporter())


def test_mlperfs_protocol_sets_steps_scale_and_negative_prompt_and_refuses_others() -> None:
    settings, _ = combined("mlperf-sdxl", Settings(n=0), Extracting(), SilentReporter())
    assert (settings.n, settings.steps, settings.w) == (5000, 20, 8.0)
    asked = prompted("mlperf-sdxl", Prompting(Path("captions.tsv")))
    assert asked is not None
    assert asked.prompts == Path("captions.tsv")
    assert asked.negative == "normal quality, low quality, worst quality, low res, blurry, nsfw, nude"
    for wrong in (Settings(n=0, steps=50), Settings(n=0, w=5.0)):
        with pytest.raises(DiffevalError, match=r"protocol: mlperf-sdxl takes --(steps 20|w 8), got"):
            combined("mlperf-sdxl", wrong, Extracting(), SilentReporter())
    with pytest.raises(DiffevalError, match="takes --negative 'normal quality"):
        prompted("mlperf-sdxl", Prompting(negative="ugly"))
    # Ready-made images have been sampled already.
    kept, _ = combined("mlperf-sdxl", Settings(n=0), Extracting(), SilentReporter(), available=5000)
    assert (kept.steps, kept.w) == (None, None)
    assert prompted("adm", None) is None


def test_windows_have_two_sides_and_their_own_number_of_images() -> None:
    """The ends are MLPerf's own, 2% and 0.2% about its reference's 23.48046692 and 31.74981837."""
    low, high = PUBLISHED["mlperf-sdxl"].windows["fid"]
    assert (low + high) / 2 == pytest.approx(23.48046692, abs=1e-7)
    assert (high - low) / (low + high) == pytest.approx(0.02, abs=1e-6)
    for value, verdict in ((23.0, "below"), (low, "inside"), (23.5, "inside"), (24.0, "above")):
        rows = windowed("mlperf-sdxl", _results([_score("fid", value, 5000)]))
        assert [row["verdict"] for row in rows] == [verdict, "not measured at n=5000"]
    rows = windowed("mlperf-sdxl", _results([_score("fid", 23.5, 4999), _score("clip_score", 31.7, 5000)]))
    assert [row["verdict"] for row in rows] == ["not measured at n=5000", "inside"]
    other = dataclasses.replace(_results([_score("fid", 23.5, 5000)]), protocol=OTHER)
    assert windowed("mlperf-sdxl", other)[0]["verdict"] == (
        "not judged: sampled by DDIMScheduler, not by EulerDiscreteScheduler"
    )
    assert windowed("adm", _results([_score("fid", 23.5, 50000)])) == ()
    said = window_sentences(dataclasses.replace(_results([]), tables={"windows": rows}))
    assert said[1] == "mlperf-sdxl: clip_score 31.7 inside (31.68631873 to 31.81331801)"


PROTOCOL = Protocol("eval", "declared", {"scheduler": "EulerDiscreteScheduler"}, 20, 8.0, "prompts", "nearest", "fp32")
OTHER = dataclasses.replace(PROTOCOL, sampler_config={"scheduler": "DDIMScheduler"})
PROVENANCE = Provenance("sdxl", ".", "ab", 0, 5000, 8, "cpu", 2, {}, None, "Linux", ("diffeval",), "now")


def _results(scores: Sequence[Score]) -> Results:
    return Results("run", PROTOCOL, PROVENANCE, tuple(scores))


def _score(name: str, value: float, n: int) -> Score:
    return Score(name, value, None, None, n, None, higher_is_better=name != "fid")
