"""Several processes for one run: the numbers are those of one process, and nothing is lost when one of them ends."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from diffeval.cli.app import make_app
from diffeval.cli.parse import duration
from diffeval.errors import DiffevalError
from diffeval.evaluate import evaluate
from diffeval.plan import Settings
from diffeval.ranks import PartDone, Share, first_host, launched, parse_share
from diffeval.runs.chunks import ChunkStore
from diffeval.runs.directory import RunDirectory
from diffeval.runs.merge import merge
from diffeval.runs.records import Results
from diffeval.sweeps.sweep import sweep

# Processes that import torch take their time on a busy machine.
pytestmark = pytest.mark.timeout(900)
# Chunks of 130 images: 300 are two whole ones and a short one.
SETTINGS = Settings(n=300, steps=2, device="cpu", batch=130)
WORDS = ("--steps", "2", "--device", "cpu", "--batch", "130")


def _numbers(results: Results) -> list[object]:
    return [(score.name, score.n, score.value, score.std_error, score.ci95) for score in results.scores]


def _arrays(run: Path) -> dict[str, np.ndarray]:
    """All per-image arrays of a run, by file."""
    found = {}
    for path in sorted(run.glob("features/*/*.npz")):
        with np.load(path) as file:
            found |= {f"{path.name} {name}": file[name] for name in file.files}
    return found


@dataclass(frozen=True)
class Launched:
    """What became of several ranks: their exit codes, their stdout, and the errors that diffeval named."""

    codes: list[int]
    printed: str
    errors: list[str]


def _errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("error: ")]


@pytest.fixture(scope="module")
def launched_ranks(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders in which groups of ranks have worked, one after the other; see ``launched.py``."""
    top = tmp_path_factory.mktemp("ranks")
    fid = ["fid", str(tiny_checkpoint), *WORDS]
    swept = ["sweep", str(tiny_checkpoint), "--over", "steps=1,2", "-n", "140", "--device", "cpu"]
    swept += ["--batch", "130", "--out", "sweep"]  # else free memory decides it
    groups = {
        "three": (3, [[*fid, "-n", "200", "--out", "run"]], ""),
        "two": (2, [[*fid, "-n", "300", "--out", str(top / "three" / "run")], swept], ""),
        "raise": (2, [[*fid, "-n", "520", "--out", "run"]], "raise"),
        "elsewhere": (2, [[*fid, "-n", "300", "--out", "run"]], "elsewhere"),
    }
    asked = []
    for name, (world, commands, how) in groups.items():
        (top / name).mkdir()
        asked.append({"world": world, "commands": commands, "how": how, "folder": str(top / name)})
    words = [sys.executable, str(Path(__file__).with_name("launched.py")), json.dumps(asked)]
    subprocess.run(words, timeout=800, check=True)
    return {name: top / name for name in groups}


def _read(folder: Path) -> Launched:
    codes = json.loads((folder / "codes").read_text())
    return Launched(codes, (folder / "out").read_text(), _errors((folder / "err").read_text()))


def _status(run: Path) -> str:
    state = RunDirectory(run).state()
    assert state is not None
    return state.status


