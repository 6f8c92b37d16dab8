"""The command line as a user meets it: exit code first, then what it says and where."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from diffeval.cli.app import make_app

FAST = ("--steps", "2", "--device", "cpu")


def _run(*words: str, environment: dict[str, str] | None = None):  # type: ignore[no-untyped-def]
    return CliRunner(env=environment).invoke(make_app(), list(words), prog_name="diffeval")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_fid_prints_a_table_and_leaves_a_page(tiny_checkpoint: Path) -> None:
    done = _run("fid", str(tiny_checkpoint), "--n", "200", *FAST)
    assert done.exit_code == 0, done.output
    assert "fid_debiased" in done.stdout
    assert "n=200 · w=1 · ddim, 2 steps · seed 0 · extractor digits · reference digits@train" in done.stdout
    assert "floor: fid_debiased of 500 held-out real images is" in done.stdout
    assert "FID is a hint, not a verdict" in done.stdout
    assert len(list(Path("runs").glob("tiny-*-fid-s0-*/report.html"))) == 1
    assert "[sampling] 200 images" in done.stderr


def test_precision_is_reached_or_the_exit_code_says_not(tiny_checkpoint: Path) -> None:
    words = ("fid", str(tiny_checkpoint), "--n", "200", *FAST)
    done = _run(*words, "--precision", "0.5")
    assert done.exit_code == 0, done.output
    assert "n*: fid_debiased at n=200 is known to ±" in done.stdout
    short = _run(*words, "--precision", "0.001", "--max-n", "300", "--json")
    assert short.exit_code == 4
    assert "inconclusive: 300 images give ±" in short.stderr
    assert "±0.1% was wanted; --max-n" in short.stderr
    choices = json.loads(short.stdout)["choices"]
    assert (choices["precision"], choices["max_n"]) == (0.001, 300)
    plan = _run(*words, "--precision", "0.02", "--dry-run")
    assert "until ±2%, at most 50000 images" in plan.stdout


def test_json_is_one_document_on_stdout(tiny_checkpoint: Path) -> None:
    done = _run("fid", str(tiny_checkpoint), "--n", "200", "--json", *FAST)
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["schema"] == "diffeval.results/1"
    assert Path(document["run"], "results.json").exists()
    again = _run("fid", str(tiny_checkpoint), "--n", "200", "--json", *FAST)
    assert json.loads(again.stdout)["scores"] == document["scores"]
    assert "is finished" in again.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fid", "nothing"), "error: checkpoint: nothing does not exist; give a diffusers folder, or digits"),
        (("fid", "."), "is a folder without unet/config.json (it holds: nothing)"),
        (("fid", "digits", "--n", "10"), "error: fid: 10 images, needs at least 77"),
        (("fid", "digits", "--sampler", "dimm"), "unknown sampler 'dimm'; did you mean 'ddim'?"),
        (("fid", "digits", "--precision", "5"), "--precision 5 is not between 0 and 1; 0.05 asks for"),
        (("fid", "digits", "--max-n", "500"), "--max-n bounds what --precision asks for"),
        (("fid", "digits", "--precision", "0.1", "--max-n", "500"), "--max-n 500 is less than the 1000 images"),
        (("fid", "digits", "--at", "abc"), "--at: 'abc' is no count; write whole numbers"),
        (("fid", "digits", "--at", "1000,-5"), "--at: '-5' is no count"),
        (("fid", "digits", "--n", "100", "--at", "200"), "--at 200 is not between 1 and the 100 images"),
        (("fid", "digits", "--ref", "digit"), "unknown data source 'digit'; did you mean 'digits'?"),
        (("fid", "digits", "--extractor", "inceptoin"), "unknown extractor 'inceptoin'"),
        (("fid", "digits", "--keep", "image"), "did you mean 'images'?"),
        (("fid", "digits", "--steps", "0"), "0 steps, must be from 1 to the 1000"),
        (("fid", "digits", "--device", "cuda:99"), "cuda:99 is not available here"),
        (("fid", "digits", "--out", "/proc/nothing/run"), "output: cannot write to /proc/nothing/run"),
        (("sample", "digits", "--format", "gif"), "unknown --format 'gif'"),
        (("report", "."), "is no run directory"),
        (("train", "digits", "--out", "x", "--schedule", "cosine"), "unknown --schedule 'cosine'"),
        (("train", "digitz", "--out", "x"), "did you mean 'digits'?"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(words: tuple[str, ...], message: str) -> None:
    done = _run(*words)
    assert done.exit_code == 2, done.output
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert done.stdout == ""


def test_a_schedule_that_the_sampler_cannot_honour(unconditional_checkpoint: Path) -> None:
    done = _run("fid", str(unconditional_checkpoint), "--sampler", "pndm")
    assert done.exit_code == 2
    assert "pndm (PNDMScheduler) cannot honour a schedule with zero terminal SNR" in done.stderr


@pytest.mark.parametrize(
    "words", [("fid",), ("fid", "digits", "--no-such-option"), ("fid", "digits", "--n", "many"), ("nope",)]
)
def test_usage_errors_exit_with_2(words: tuple[str, ...]) -> None:
    assert _run(*words).exit_code == 2


def test_errors_in_json_are_a_document_too() -> None:
    done = _run("fid", "nothing", "--json")
    assert done.exit_code == 2
    assert "does not exist" in json.loads(done.stdout)["error"]["message"]


@pytest.mark.skipif(os.name != "posix", reason="needs a folder that cannot be written")
def test_unwritable_output_fails_before_sampling(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = _run("fid", "digits", "--out", str(tmp_path / "file" / "run"))
    assert done.exit_code == 2
    assert "choose another folder with --out" in done.stderr


def test_environment_and_config_file_and_their_order(tiny_checkpoint: Path, tmp_path: Path) -> None:
    config = tmp_path / "options.toml"
    config.write_text('device = "cpu"\n[fid]\nn = 150\nsteps = 2\nseed = 3\n')
    words = ("fid", str(tiny_checkpoint), "--config", str(config), "--dry-run")
    assert "images      150" in _run(*words).stdout
    assert "images      160" in _run(*words, environment={"DIFFEVAL_FID_N": "160"}).stdout
    assert "images      170" in _run(*words, "--n", "170", environment={"DIFFEVAL_FID_N": "160"}).stdout
    config.write_text("stepz = 2\n")
    done = _run(*words)
    assert done.exit_code == 2
    assert done.stderr.startswith(
        f"error: --config: {config}: no command has an option 'stepz'; did you mean 'steps'?"
    )
    for text, message in (
        ("[fidd]\nn = 1\n", "there is no command 'fidd'; did you mean 'fid'?"),
        ("fid = 5\n", "fid is a command; write its options in a table, [fid]"),
        ("[fid]\nlr = 5\n", "fid has no option 'lr'"),
        ("n = \n", "cannot read"),
    ):
        config.write_text(text)
        done = _run(*words)
        assert (done.exit_code, len(done.stderr.strip().splitlines())) == (2, 1)
        assert message in done.stderr
    config.write_text("lr = 0.1\nn = 180\n")
    assert "images      180" in _run(*words).stdout, "an option of another command is passed over"


def test_dry_run_writes_nothing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    done = _run("fid", str(tiny_checkpoint), "--n", "200", "--dry-run", *FAST)
    assert done.exit_code == 0
    assert "scores      fid, kid at n = 200" in done.stdout
    assert not (tmp_path / "runs").exists()
    plan = json.loads(_run("fid", str(tiny_checkpoint), "--n", "200", "--dry-run", "--json", *FAST).stdout)["plan"]
    assert plan["images"].startswith("200")


def test_sample_writes_png_and_npz(tiny_checkpoint: Path, tmp_path: Path) -> None:
    import numpy as np

    done = _run("sample", str(tiny_checkpoint), "--n", "12", "--out", "drawn", *FAST)
    assert done.exit_code == 0, done.output
    files = sorted((tmp_path / "drawn" / "png").glob("*.png"))
    assert len(files) == 12
    done = _run("sample", str(tiny_checkpoint), "--n", "12", "--out", "drawn", "--format", "npz", *FAST)
    assert done.exit_code == 0, done.output
    arrays = np.load(tmp_path / "drawn" / "samples.npz")
    assert arrays["arr_0"].shape == (12, 8, 8, 1)
    assert np.array_equal(np.asarray(Image.open(files[5])), arrays["arr_0"][5, :, :, 0])
    labels = (tmp_path / "drawn" / "png" / "labels.csv").read_text().splitlines()[1:]
    assert [int(line.split(",")[1]) for line in labels] == arrays["arr_1"].tolist()


def test_fresh_samples_replace_every_picture(tiny_checkpoint: Path, tmp_path: Path) -> None:
    words = ("sample", str(tiny_checkpoint), "--out", "drawn", *FAST)
    _run(*words, "--n", "12")
    before = [path.read_bytes() for path in sorted((tmp_path / "drawn" / "png").glob("*.png"))]
    assert _run(*words, "--n", "8", "--seed", "1", "--fresh").exit_code == 0
    after = [path.read_bytes() for path in sorted((tmp_path / "drawn" / "png").glob("*.png"))]
    assert len(after) == 8
    assert not set(before) & set(after)


@pytest.mark.parametrize("command", ["fid", "train"])
def test_ctrl_c_stops_at_a_safe_place_with_130(command: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "diffeval", command, "--device", "cpu", "--out", "run", "--batch", "50"]
    words += (
        [str(tiny_checkpoint), "--n", "50000", "--steps", "5"] if command == "fid" else ["digits", "--steps", "5000"]
    )
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(("[sampling]", "[training]")):
            break
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    errors = process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert "to continue" in errors.strip().splitlines()[-1]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "stopped"


def test_train_then_fid_then_report(tmp_path: Path) -> None:
    done = _run("train", "digits", "--out", "model", "--steps", "3", "--batch", "8", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "model" / "report.html").exists()
    assert {"unet", "unet_raw", "scheduler", "diffeval.json", "log.jsonl"} <= {
        path.name for path in Path("model").iterdir()
    }
    assert _run("fid", "model", "--n", "100", *FAST).exit_code == 0
    assert _run("report", "model", *map(str, Path("runs").iterdir()), "-o", "both.html").exit_code == 0


def test_progress_is_plain_lines_without_a_terminal(tiny_checkpoint: Path) -> None:
    environment = {**os.environ, "FORCE_COLOR": "1", "CI": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "diffeval", "fid", str(tiny_checkpoint), "--n", "200", *FAST],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    assert "\r" not in done.stderr
    assert "\x1b" not in done.stderr
    assert "\x1b" not in done.stdout


def test_quiet_says_nothing_but_the_result(tiny_checkpoint: Path) -> None:
    assert _run("fid", str(tiny_checkpoint), "--n", "200", "-q", *FAST).stderr == ""


def test_doctor() -> None:
    done = _run("doctor", "--json")
    findings = {one["name"]: one for one in json.loads(done.stdout)["findings"]}
    assert findings["python"]["status"] == "pass"
    assert findings["weights"]["status"] == "pass"
    assert all(one["fix"] for one in findings.values() if one["status"] != "pass")


def test_doctor_without_torch() -> None:
    code = """
import sys
sys.modules["torch"] = None
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torch" else find(name, *rest)
from diffeval.cli.app import make_app
make_app()(["doctor"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "fail  torch        not installed" in done.stdout
    assert "fix: pip install torch" in done.stdout


def test_a_folder_named_digits_with_a_network_is_meant(tiny_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_checkpoint, tmp_path / "digits")
    done = _run("fid", "digits", "--n", "100", "--dry-run", "--device", "cpu")
    assert "(digits)" in done.stdout
