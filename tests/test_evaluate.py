"""The main job, end to end, on a network that draws noise quickly."""

import dataclasses
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from diffeval.checkpoints.checkpoint import load
from diffeval.diffusion.sampling import Generator
from diffeval.errors import DiffevalError
from diffeval.evaluate import evaluate as evaluate_any
from diffeval.evaluate import sample
from diffeval.plan import Settings
from diffeval.progress import SilentReporter
from diffeval.runs.directory import RunDirectory
from diffeval.runs.records import Results
from diffeval.runs.words import missed_sentence

# What ``diffeval fid`` computes.
evaluate = partial(evaluate_any, metrics=("fid", "kid"), task="fid")

FAST = Settings(n=300, steps=2, device="cpu", batch=50)


class _Listener(SilentReporter):
    """Keeps what was noted."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def _numbers(results: Results) -> list[object]:
    return [(score.name, score.n, score.value, score.std_error, score.ci95) for score in results.scores]


def _terms(results: Results) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    arrays = RunDirectory(Path(results.run)).arrays("terms")
    assert arrays is not None
    return arrays


def test_a_run_holds_what_it_promises(tiny_checkpoint: Path, tmp_path: Path) -> None:
    results = evaluate(tiny_checkpoint, settings=FAST, at=[100, 300], out=tmp_path / "run")
    assert [(score.name, score.n) for score in results.scores] == [
        ("fid", 100), ("fid_debiased", 100), ("fid", 300), ("fid_debiased", 300), ("kid", 100), ("kid", 300)
    ]  # fmt: skip
    assert results.provenance.training_step == 4, "the card beside the weights says so"
    for score in results.scores:
        assert score.value is not None
        assert score.std_error is not None
        # Plain FID's own bias would pass for quality beside a null at another n.
        assert (score.null is None) is (score.name == "fid")
        assert {"w", "sampler", "steps", "extractor"} <= set(score.params)
    assert results.score("fid").ci95 is None
    assert results.score("fid_debiased").ci95 is not None
    document = json.loads((tmp_path / "run" / "results.json").read_text())
    assert document["schema"] == "diffeval.results/1"
    floor = {row["score"]: row for row in results.tables["floor"]}
    assert floor["fid_debiased"]["n"] == 500
    terms = _terms(results)
    assert terms["fid.influence"].shape == (300,)
    assert terms["fid_debiased.pseudo"].shape == (30,)
    worst = results.tables["raises_fid"]
    assert worst[0]["index"] == int(terms["fid.influence"].argmax())
    assert worst[0]["influence"] >= worst[-1]["influence"]  # type: ignore[operator]
    assert terms["kid.pseudo"].shape == (30,)
    grid = np.load(tmp_path / "run" / "grid.npz")
    assert grid["images"].shape == (64, 1, 8, 8)


def test_default_directory_is_found_again(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = evaluate(tiny_checkpoint, settings=FAST)
    stamp = (Path(first.run) / "results.json").stat().st_mtime_ns
    again = evaluate(tiny_checkpoint, settings=FAST)
    assert again == first
    assert (Path(first.run) / "results.json").stat().st_mtime_ns == stamp
    other = evaluate(tiny_checkpoint, settings=dataclasses.replace(FAST, w=2.0))
    assert other.run != first.run


def test_a_moved_run_still_reads(tiny_checkpoint: Path, tmp_path: Path) -> None:
    results = evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    moved = RunDirectory(tmp_path / "there").results()
    assert moved is not None
    assert moved.run == str(tmp_path / "there")
    assert _numbers(moved) == _numbers(results)


def test_extending_equals_a_long_run_bit_for_bit(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = evaluate(tiny_checkpoint, settings=dataclasses.replace(FAST, n=620), at=[620], out=tmp_path / "long")
    evaluate(tiny_checkpoint, settings=dataclasses.replace(FAST, n=130), out=tmp_path / "grown")
    made: list[range] = []
    original = Generator.images

    def counting(self: Generator, indices: range) -> np.ndarray:  # type: ignore[type-arg]
        made.append(indices)
        return original(self, indices)

    monkeypatch.setattr(Generator, "images", counting)
    grown = evaluate(tiny_checkpoint, settings=dataclasses.replace(FAST, n=620), at=[620], out=tmp_path / "grown")
    assert _numbers(grown) == _numbers(long)
    assert made[0].start == 150, "130 images were made in whole batches of 50; nothing before 150 is made again"
    assert all(np.array_equal(value, _terms(long)[name]) for name, value in _terms(grown).items())


def test_fewer_images_than_the_run_holds_are_shown_and_not_stored(tiny_checkpoint: Path, tmp_path: Path) -> None:
    evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "run")
    fewer = evaluate(tiny_checkpoint, settings=dataclasses.replace(FAST, n=150), out=tmp_path / "run")
    assert fewer.score("fid").n == 150
    stored = RunDirectory(tmp_path / "run").results()
    assert stored is not None
    assert stored.provenance.n == 300


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_batch_sizes_agree(batch: int, tmp_path: Path) -> None:
    """On the digits model: within one level on all but 0.1% of pixels."""
    settings = Settings(n=96, device="cpu", steps=10)
    whole, one = (
        sample("digits", settings=dataclasses.replace(settings, batch=size), out=tmp_path / str(size))[1]
        for size in (96, batch)
    )
    assert whole.images is not None
    assert one.images is not None
    levels = np.abs(one.images.gather("images", 96).astype(int) - whole.images.gather("images", 96).astype(int))
    assert levels.max() <= 1
    assert (levels > 0).mean() < 0.001
    assert np.array_equal(one.images.gather("labels", 96), whole.images.gather("labels", 96))


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_stochastic_samplers_do_not_depend_on_the_batch(sampler: str, tmp_path: Path) -> None:
    eta = 1.0 if sampler == "ddim" else None
    base = Settings(n=24, device="cpu", steps=10, sampler=sampler, eta=eta)
    parts = [
        sample("digits", settings=dataclasses.replace(base, batch=size), out=tmp_path / str(size))[1].images
        for size in (24, 5)
    ]
    one, other = (part.gather("images", 24).astype(int) for part in parts if part is not None)
    assert np.abs(one - other).max() <= 1


def test_small_counts(tiny_checkpoint: Path, tmp_path: Path) -> None:
    results = evaluate(tiny_checkpoint, settings=FAST, at=[20, 300], out=tmp_path / "run")
    assert results.score("fid", 20).error == "20 images, needs at least 77 for 64-dimensional features"
    assert results.score("kid", 20).value is not None
    with pytest.raises(DiffevalError, match=r"fid: 10 images, needs at least 77.*use --n 77 or more"):
        evaluate(tiny_checkpoint, settings=dataclasses.replace(FAST, n=10), out=tmp_path / "few")
    assert not (tmp_path / "few").exists()
    with pytest.raises(DiffevalError, match="--at 500 is not between 1 and the 300 images"):
        evaluate(tiny_checkpoint, settings=FAST, at=[500])


def test_keep_none_leaves_only_results(tiny_checkpoint: Path, tmp_path: Path) -> None:
    evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "run", keep="none")
    assert not list((tmp_path / "run").glob("features/*/*.npz"))
    evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "kept", keep="images")
    assert list((tmp_path / "kept").glob("images/*.npz"))


def test_another_protocol_or_version_is_not_continued(tiny_checkpoint: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    evaluate(tiny_checkpoint, settings=FAST, out=run)
    with pytest.raises(DiffevalError, match="is a run of another protocol; give --fresh"):
        evaluate(tiny_checkpoint, settings=dataclasses.replace(FAST, w=3.0), out=run)
    with pytest.raises(DiffevalError, match="is a run of another seed"):
        evaluate(tiny_checkpoint, settings=dataclasses.replace(FAST, seed=1), out=run)
    state = RunDirectory(run).state()
    assert state is not None
    RunDirectory(run).save_state(dataclasses.replace(state, version="0.0.0"))
    with pytest.raises(DiffevalError, match=r"was made by diffeval 0\.0\.0"):
        evaluate(tiny_checkpoint, settings=FAST, out=run)
    fresh = evaluate(tiny_checkpoint, settings=dataclasses.replace(FAST, seed=1), out=run, fresh=True)
    assert fresh.provenance.seed == 1


def test_against_held_out_images_both_sides_are_debiased(tiny_checkpoint: Path, tmp_path: Path) -> None:
    results = evaluate(tiny_checkpoint, settings=FAST, ref="digits@heldout", out=tmp_path / "run")
    assert results.score("fid_debiased").params["reference_side"] == "debiased"
    trained = evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "train")
    assert trained.score("fid_debiased").params["reference_side"] == "held fixed"


def test_a_network_that_yields_nan_is_named(tiny_checkpoint: Path, tmp_path: Path) -> None:
    model = load(tiny_checkpoint)
    broken = dataclasses.replace(model, denoiser=lambda x, t, c: x * float("nan"))
    with pytest.raises(DiffevalError, match="50 of 50 images hold NaN or infinity, the first is image 0"):
        evaluate(broken, settings=FAST, out=tmp_path / "run")
    state = RunDirectory(tmp_path / "run").state()
    assert state is not None
    assert state.status == "failed"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"w": 3.0}, "is unconditional; leave --w out"),
        ({"n": 0}, "n is 0, needs at least 1"),
        ({"dtype": "fp8"}, "unknown dtype 'fp8'; did you mean 'fp32'"),
        ({"device": "tpu"}, "'tpu' is no device"),
        ({"device": "cuda:99"}, "cuda:99 is not available here"),
        ({"batch": 0}, "batch is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"sampler": "heun"}, "cannot honour a schedule with zero terminal SNR"),
    ],
)
def test_settings_that_cannot_be_honoured(
    unconditional_checkpoint: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(DiffevalError, match=message):
        evaluate(unconditional_checkpoint, settings=dataclasses.replace(FAST, **changes))  # type: ignore[arg-type]


def test_unconditional_models_run(unconditional_checkpoint: Path, tmp_path: Path) -> None:
    results = evaluate(unconditional_checkpoint, settings=FAST, out=tmp_path / "run")
    assert results.protocol.w is None
    assert results.score("fid_debiased").value is not None


def test_keep_is_honoured_when_it_changes(tiny_checkpoint: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    evaluate(tiny_checkpoint, settings=FAST, out=run, keep="images")
    assert list(run.glob("images/*.npz"))
    evaluate(tiny_checkpoint, settings=dataclasses.replace(FAST, n=100), out=run, keep="none")
    assert list(run.glob("features/*/*.npz")), "a look at fewer images deletes nothing"
    evaluate(tiny_checkpoint, settings=FAST, out=run, keep="none")
    assert not list(run.glob("*/*.npz")) + list(run.glob("features/*/*.npz"))


def test_fewer_samples_leave_the_record_of_more(tiny_checkpoint: Path, tmp_path: Path) -> None:
    sample(tiny_checkpoint, settings=FAST, out=tmp_path / "run")
    sample(tiny_checkpoint, settings=dataclasses.replace(FAST, n=10), out=tmp_path / "run")
    stored = RunDirectory(tmp_path / "run").results()
    assert stored is not None
    assert stored.provenance.n == 300


def test_a_metric_that_cannot_be_computed_is_an_error_with_its_reason(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*words: object) -> None:
        raise np.linalg.LinAlgError("no convergence")

    monkeypatch.setattr("diffeval.metrics.fid.debiased_frechet", broken)
    results = evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "run")
    assert results.score("fid").value is None
    assert results.score("fid").error == "LinAlgError: no convergence"
    assert results.score("kid").value is not None


def test_warnings_are_said_once(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "foreign"
    shutil.copytree(tiny_checkpoint, copy)
    (copy / "diffeval.json").unlink()
    for n in (100, 200):
        settings = dataclasses.replace(FAST, n=n, sampler="ddim")
        results = evaluate(copy, settings=settings, ref="digits", out=tmp_path / "run")
    # Null class, value range, and whether it was trained on the reference: each is an assumption of this bare folder.
    assert len(results.warnings) == len(set(results.warnings)) == 3


def test_declared_samplers_are_not_altered_by_an_option(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "foreign"
    shutil.copytree(tiny_checkpoint, copy)
    (copy / "diffeval.json").unlink()
    with pytest.raises(DiffevalError, match="--karras would alter the declared sampler, DDPMScheduler"):
        evaluate(copy, settings=dataclasses.replace(FAST, karras=True), ref="digits", out=tmp_path / "run")


def test_goes_on_until_the_precision_is_reached(tiny_checkpoint: Path, tmp_path: Path) -> None:
    run, settings = tmp_path / "run", dataclasses.replace(FAST, n=100)
    wide = evaluate(tiny_checkpoint, settings=settings, out=run).score("fid_debiased")
    wanted = float(wide.params["precision"]) / 2  # type: ignore[arg-type]
    results = evaluate(tiny_checkpoint, settings=settings, precision=wanted, out=run)
    last = results.score("fid_debiased")
    assert last.n > 100
    assert last.ci95 is not None
    assert last.value is not None
    assert (last.ci95[1] - last.ci95[0]) / 2 <= wanted * last.value
    assert last.params["n_star_precision"] == wanted
    # The same call finds it finished.
    reporter = _Listener()
    assert evaluate(tiny_checkpoint, settings=settings, precision=wanted, out=run, reporter=reporter) == results
    assert any("is finished" in said for said in reporter.notes)


def test_ends_at_the_most_images_where_the_precision_is_out_of_reach(tiny_checkpoint: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(FAST, n=100)
    results = evaluate(tiny_checkpoint, settings=settings, precision=1e-4, max_n=300, out=tmp_path / "run")
    assert results.provenance.n == 300
    assert missed_sentence(results) is not None
    assert "±0.01% was wanted; --max-n" in str(missed_sentence(results))
