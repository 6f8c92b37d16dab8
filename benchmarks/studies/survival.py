"""Figures of survival: what befalls a run, what users hand in, and whether the seconds told beforehand are right."""

from collections.abc import Sequence

from studies.study import Claim, Figure, Row, Study, Table, number

KILLED = ("train", "fid", "sweep-cfg", "check", "report")
KILLS = 50
ENDS = ("right", "one clear line", "wrong", "crashed")


def survived(rows: Sequence[Row]) -> Table:
    headings = ("what befalls it", "command", "rounds", "kills", *ENDS)
    keys = ("rounds", "kills", *ENDS)
    return Table(headings, [(row["case"], row["command"], *(number(row.get(key)) for key in keys)) for row in rows])


def survived_claims(rows: Sequence[Row]) -> list[Claim]:
    kills = {name: sum(row.get("kills") or 0 for row in rows if row["command"] == name) for name in KILLED}
    return [
        Claim(f"every command was killed {KILLS} times", all(count >= KILLS for count in kills.values())),
        Claim("no result is wrong", not any(row.get("wrong") for row in rows)),
        Claim("nothing crashed", not any(row.get("crashed") for row in rows)),
    ]


def fuzzed(rows: Sequence[Row]) -> Table:
    keys = ("inputs", "accepted", "refused", "crashed")
    headings = ("what is handed in, damaged", "inputs", "accepted", "refused in one line", "crashed")
    return Table(headings, [(row["what is handed in"], *(number(row[key]) for key in keys)) for row in rows])


def fuzzed_claims(rows: Sequence[Row]) -> list[Claim]:
    one_by_one = [row for row in rows if row["what is handed in"] != "all"]
    return [
        Claim("nothing crashed", not any(row["crashed"] for row in rows)),
        Claim("the sum is that of the kinds", rows[-1]["inputs"] == sum(row["inputs"] for row in one_by_one)),
    ]


STUDIES = (
    Study("fuzz", 45, (Figure("fuzz", fuzzed, fuzzed_claims),), ("--inputs", "1200"), kept=("fuzz.partial.jsonl",)),
)
