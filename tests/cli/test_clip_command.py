"""``diffeval clip`` as a user meets it, and prompts in ``eval`` and ``sweep-cfg``."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from diffeval.cli.app import make_app
from diffeval.data.source import open_source
from diffeval.features.digits_judge import WORDS

FAST = ("--n", "60", "--steps", "2", "--device", "cpu")
SCORES = ["clip_score", "clip_margin", "r_precision", "within_prompt_diversity", "unscored_images"]


def _run(*words: str):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(make_app(), list(words), prog_name="diffeval")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _folder(count: int = 100, black: int = 0) -> list[int]:
    """Real digits as files; returns their classes."""
    source = open_source("digits@heldout")
    Path("some").mkdir()
    for index in range(count):
        pixels = source.images[index, 0] if index >= black else np.zeros((8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(f"some/p{index}.png")
    assert source.labels is not None
    labels: list[int] = source.labels[:count].tolist()
    return labels


def _prompts(labels: Sequence[int], texts: Sequence[str] = ()) -> Path:
    """In another order than the files."""
    with Path("prompts.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "prompt", "group"))
        for index in reversed(range(len(labels))):
            text = texts[index] if texts else f"a handwritten {WORDS[labels[index]]}"
            rows.writerow((f"p{index}", text, "odd" if labels[index] % 2 else "even"))
    return Path("prompts.csv")


def _said(text: str) -> str:
    return " ".join(text.split())


def test_a_folder_and_prompts_need_no_reference_and_no_download() -> None:
    _prompts(_folder())
    done = _run("clip", "images:some", "--prompts", "prompts.csv", "--device", "cpu", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    scores = {score["name"]: score for score in document["scores"]}
    assert list(scores) == SCORES
    assert scores["clip_score"]["value"] > 80
    assert scores["r_precision"]["value"] > 0.95
    assert abs(scores["clip_score"]["params"]["shuffled"]) < 10
    assert scores["clip_score"]["params"]["judge"] == "clip:digits"
    protocol = document["protocol"]
    assert protocol["judge"].startswith("clip/digits/")
    assert protocol["template"] == "{}"
    assert len(protocol["prompts"]) == 64
    assert protocol["reference"] is None
    assert [row["group"] for row in document["tables"]["clip_groups"]] != []
    with Path(document["run"], "prompts.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 10
    assert float(table[0]["clip_score"]) <= float(table[-1]["clip_score"])
    held = np.load(Path(document["run"], "prompt_pictures.npz"))
    assert held["images"].shape == (10, 6, 1, 8, 8)
    terms = np.load(Path(document["run"], "terms.npz"))
    assert terms["clip_score.term"].shape == (100,)


def test_swapped_captions_are_named_in_what_is_printed() -> None:
    labels = _folder()
    wrong = [(label + 3) % 10 if index < 20 else label for index, label in enumerate(labels)]
    _prompts(wrong)
    done = _run("clip", "images:some", "--prompts", "prompts.csv", "--device", "cpu")
    assert done.exit_code == 0, done.output
    said = _said(done.stdout)
    assert "of 100 images fit their own prompt no better than the mean of the others" in said
    assert "words: other prompts in their place would read" in said
    assert "worst prompts:" in said


def test_black_images_are_counted() -> None:
    _prompts(_folder(black=10))
    done = _run("clip", "images:some", "--prompts", "prompts.csv", "--device", "cpu", "--json")
    document = json.loads(done.stdout)
    scores = {score["name"]: score for score in document["scores"]}
    assert scores["unscored_images"]["value"] == 0.1
    assert scores["clip_score"]["value"] > 80
    assert "10 of 100 images are of a single colour, and have no CLIP score" in document["warnings"]


def test_a_hostile_prompt_is_text_on_the_page() -> None:
    labels = _folder(40)
    bad = "<script>alert(1)</script><a href='https://evil.example'>seven</a> \"{{ 7*7 }}\""
    texts = [bad if index == 0 else f"the digit {WORDS[label]}" for index, label in enumerate(labels)]
    _prompts(labels, texts)
    done = _run("clip", "images:some", "--prompts", "prompts.csv", "--device", "cpu", "--json")
    assert done.exit_code == 0, done.output
    page = Path(json.loads(done.stdout)["run"], "report.html").read_text()
    assert "<script>alert(1)" not in page
    assert "<a href='https://evil" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    # In a figure's label, which plotly would take for a link.
    assert "&lt;a href" in page


def test_a_formula_is_no_formula_in_the_table() -> None:
    labels = _folder(20)
    _prompts(labels, ["=cmd()" if index == 0 else f"a {WORDS[label]}" for index, label in enumerate(labels)])
    done = _run("clip", "images:some", "--prompts", "prompts.csv", "--device", "cpu", "--json")
    with Path(json.loads(done.stdout)["run"], "prompts.csv").open() as file:
        assert "'=cmd()" in [row["prompt"] for row in csv.DictReader(file)]


def test_a_checkpoint_with_classes_is_asked_for_them_beside_real_images(tiny_checkpoint: Path) -> None:
    done = _run("clip", str(tiny_checkpoint), *FAST, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    scores = {score["name"]: score for score in document["scores"]}
    assert set(SCORES) | {"cmmd", "fid", "fid_debiased"} == set(scores)
    assert document["protocol"]["template"] == "a handwritten {}"
    assert scores["clip_score"]["null"]["value"] > 80
    # Four steps of training draw noise.
    assert scores["clip_score"]["value"] < 40
    assert {row["prompt"] for row in document["tables"]["prompts"]} == {f"a handwritten {word}" for word in WORDS}


def test_held_out_wordings_are_a_group_of_their_own(tiny_checkpoint: Path) -> None:
    head = "id,prompt,class"
    seen = [f"a{digit},a handwritten {word},{digit}" for digit, word in enumerate(WORDS)]
    unseen = [f"b{digit},this is a {word},{digit}" for digit, word in enumerate(WORDS)]
    Path("seen.csv").write_text("\n".join([head, *seen]))
    Path("unseen.csv").write_text("\n".join([head, *unseen]))
    words = ("clip", str(tiny_checkpoint), *FAST, "--prompts", "seen.csv", "--held-out", "unseen.csv")
    done = _run(*words)
    assert done.exit_code == 0, done.output
    assert "held-out prompts read" in _said(done.stdout)
    (run,) = Path("runs").glob("*-clip-*")
    rows = json.loads((run / "results.json").read_text())["tables"]["clip_groups"]
    assert {row["group"]: row["images"] for row in rows} == {"none": 30, "held-out": 30}
    twice = _run("clip", str(tiny_checkpoint), *FAST, "--prompts", "seen.csv", "--held-out", "seen.csv")
    assert twice.exit_code == 2
    assert "10 ids of --held-out are also in --prompts" in twice.stderr


def test_eval_reads_prompts_beside_another_extractor_and_continues(tiny_checkpoint: Path) -> None:
    words = ("eval", str(tiny_checkpoint), "--steps", "2", "--device", "cpu", "--metrics", "kid,clip_score", "--json")
    done = _run(*words, "--n", "60")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["protocol"]["extractor"].startswith("digits/")
    assert document["protocol"]["judge"].startswith("clip/digits/")
    longer, again = _run(*words, "--n", "90"), _run(*words, "--n", "90", "--out", "other")
    values = [
        [score["value"] for score in json.loads(one.stdout)["scores"] if score["n"] == 90] for one in (longer, again)
    ]
    assert values[0] == values[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("images:some",), "some has no classes that could be named; give --prompts FILE"),
        (("images:some", "--prompts", "none.csv"), "none.csv is no file"),
        (
            ("images:some", "--prompts", "prompts.csv", "--clip-scale", "7"),
            "unknown scale '7'; one of 100, hessel, raw",
        ),
        (("images:some", "--prompts", "prompts.csv", "--template", "x"), "has 0 places for the prompt, needs one {}"),
        (("images:some", "--prompts", "other.csv"), "20 of 20 images have no prompt (p0.png, p1.png, p10.png and 17"),
        (("digits", "--prompts", "prompts.csv"), "20 of 20 ask for no class: prompt 'p19' has no class"),
    ],
)
def test_every_mistake_is_one_line(words: tuple[str, ...], said: str) -> None:
    _prompts(_folder(20))
    Path("other.csv").write_text("id,prompt\nx,a\ny,b\n")
    done = _run("clip", *words, "--device", "cpu")
    assert done.exit_code == 2, done.output
    (line,) = [one for one in done.stderr.splitlines() if one.startswith("error")]
    assert said in line
    assert not Path("runs").exists()


def test_an_unconditional_checkpoint_follows_no_words(unconditional_checkpoint: Path) -> None:
    done = _run("clip", str(unconditional_checkpoint), *FAST)
    assert done.exit_code == 2
    assert "is unconditional, its images follow no words" in done.stderr


def test_a_dry_run_says_who_judges_what() -> None:
    done = _run("clip", "digits", *FAST, "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)["plan"]
    assert plan["prompts"] == "10, by class, wordings in turn, as 'a handwritten {}'"
    assert plan["judge"].startswith("clip/digits/")
    assert not Path("runs").exists()


def test_the_sweep_of_digits_has_the_text_score(tiny_checkpoint: Path) -> None:
    done = _run("sweep-cfg", str(tiny_checkpoint), "--scales", "1,3", *FAST, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    curve = [row["value"] for row in document["tables"]["curve"] if row["score"] == "clip_score"]
    assert len(curve) == 2
    assert any(row["curve"] == "clip_score" for row in document["tables"]["choices"])
    page = Path(document["run"], "report.html").read_text()
    assert "Quality and diversity against CLIP score" in page


def test_ids_go_before_a_column_of_classes() -> None:
    """Folders of classes, and a caption of its own for every image."""
    source = open_source("digits@heldout")
    assert source.labels is not None
    rows = ["id,prompt,class"]
    for index in range(60):
        word = WORDS[source.labels[index]]
        Path("some", word).mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.images[index, 0]).save(f"some/{word}/{index:05d}.png")
        rows.append(f"{word}/{index:05d},{'a small' if index % 2 else 'a big'} {word},{word}")
    Path("prompts.csv").write_text("\n".join([rows[0], *reversed(rows[1:])]))
    done = _run("clip", "images:some", "--prompts", "prompts.csv", "--device", "cpu", "--json")
    document = json.loads(done.stdout)
    (run,) = Path("runs").glob("*")
    terms = np.load(run / "terms.npz")
    assert len(terms["clip_score.ids"]) == 60
    assert sorted(terms["clip_score.prompt"].tolist()) == list(range(60))
    assert document["scores"][2]["value"] > 0.9


def test_another_reading_of_the_same_texts_is_no_finished_run(tiny_checkpoint: Path) -> None:
    head, rows = "id,prompt,class,group", [f"a{digit},a {word},{digit},g" for digit, word in enumerate(WORDS)]
    Path("one.csv").write_text("\n".join([head, *rows]))
    Path("two.csv").write_text(
        "\n".join([head, *(row[:-1] + ("g" if place % 2 else "h") for place, row in enumerate(rows))])
    )
    words = ("clip", str(tiny_checkpoint), *FAST, "--json")
    first, second, scaled = (
        json.loads(_run(*words, *more).stdout)
        for more in (
            ("--prompts", "one.csv"),
            ("--prompts", "two.csv"),
            ("--prompts", "one.csv", "--clip-scale", "raw"),
        )
    )
    assert "clip_groups" not in first["tables"]
    assert {row["group"] for row in second["tables"]["clip_groups"]} == {"g", "h"}
    assert len({one["run"] for one in (first, second, scaled)}) == 3


def test_prompts_that_nobody_reads_are_refused(tiny_checkpoint: Path) -> None:
    done = _run("eval", str(tiny_checkpoint), *FAST, "--metrics", "kid", "--prompts", "none.csv", "--judge", "clip")
    assert done.exit_code == 2
    assert "--prompts, --judge are given, and no score reads prompts" in done.stderr


def test_only_images_that_were_left_out_may_be_missing() -> None:
    _prompts(_folder(40))
    Path("some/p3.png").write_bytes(b"no image")
    words = ("clip", "images:some", "--prompts", "prompts.csv", "--device", "cpu", "--on-bad", "skip", "--json")
    done = _run(*words)
    assert done.exit_code == 0, done.output
    scores = {score["name"]: score for score in json.loads(done.stdout)["scores"]}
    assert scores["unscored_images"]["value"] == 1 / 40
    part = {score["name"]: score for score in json.loads(_run(*words, "--n", "20").stdout)["scores"]}
    assert part["unscored_images"]["value"] == 0
    Path("some/p4.png").unlink()
    assert "prompts have no image (p3, p4)" in _run(*words).stderr
