"""Hands in what users hand in, damaged; every input must end in success, or be refused in one clear line.

    python benchmarks/fuzz.py [--inputs 600] [--seed 0] [--only checkpoint]

The strategies lie in ``fuzzing/`` (hypothesis draws from them), and ``tests/fuzz`` tries some of each with every
change. Here each kind is tried in rounds, each a process of its own with 6 GB of memory and 60 s of work for an input;
rounds that are done are kept in ``results/fuzz.partial.jsonl``, so that the same command goes on where it was stopped.
An input has crashed if it ends in anything but a result, a ``DiffevalError`` of one line, or the command line's own
words; if it takes more memory or time than that; or if it writes, or runs code, outside of its folder.
"""

import argparse
import faulthandler
import json
import multiprocessing
import sys
from collections import Counter
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import hypothesis
from fuzzing.kinds import KINDS
from fuzzing.outcome import WAIT, Kind, attempt
from hypothesis import HealthCheck, Phase, given
from record import FOLDER, save

ROUND = 200
PARTIAL = FOLDER / "fuzz.partial.jsonl"
CONTEXT = multiprocessing.get_context("fork")


def one_round(kind: Kind, inputs: int, seed: int) -> dict[str, Any]:
    """Tries inputs of one kind: how they ended, and what those that crashed said."""
    counts: Counter[str] = Counter()
    crashes: list[str] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=inputs,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(kind.inputs)
    def tried(drawn: object) -> None:
        # What waits in a library that no alarm interrupts ends the round.
        faulthandler.dump_traceback_later(2 * WAIT, exit=True)
        outcome = attempt(kind, drawn)
        counts[outcome.ended] += 1
        if outcome.ended == "crashed":
            crashes.append(f"{outcome.said}; input {repr(drawn)[-200:]}")

    tried()
    faulthandler.cancel_dump_traceback_later()
    return {"kind": kind.name, "seed": seed, **counts, "crashes": crashes[:5]}


def work(results: Connection, name: str, inputs: int, seed: int) -> None:
    """What the process of a round does."""
    results.send(one_round(next(one for one in KINDS if one.name == name), inputs, seed))


def run_round(kind: Kind, inputs: int, seed: int) -> dict[str, Any]:
    """A round in a process of its own, which has imported everything already; one that dies is one crash."""
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=work, args=(theirs, kind.name, inputs, seed))
    process.start()
    theirs.close()
    try:
        found: dict[str, Any] = ours.recv()
    except EOFError:
        process.join()
        said = f"the process ended with {process.exitcode}; its last words are above"
        return {"kind": kind.name, "seed": seed, "crashed": 1, "crashes": [said]}
    process.join()
    return found


def kept() -> dict[tuple[str, int], dict[str, Any]]:
    """The rounds that are done, each once, those of other processes of this benchmark included."""
    lines = PARTIAL.read_text().splitlines() if PARTIAL.exists() else []
    return {(one["kind"], one["seed"]): one for one in map(json.loads, lines)}


def table(rounds: list[dict[str, Any]]) -> list[dict[str, object]]:
    """A row for each kind, and their sum."""
    rows: list[dict[str, object]] = []
    for kind in KINDS:
        mine = [one for one in rounds if one["kind"] == kind.name]
        counts = {name: sum(int(one.get(name, 0)) for one in mine) for name in ("accepted", "refused", "crashed")}
        if mine:
            rows.append({"what is handed in": kind.name, "inputs": sum(counts.values()), **counts})
    sums = {name: sum(int(str(row[name])) for row in rows) for name in ("inputs", "accepted", "refused", "crashed")}
    return [*rows, {"what is handed in": "all", **sums}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=600, help="of each kind; of slower ones fewer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds whose name holds this")
    options: SimpleNamespace = SimpleNamespace(**vars(parser.parse_args()))
    FOLDER.mkdir(exist_ok=True)
    for kind in KINDS:
        for number in range(max(1, options.inputs // kind.heavy // ROUND)):
            seed = options.seed + number
            if options.only not in kind.name or (kind.name, seed) in kept():
                continue
            done = run_round(kind, min(ROUND, options.inputs), seed)
            with PARTIAL.open("a") as file:
                file.write(json.dumps(done) + "\n")
            print(json.dumps(done), file=sys.stderr, flush=True)
    rounds = list(kept().values())
    save("fuzz", table(rounds), libraries=("hypothesis", "torch", "diffusers", "pillow", "numpy"))
    assert not sum(int(one.get("crashed", 0)) for one in rounds), "something crashed; see the rounds above"


if __name__ == "__main__":
    main()
