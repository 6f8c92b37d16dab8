"""Reference statistics made, used, refused."""

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from diffeval.data.source import open_source
from diffeval.errors import DiffevalError
from diffeval.evaluate import evaluate as evaluate_any
from diffeval.features.statistics_files import read_statistics, write_statistics
from diffeval.measured import Extracting
from diffeval.plan import Settings
from diffeval.refs import convert, facts, make_statistics

# What ``diffeval fid`` computes.
evaluate = partial(evaluate_any, metrics=("fid", "kid"), task="fid")

FAST = Settings(n=150, steps=2, device="cpu")


def _made(tmp_path: Path, **options: bool) -> Path:
    out = tmp_path / "digits.npz"
    make_statistics("digits", out, device="cpu", **options)
    return out


def test_statistics_read_as_the_images_do(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Held fixed, a reference is its mean and covariance: the distance and its error are the same."""
    images = evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "images")
    moments = evaluate(tiny_checkpoint, settings=FAST, ref=f"stats:{_made(tmp_path)}", out=tmp_path / "moments")
    for name in ("fid", "fid_debiased"):
        one, other = images.score(name), moments.score(name)
        assert other.value == pytest.approx(one.value, rel=1e-9)
        assert other.std_error == pytest.approx(one.std_error, rel=1e-9)
    # Without the features there is no kernel distance, and the score says what would help.
    assert moments.score("kid").value is None
    assert "--features" in str(moments.score("kid").error)


def test_with_features_every_metric_is_there(tiny_checkpoint: Path, tmp_path: Path) -> None:
    images = evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "images")
    ref = f"stats:{_made(tmp_path, keep_features=True)}"
    kept = evaluate(tiny_checkpoint, settings=FAST, ref=ref, out=tmp_path / "kept")
    assert kept.score("kid").value == pytest.approx(images.score("kid").value, rel=1e-9)


def test_statistics_of_unknown_origin_are_said_to_be(tiny_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "plain.npz"
    convert(read_statistics(_made(tmp_path)), path, "pytorch-fid")
    results = evaluate(
        tiny_checkpoint,
        settings=FAST,
        ref=f"stats:{path}",
        extracting=Extracting("digits"),
        out=tmp_path / "run",
    )
    assert any("does not say which extractor" in said for said in results.warnings)
    with pytest.raises(DiffevalError, match=r"64 dimensions and does not say what made them; name the --extractor"):
        evaluate(tiny_checkpoint, settings=FAST, ref=f"stats:{path}", out=tmp_path / "other")


def test_another_dimension_names_both_sides(tiny_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.npz"
    np.savez(path, mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(DiffevalError, match=r"holds mu with 3 dimensions, the extractor has 64"):
        evaluate(tiny_checkpoint, settings=FAST, ref=f"stats:{path}", extracting=Extracting("digits"))


def test_another_extractor_names_both_sides(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (ours,) = read_statistics(_made(tmp_path))
    assert ours.origin is not None
    other = dataclasses.replace(ours, origin=dataclasses.replace(ours.origin, extractor_id="digits/elsewhere"))
    write_statistics(tmp_path / "other.npz", other, "diffeval")
    with pytest.raises(DiffevalError, match=r"was made with digits/elsewhere, this run uses digits/"):
        evaluate(tiny_checkpoint, settings=FAST, ref=f"stats:{tmp_path / 'other.npz'}")


def test_what_is_shown_is_what_the_file_holds(tmp_path: Path) -> None:
    (made,) = read_statistics(_made(tmp_path, keep_features=True))
    rows = dict(facts(made))
    source = open_source("digits")
    assert rows["images"] == str(len(source))
    assert source.content_hash()[:16] in rows["reference"]
    assert rows["features"] == f"{len(source)} x 64, with labels"
    assert made.labels is not None
    np.testing.assert_array_equal(made.labels, source.labels)


def test_a_file_of_several_needs_a_name(tmp_path: Path) -> None:
    (made,) = read_statistics(_made(tmp_path))
    entries = (dataclasses.replace(made, entry="fid"), dataclasses.replace(made, entry="fd_dinov2"))
    with pytest.raises(DiffevalError, match=r"holds fid, fd_dinov2; name one with --entry"):
        convert(entries, tmp_path / "a.npz", "pytorch-fid")
    with pytest.raises(DiffevalError, match=r"no entry 'kid', it holds fid, fd_dinov2"):
        convert(entries, tmp_path / "a.npz", "pytorch-fid", "kid")
    convert(entries, tmp_path / "a.pkl", "edm2", "fd_dinov2")
    assert read_statistics(tmp_path / "a.pkl")[0].entry == "fd_dinov2"