def test_one_two_and_three_ranks_give_the_same_numbers(
    launched_ranks: dict[str, Path], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Three ranks with work for two of them, then two ranks that go on to an uneven n, and do a sweep."""
    three, two = (_read(launched_ranks[name]) for name in ("three", "two"))
    assert (three.codes, three.errors, two.codes, two.errors) == ([0, 0, 0], [], [0, 0], [])
    assert three.printed.count("fid_debiased  200") == 1, "rank 0 alone speaks"
    assert two.printed.count("steps  fid_debiased") == 1
    run = launched_ranks["three"] / "run"

    one = evaluate(tiny_checkpoint, metrics=("fid", "kid"), settings=SETTINGS, out=tmp_path / "one", task="fid")
    many = RunDirectory(run).results()
    assert many is not None
    assert _numbers(many) == _numbers(one)
    assert (many.provenance.ranks, one.provenance.ranks) == (3, 1), "three at first, and then two"
    ours, theirs = _arrays(tmp_path / "one"), _arrays(run)
    assert set(ours) == set(theirs)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)

    points = [{"steps": 1}, {"steps": 2}]
    alone = sweep(tiny_checkpoint, points, settings=Settings(n=140, device="cpu", batch=130), out=tmp_path / "alone")
    together = RunDirectory(launched_ranks["two"] / "sweep").results()
    assert together is not None
    assert together.tables["curve"] == alone.tables["curve"]
    assert (together.provenance.ranks, alone.provenance.ranks) == (2, 1)


def test_a_rank_that_is_killed_loses_nothing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Under torchrun itself, which ends the other rank."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    given = {"commands": [["fid", str(tiny_checkpoint), *WORDS, "-n", "520", "--out", "run"]], "how": "kill"}
    words += [str(Path(__file__).with_name("launched.py")), json.dumps(given)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 1, "torchrun's own"
    (error,) = _errors(done.stderr)
    assert error.endswith("run the same command to continue")
    _continues_with_one_process(tmp_path / "run", tiny_checkpoint, tmp_path / "whole")


def test_a_rank_that_raises_says_why_and_stops_the_others(
    launched_ranks: dict[str, Path], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Without a launcher that would end the other rank."""
    done = _read(launched_ranks["raise"])
    assert done.codes == [75, 2]
    assert sorted(done.errors) == [
        "error: rank 1: the disk of this rank is full",
        "error: ranks: rank 1 has ended with an error; what is on disk is kept, run the same command to continue",
    ]
    _continues_with_one_process(launched_ranks["raise"] / "run", tiny_checkpoint, tmp_path / "whole")


def _continues_with_one_process(run: Path, checkpoint: Path, whole: Path) -> None:
    """Rank 1 made the second of four chunks and ended before the fourth; one process makes what is missing."""
    assert _status(run) == "stopped"
    made = {path.name: path.stat().st_mtime_ns for path in run.glob("features/*/*.npz")}
    assert "00000130.npz" in made
    assert "00000390.npz" not in made
    settings = Settings(n=520, steps=2, device="cpu", batch=130)
    continued = evaluate(checkpoint, metrics=("fid", "kid"), settings=settings, out=run, task="fid")
    after = {path.name: path.stat().st_mtime_ns for path in run.glob("features/*/*.npz")}
    assert {name: after[name] for name in made} == made, "nothing is made twice"
    expected = evaluate(checkpoint, metrics=("fid", "kid"), settings=settings, out=whole, task="fid")
    assert _numbers(continued) == _numbers(expected)
    assert continued.provenance.ranks == 2, "the images were shared, though not all"


def test_ranks_that_share_no_folder_are_refused_in_one_line(launched_ranks: dict[str, Path]) -> None:
    done = _read(launched_ranks["elsewhere"])
    assert done.codes == [2, 2]
    (error,) = done.errors
    assert "does not see rank 0's run; put --out on a file system that all machines share" in error
    assert "--shard I/N" in error


def test_a_time_limit_stops_with_75_and_says_how_to_go_on(tiny_checkpoint: Path, tmp_path: Path) -> None:
    words = ["fid", str(tiny_checkpoint), *WORDS, "-n", "100000", "--out", "run", "--time-limit", "1s"]
    done = subprocess.run(
        [sys.executable, "-m", "diffeval", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 75, done.stderr
    assert done.stderr.splitlines()[-1].endswith("run the same command to continue")
    assert _status(tmp_path / "run") == "stopped"


def test_shards_are_joined_to_the_run_that_was_never_parted(tiny_checkpoint: Path, tmp_path: Path) -> None:
    whole = evaluate(tiny_checkpoint, settings=SETTINGS, out=tmp_path / "whole")
    for index in (0, 2):
        _make_shard(tiny_checkpoint, index, tmp_path / "parts")
    with pytest.raises(DiffevalError, match=r"images 130 to 259 are missing; run the command again with --shard 2/3$"):
        merge([tmp_path / "parts"], tmp_path / "parts")
    _make_shard(tiny_checkpoint, 1, tmp_path / "parts")
    merged = merge([tmp_path / "parts"], tmp_path / "parts")
    assert (merged.parts, merged.n) == (3, 300)
    before = _arrays(tmp_path / "parts")
    joined = evaluate(tiny_checkpoint, settings=SETTINGS, out=tmp_path / "parts")
    assert _numbers(joined) == _numbers(whole)
    assert _arrays(tmp_path / "parts").keys() == before.keys(), "nothing is sampled any more"
    ours, theirs = _arrays(tmp_path / "whole"), _arrays(tmp_path / "parts")
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def _make_shard(checkpoint: Path, index: int, out: Path, seed: int = 0) -> None:
    settings = Settings(n=300, steps=2, device="cpu", batch=130, shard=Share(index, 3), seed=seed)
    with pytest.raises(PartDone, match=f"shard {index + 1}/3 is done"):
        evaluate(checkpoint, settings=settings, out=out)


def test_shards_of_a_sweep_are_joined_point_by_point(tiny_checkpoint: Path, tmp_path: Path) -> None:
    points = [{"steps": 1}, {"steps": 2}]
    whole = Settings(n=140, device="cpu", batch=130)
    for index in range(2):
        part = Settings(n=140, device="cpu", batch=130, shard=Share(index, 2))
        with pytest.raises(PartDone):
            sweep(tiny_checkpoint, points, settings=part, out=tmp_path / "parts")
    merge([tmp_path / "parts"], tmp_path / "parts")
    joined = sweep(tiny_checkpoint, points, settings=whole, out=tmp_path / "parts")
    alone = sweep(tiny_checkpoint, points, settings=whole, out=tmp_path / "alone")
    assert joined.tables["curve"] == alone.tables["curve"]


def test_parts_of_different_runs_are_not_joined(tiny_checkpoint: Path, tmp_path: Path) -> None:
    _make_shard(tiny_checkpoint, 0, tmp_path / "parts")
    _make_shard(tiny_checkpoint, 1, tmp_path / "others", seed=1)
    with pytest.raises(DiffevalError, match="are not of one run: seed is 0 and 1"):
        merge([tmp_path / "parts", tmp_path / "others"], tmp_path / "out")
    with pytest.raises(DiffevalError, match="holds no run; name the folders that --shard wrote"):
        merge([tmp_path / "parts", tmp_path / "nothing"], tmp_path / "out")


def test_parts_that_hold_different_images_are_not_joined(tiny_checkpoint: Path, tmp_path: Path) -> None:
    _make_shard(tiny_checkpoint, 0, tmp_path / "parts")
    _make_shard(tiny_checkpoint, 0, tmp_path / "again")
    (path,) = (tmp_path / "again").glob("shard-1-of-3/features/*/00000000.npz")
    store = ChunkStore(path.parent, 130, ("features",))
    arrays = store.read(0)
    assert arrays is not None
    changed = arrays["features"].copy()
    changed[17, 0] += 1
    store.write(0, {**arrays, "features": changed})
    with pytest.raises(DiffevalError, match="both hold images 0 to 129, and not the same"):
        merge([tmp_path / "parts", tmp_path / "again"], tmp_path / "out")


def test_a_shard_is_no_run_to_be_continued_whole(tiny_checkpoint: Path, tmp_path: Path) -> None:
    _make_shard(tiny_checkpoint, 0, tmp_path / "parts")
    with pytest.raises(DiffevalError, match="is a run of another shard"):
        evaluate(tiny_checkpoint, settings=SETTINGS, out=tmp_path / "parts" / "shard-1-of-3")


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_shares_are_a_partition_of_nearly_equal_parts(world: int) -> None:
    items = list(range(0, 11 * 250, 250))
    parts = [Share(rank, world).of(items) for rank in range(world)]
    assert sorted(item for part in parts for item in part) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_shares_are_counted_from_one() -> None:
    assert parse_share("2/8") == Share(1, 8)
    assert str(Share(1, 8)) == "2/8"
    for text in ("0/8", "9/8", "8", "a/b", "-1/2", "1/0"):
        with pytest.raises(DiffevalError, match="write I/N with I from 1 to N"):
            parse_share(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("03:50:00", 13800), (None, None)]
)
def test_times_are_read(text: str | None, seconds: float | None) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "30", "5 minutes", "1:99:00", "-5m"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(DiffevalError, match=r"is no time; write e\.g\. 90s"):
        duration(text)


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({}, (0, 1)),
        ({"RANK": "2", "WORLD_SIZE": "4"}, (2, 4)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, (0, 1)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, (1, 2)),
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8"}, (3, 8)),
        # A batch script that has not called srun is one process, whatever was asked for.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, (0, 1)),
    ],
)
def test_launchers_are_recognised(environ: dict[str, str], place: tuple[int, int]) -> None:
    assert launched(environ) == place


@pytest.mark.parametrize(
    ("nodes", "host"), [("gpu[03-05,9],cpu1", "gpu03"), ("one", "one"), ("a,b", "a"), ("n[7,9]-ib", "n7-ib")]
)
def test_the_first_machine_of_slurms_list(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


def test_commands_without_images_are_for_rank_0_alone(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    words = ["runs", "ls", str(tmp_path / "runs")]
    spoken = [
        CliRunner(env={"RANK": rank, "WORLD_SIZE": "2"}).invoke(make_app(), words, prog_name="diffeval")
        for rank in "01"
    ]
    assert [one.exit_code for one in spoken] == [0, 0]
    assert spoken[0].stdout.startswith("no runs in")
    assert spoken[1].output == ""
