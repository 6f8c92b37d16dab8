"""Reference statistics in the layouts that other tools publish, made here with their own keys."""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from diffeval.errors import DiffevalError
from diffeval.features.statistics import Origin, Statistics, check_origin, checked, pick
from diffeval.features.statistics_files import read_statistics, write_statistics

D = 6
FEATURES = np.random.Generator(np.random.Philox(0)).standard_normal((40, D))
MU, SIGMA = FEATURES.mean(axis=0), np.cov(FEATURES.T)
ORIGIN = Origin("digits", "digits/x", "digits@train", "ab" * 32, {"diffeval": "0"}, "2026-01-01T00:00:00+00:00")


def _plain(path: Path) -> Path:
    np.savez(path, mu=MU, sigma=SIGMA)
    return path


def _adm(path: Path) -> Path:
    images = np.zeros((3, 4, 4, 3), np.uint8)
    np.savez(path, mu=MU, sigma=SIGMA, mu_s=np.zeros(8), sigma_s=np.eye(8), arr_0=images)
    return path


def _edm2(path: Path) -> Path:
    other = {"mu": np.zeros(3), "sigma": np.eye(3)}
    with path.open("wb") as file:
        pickle.dump(OrderedDict(num_images=40, fid={"mu": MU, "sigma": SIGMA}, fd_dinov2=other), file)
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_arrays_are_read_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "ref.pkl"
    path.write_bytes(pickle.dumps({"fid": {"mu": MU, "sigma": SIGMA}, "num_images": np.int64(40)}, protocol))
    (entry,) = read_statistics(path)
    np.testing.assert_array_equal(entry.covariance, SIGMA)
    assert (entry.entry, entry.n) == ("fid", 40)


def test_published_layouts_are_told_apart(tmp_path: Path) -> None:
    for make, name, form in ((_plain, "a.npz", "pytorch-fid"), (_adm, "b.npz", "adm"), (_edm2, "c.pkl", "edm2")):
        found = pick(read_statistics(make(tmp_path / name)), D)
        assert found.format == form
        np.testing.assert_array_equal(found.mean, MU)
        np.testing.assert_array_equal(found.covariance, SIGMA)
    assert pick(read_statistics(tmp_path / "c.pkl"), 3).entry == "fd_dinov2"
    assert read_statistics(tmp_path / "b.npz")[0].others == {"arr_0": (3, 4, 4, 3), "mu_s": (8,), "sigma_s": (8, 8)}


def test_a_dimension_that_does_not_fit_names_both_sides(tmp_path: Path) -> None:
    with pytest.raises(DiffevalError, match=r"fid with 6, fd_dinov2 with 3 dimensions, the extractor has 2048"):
        pick(read_statistics(_edm2(tmp_path / "c.pkl")), 2048)


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1 + 1",)


def test_a_pickle_that_wants_to_run_code_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "ref.pkl"
    path.write_bytes(pickle.dumps({"fid": _Runs()}))
    with pytest.raises(DiffevalError, match=r"wants to run builtins\.eval"):
        read_statistics(path)


def test_what_we_write_is_read_back(tmp_path: Path) -> None:
    features, labels = FEATURES.astype(np.float32), np.arange(40) % 4
    ours = Statistics(tmp_path, "diffeval", "", MU, SIGMA, 40, ORIGIN, features, labels)
    for form, suffix in (("diffeval", ".npz"), ("pytorch-fid", ".npz"), ("edm2", ".pkl")):
        path = tmp_path / f"{form}{suffix}"
        write_statistics(path, ours, form)
        (again,) = read_statistics(path)
        np.testing.assert_array_equal(again.covariance, SIGMA)
        assert again.content_hash() == ours.content_hash()
        assert again.origin == (ORIGIN if form == "diffeval" else None)
    (again,) = read_statistics(tmp_path / "diffeval.npz")
    assert again.features is not None
    np.testing.assert_array_equal(again.features, features)
    assert again.labels is not None
    np.testing.assert_array_equal(again.labels, labels)
    # Other tools find their two arrays in our file.
    with np.load(tmp_path / "diffeval.npz") as file:
        np.testing.assert_array_equal(file["sigma"], SIGMA)


def test_another_extractor_is_refused_and_an_unknown_one_is_said(tmp_path: Path) -> None:
    ours = Statistics(tmp_path / "ref.npz", "diffeval", "", MU, SIGMA, 40, ORIGIN)
    assert check_origin(ours, "digits/x") == ()
    with pytest.raises(DiffevalError, match=r"ref\.npz was made with digits/x, this run uses inception/y"):
        check_origin(ours, "inception/y")
    (foreign,) = read_statistics(_plain(tmp_path / "a.npz"))
    (said,) = check_origin(foreign, "inception/y")
    assert "does not say which extractor" in said


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"arr_0": np.zeros((2, 4, 4, 3), np.uint8)}, "holds arr_0, reference statistics need mu and sigma"),
        ({"mu": MU, "sigma": SIGMA[:3]}, r"mu \(6,\) and sigma \(3, 6\)"),
        ({"mu": MU * np.nan, "sigma": SIGMA}, "NaN or infinity"),
        ({"mu": MU, "sigma": -SIGMA}, "no covariance"),
        ({"mu": MU, "sigma": np.triu(SIGMA)}, "no covariance"),
        ({"mu": MU.astype(int), "sigma": SIGMA}, "needs floating point"),
    ],
)
def test_what_is_no_covariance_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DiffevalError, match=message):
        read_statistics(tmp_path / "a.npz")


def test_damaged_and_missing_files_are_one_line(tmp_path: Path) -> None:
    path = _plain(tmp_path / "a.npz")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DiffevalError, match=r"damaged|cannot read"):
        read_statistics(path)
    (tmp_path / "b.pkl").write_bytes(b"text")
    with pytest.raises(DiffevalError, match=r"b\.pkl"):
        read_statistics(tmp_path / "b.pkl")
    with pytest.raises(DiffevalError, match="does not exist"):
        read_statistics(tmp_path / "c.npz")


def test_writing_what_a_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    (foreign,) = read_statistics(_plain(tmp_path / "a.npz"))
    with pytest.raises(DiffevalError, match="does not say what made it"):
        write_statistics(tmp_path / "b.npz", foreign, "diffeval")
    with pytest.raises(DiffevalError, match=r"must end in \.pkl"):
        write_statistics(tmp_path / "b.npz", foreign, "edm2")
    with pytest.raises(DiffevalError, match="did you mean 'edm2'"):
        write_statistics(tmp_path / "b.npz", foreign, "edm")


def test_statistics_that_are_no_arrays_or_too_large_for_float64_are_refused(tmp_path: Path) -> None:
    for mean, covariance in (
        ([[1.0], [1.0, 2.0]], np.eye(2)),
        (np.zeros(0), np.zeros((0, 0))),
    ):
        with pytest.raises(DiffevalError, match=r"no arrays|needs \[d\]"):
            checked(tmp_path, "", mean, covariance)
    _, sigma = checked(tmp_path, "", np.zeros(2), np.full((2, 2), 1e308))
    assert np.isfinite(sigma).all()


def test_an_encrypted_or_dishonest_archive_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "stats.npz"
    np.savez(path, mu=np.zeros(2), sigma=np.eye(2))
    whole = path.read_bytes()
    for damaged in (
        whole.replace(b"PK\x01\x02\x2d\x03\x2d\x00\x00\x00", b"PK\x01\x02\x2d\x03\x2d\x00\x01\x00"),
        whole[:-30],
        whole.replace(b"(2, 2)", b"(9**9)"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(DiffevalError, match=r"stats\.npz"):
            read_statistics(path)
