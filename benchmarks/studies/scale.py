"""Figures of scale: many ranks for one run, and what grows with the number of images."""

from collections.abc import Sequence

from studies.study import Claim, Figure, Row, Study, Table, number

# What counts as flat, from the fewest images to the most: times the time of one, and MB beside bounded memory.
SLOWER, MORE_MB = 1.5, 200


def memory(rows: Sequence[Row]) -> Table:
    keys = ("n", "ms per image", "MB for images", "scoring s", "MB for scoring", "MB in all")
    headings = ("images", "scores", "n", "ms per image", "MB for images", "scoring, s", "MB for scoring", "MB in all")
    return Table(
        headings,
        [
            (row["images"], row["scores"], *(number(row[key]) for key in keys))
            for row in rows
        ],
    )  # fmt: skip


def memory_claims(rows: Sequence[Row]) -> list[Claim]:
    claims = [Claim("100,000 images were measured", max(row["n"] for row in rows) >= 100_000)]
    for kind in dict.fromkeys(row["images"] for row in rows):
        mine = sorted((row for row in rows if row["images"] == kind), key=lambda row: int(row["n"]))
        least, most = mine[0], mine[-1]
        claims += [
            Claim(f"{kind}: an image takes no longer", most["ms per image"] <= SLOWER * least["ms per image"]),
            Claim(f"{kind}: memory is flat", most["MB for images"] <= least["MB for images"] + MORE_MB),
        ]
    return claims


def ranks(rows: Sequence[Row]) -> Table:
    headings = ("processes", "n", "seconds", "files of features that differ", "scores differ by, relative")
    return Table(
        headings,
        [
            (
                row["processes"], number(row["n"]), number(row["seconds"]),
                f"{row['files that differ']} of {row['files']}", number(row["scores differ by"], 2),
            )
            for row in rows
        ],
    )  # fmt: skip


def ranks_claims(rows: Sequence[Row]) -> list[Claim]:
    return [
        Claim("1, 2, 3 and 8 ranks were tried", {"1", "2", "3", "8"} <= {row["processes"] for row in rows}),
        Claim("features are bit-equal", all(row["files that differ"] == 0 < row["files"] for row in rows)),
        Claim("scores are equal to 1e-9", all(row["scores differ by"] <= 1e-9 for row in rows)),
    ]


STUDIES = (
    Study("ranks", 4, (Figure("ranks", ranks, ranks_claims),)),
    Study("flat_memory", 15, (Figure("flat_memory", memory, memory_claims),)),
)
