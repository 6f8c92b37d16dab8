"""Figures of speed: sampling, from a checkpoint to its FID, extraction, overlap, and what half precision costs."""

import math
import statistics
from collections.abc import Sequence

from studies.study import Claim, Figure, Row, Study, Table, number, share

FOLD = 1e-5
# What float32 may change: levels, and the share of pixels.
LEVELS, PIXELS = 1, 0.001
NETWORKS = ("8x8", "32x32")
CONTESTANTS = (
    "diffusers DDIMPipeline, float32",
    "diffeval, float32",
    "diffeval, float32, channels last",
    "diffeval, float32, compiled",
    "diffeval, bf16",
    "diffeval, bf16, compiled",
)


def sampling(rows: Sequence[Row]) -> Table:
    headings = ("network", "contestant", "images/s", "times diffusers", "of the matrix-product rate", "warm-up, s",
                "peak memory, GB", "pixels that differ")  # fmt: skip
    return Table(
        headings,
        [
            (
                row["network"], row["contestant"], number(row["images/s"]), f"{row['times diffusers']:.2f}",
                share(row.get("share of matrix-product rate")), number(row["warm-up s"], 2),
                f"{row['peak memory GB']:.2f}", share(row["pixels that differ"]),
            )
            for row in rows
        ],
    )  # fmt: skip


def sampling_claims(rows: Sequence[Row]) -> list[Claim]:
    exact = [row for row in rows if "float32" in row["contestant"]]
    measured = {(row["network"], row["contestant"]) for row in rows if row["device"] == "cpu"}
    wanted = {(network, contestant) for network in NETWORKS for contestant in CONTESTANTS}
    return [
        Claim("both networks were sampled by all contestants", wanted <= measured),
        Claim(
            "in float32 the pixels are the pipeline's",
            all(row["by at most"] <= LEVELS and row["pixels that differ"] <= PIXELS for row in exact),
        ),
    ]


def end_to_end(rows: Sequence[Row]) -> Table:
    headings = ("path", "images", "seconds", "times as fast", "peak memory, GB", "FID, one seed", "seconds by stage")
    return Table(
        headings,
        [
            (
                row["path"], number(row["n"]), number(row["seconds (median)"]),
                f"{row['times the other (median of ratios)']:.2f}", f"{row['peak memory GB']:.2f}",
                f"{row['FID, seed 0']:.5g}", row["stages, s"],
            )
            for row in rows
        ],
    )  # fmt: skip


def end_to_end_claims(rows: Sequence[Row]) -> list[Claim]:
    values = [row["FID, seed 0"] for row in rows]
    return [
        Claim("both paths were measured", len(rows) == 2),
        Claim("both give the same FID to one part in a thousand", max(values) / min(values) - 1 < 1e-3),
    ]


def errors(rows: Sequence[Row]) -> Table:
    headings = ("images", "repeats", "plain FID: rms error", "fid_debiased: rms error")
    return Table(
        headings,
        [
            (number(row["n"]), number(row["parts"]), share(row["plain: rms error"]), share(row["debiased: rms error"]))
            for row in rows
            if "n" in row
        ],
    )


def errors_claims(rows: Sequence[Row]) -> list[Claim]:
    counts = [row for row in rows if "n" in row]
    better = all(row["debiased: rms error"] < row["plain: rms error"] for row in counts)
    return [Claim("the debiased estimate errs less than the plain one at every count", bool(counts) and better)]


def drift(rows: Sequence[Row]) -> Table:
    headings = ("network in", "seeds x images", "FID in float32", "FID less that of float32", "of it",
                "pixels moved", "by more than a level", "root mean square, levels")  # fmt: skip
    found = []
    for way in dict.fromkeys(row["way"] for row in rows):
        mine = [row for row in rows if row["way"] == way]
        base, moved = _mean(mine, "fid_debiased, float32"), _mean(mine, "difference")
        error = math.sqrt(sum(row["std error"] ** 2 for row in mine)) / len(mine)
        found.append(
            (
                way, f"{len(mine)} x {number(mine[0]['n'])}", f"{base:.4f}", f"{moved:+.5f} ± {error:.5f}",
                f"{moved / base:+.1%}", share(_mean(mine, "pixels that differ")),
                share(_mean(mine, "by more than one level")), number(_mean(mine, "images moved"), 2),
            )
        )  # fmt: skip
    return Table(headings, found)


