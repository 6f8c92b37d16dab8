"""Figures of survival: what befalls a run, what users hand in, and whether the seconds told beforehand are right."""

from collections.abc import Sequence

from studies.study import Claim, Figure, Row, Study, Table, number

KILLED = ("train", "fid", "sweep-cfg", "check", "report")
KILLS = 50
ENDS = ("right", "told", "wrong", "crashed")
# How far estimates may be from the truth.
OFF = 0.3


def survived(rows: Sequence[Row]) -> Table:
    headings = ("what befalls it", "command", "rounds", "mishaps", "right", "one clear line", "wrong", "crashed")
    keys = ("rounds", "mishaps", *ENDS)
    return Table(headings, [(row["case"], row["command"], *(number(row[key]) for key in keys)) for row in rows])


def survived_claims(rows: Sequence[Row]) -> list[Claim]:
    kills = {
        name: sum(row["mishaps"] for row in rows if row["command"] == name and row["case"].startswith("killed"))
        for name in KILLED
    }
    commands = [row for row in rows if row["case"] != "all"]
    return [
        Claim(f"every command was killed {KILLS} times", all(count >= KILLS for count in kills.values())),
        Claim("disks were full and read-only", all(_played(rows, case) for case in ("disk full", "read-only"))),
        Claim("memory was short, and two shared an output", all(_played(rows, case) for case in ("out of", "two"))),
        Claim("no result is wrong", not any(row["wrong"] for row in rows)),
        Claim("nothing crashed", not any(row["crashed"] for row in rows)),
        Claim(
            "every round ended in one of these ways",
            all(row["rounds"] == sum(row[end] for end in ENDS) for row in rows)
            and rows[-1]["rounds"] == sum(row["rounds"] for row in commands),
        ),
    ]


def _played(rows: Sequence[Row], case: str) -> bool:
    return any(row["case"].startswith(case) and row["rounds"] for row in rows)


def fuzzed(rows: Sequence[Row]) -> Table:
    keys = ("inputs", "accepted", "refused", "crashed")
    headings = ("what is handed in, damaged", "inputs", "accepted", "refused in one line", "crashed")
    return Table(headings, [(row["what is handed in"], *(number(row[key]) for key in keys)) for row in rows])


def fuzzed_claims(rows: Sequence[Row]) -> list[Claim]:
    kinds = [row for row in rows if row["what is handed in"] != "all"]
    return [
        Claim("nothing crashed", not any(row["crashed"] for row in rows)),
        Claim("the sum is that of the kinds", rows[-1]["inputs"] == sum(row["inputs"] for row in kinds)),
    ]


def estimated(rows: Sequence[Row]) -> Table:
    headings = ("command", "stage", "told, s", "taken, s", "told / taken", "lowest", "highest", "turns")
    keys = ("ratio", "lowest", "highest")
    return Table(
        headings,
        [
            (
                row["case"], row["stage"], number(row.get("estimate s"), 2), number(row.get("taken s"), 2),
                *("" if row.get(key) is None else f"{row[key]:.2f}" for key in keys), number(row["turns"]),
            )
            for row in rows
        ],
    )  # fmt: skip


def estimated_claims(rows: Sequence[Row]) -> list[Claim]:
    totals = {row["case"] for row in rows if row["stage"] == "total" and row["ratio"]}
    return [Claim("the demo and a run on MNIST were priced", {"demo", "train mnist", "fid mnist"} <= totals)]


STUDIES = (
    Study("survival", 120, (Figure("survival", survived, survived_claims),), kept=("survival.partial.jsonl",)),
    Study("fuzz", 60, (Figure("fuzz", fuzzed, fuzzed_claims),), ("--inputs", "1200"), kept=("fuzz.partial.jsonl",)),
    Study(
        "estimates", 20, (Figure("estimates", estimated, estimated_claims),), ("--threads", "2"),
        kept=("estimates.partial.json",),
    ),
)  # fmt: skip