def drift_claims(rows: Sequence[Row]) -> list[Claim]:
    exact = [row for row in rows if row["way"] == "float32, compiled"]
    return [
        Claim("every difference is paired by seed", all(row["paired"] for row in rows)),
        Claim("bf16 was measured", any(row["way"] == "bf16" for row in rows)),
        Claim(
            "compiling in float32 moves at most one pixel in a thousand by more than one level",
            bool(exact) and all(row["by more than one level"] <= PIXELS for row in exact),
        ),
    ]


def overlap(rows: Sequence[Row]) -> Table:
    headings = ("images", "n", "threads", "at once, s", "overlapped, s", "times as fast", "from .. to", "turns")
    return Table(
        headings,
        [
            (
                row["images"], number(row["n"]), number(row["threads"]), number(row["at once s"]),
                number(row["overlapped s"]), f"{row['times as fast']:.2f}", f"{row['from']:.2f} .. {row['to']:.2f}",
                number(row["turns"]),
            )
            for row in rows
        ],
    )  # fmt: skip


def overlap_claims(rows: Sequence[Row]) -> list[Claim]:
    return [Claim("what is committed does not depend on who commits it", all(row["equal"] for row in rows))]


def _mean(rows: Sequence[Row], key: str) -> float:
    return statistics.fmean(row[key] for row in rows)


def extraction(rows: Sequence[Row]) -> Table:
    headings = ("path", "images/s", "times torch-fidelity", "of its convolutions' rate", "of the matrix-product rate",
                "FID between the two sets")  # fmt: skip
    return Table(
        headings,
        [
            (
                row["path"], number(row["images/s (median)"]),
                f"{row['times torch-fidelity (median of ratios)']:.2f}",
                share(row.get("share of the convolution rate (median of ratios)")),
                share(row.get("share of the matrix-product rate, float32 (median of ratios)")),
                number(row["FID between the two sets"], 5),
            )
            for row in rows
        ],
    )  # fmt: skip


def extraction_claims(rows: Sequence[Row]) -> list[Claim]:
    """The share of the convolutions' rate is a goal, and stands among these; older results lack it."""
    ours = [row for row in rows if row["path"].startswith("diffeval")]
    key = "times torch-fidelity (median of ratios)"
    return [
        Claim("every path of ours is faster than torch-fidelity", all(row[key] > 1 for row in ours) and bool(ours))
    ]


def agreement(rows: Sequence[Row]) -> Table:
    headings = ("protocol", "against", "features differ by, of the largest", "FID", "theirs")
    return Table(
        headings,
        [
            (row["protocol"], row["against"], number(row["features"], 2), f"{row['FID']:.3f}",
             f"{row['their FID']:.3f}")
            for row in rows
        ],
    )  # fmt: skip


def agreement_claims(rows: Sequence[Row]) -> list[Claim]:
    return [
        Claim(f"folded features stay within {FOLD:g} of the largest", all(row["features"] <= FOLD for row in rows)),
        Claim("FID is the peers' to one part in 100,000", all(row["FID differs by"] <= 1e-5 for row in rows)),
    ]


STUDIES = (
    Study("sampling", 15, (Figure("sampling", sampling, sampling_claims),), ("--turns", "7", "--threads", "2")),
    Study(
        "end_to_end", 25,
        (Figure("end_to_end", end_to_end, end_to_end_claims), Figure("end_to_end_errors", errors, errors_claims)),
        ("--threads", "2"), kept=("end_to_end.partial.json",),
    ),
    Study("precision_drift", 10, (Figure("precision_drift", drift, drift_claims),), ("--threads", "2")),
    Study(
        "extractors", 6,
        (Figure("extractors_speed", extraction, extraction_claims), Figure("extractors", agreement, agreement_claims)),
    ),
    Study("overlap", 10, (Figure("overlap", overlap, overlap_claims),)),
)  # fmt: skip
