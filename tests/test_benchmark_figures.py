"""Documents say what results in ``benchmarks/results`` do, and results keep what is claimed of them."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RESULTS = BENCHMARKS / "results"
# Raw measurements from which other results are made; they say nothing of a machine.
RAW = {"fault_matrix_cases", "neighbours_measurements"}
PUBLISHED = [path for path in sorted(RESULTS.glob("*.json")) if "." not in path.stem and path.stem not in RAW]


def _figures() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import figures
    finally:
        sys.path.remove(str(BENCHMARKS))
    return figures


FIGURES = _figures()
EVERY = [figure for _, figure in FIGURES.figures()]


@pytest.mark.parametrize("document", FIGURES.DOCUMENTS, ids=lambda path: path.name)
def test_documents_say_what_the_results_do(document: Path) -> None:
    told = document.read_text(encoding="utf-8")
    assert FIGURES.generated(document) == told, "run: python benchmarks/figures.py --write"


@pytest.mark.parametrize("figure", EVERY, ids=lambda figure: figure.name)
def test_results_keep_what_is_claimed_of_them(figure: Any) -> None:
    assert [claim.said for claim in FIGURES.broken(figure)] == []


@pytest.mark.parametrize("figure", EVERY, ids=lambda figure: figure.name)
def test_every_figure_stands_in_the_readme(figure: Any) -> None:
    assert f"<!-- figures: {figure.name} -->" in (BENCHMARKS / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("study", FIGURES.STUDIES, ids=lambda study: study.script)
def test_every_study_has_a_script_that_is_listed(study: Any) -> None:
    assert study.path.is_file()
    assert f"| `{study.path.name}` |" in (BENCHMARKS / "README.md").read_text(encoding="utf-8")


def test_no_two_figures_share_results() -> None:
    names = [figure.name for figure in EVERY]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_results_name_their_machine_and_versions(path: Path) -> None:
    held = json.loads(path.read_text(encoding="utf-8"))
    assert held["benchmark"] == path.stem
    assert held["machine"]
    assert held["python"]
    assert held["versions"]
    assert held["rows"]
    assert path.with_suffix(".md").is_file()


def test_what_was_not_measured_is_said_and_what_is_missed_too() -> None:
    from studies.goals import Goal, table

    assert all(row[2] == "not measured" for row in table({}).rows)
    assert Goal("x", 2.0, 1.9).row() == ("x", "at least 2.0 times", "1.90 times", "**no**")
    assert Goal("x", 2.0, 2.1).row()[3] == "yes"
    assert Goal("x", 0.3, 0.31, most=True, percent=True).row() == ("x", "at most 30%", "31%", "**no**")


def test_a_document_with_other_numbers_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- figures: goals -->\nall reached\n<!-- end -->\nafter\n")
    monkeypatch.setattr(FIGURES, "ROOT", tmp_path)
    monkeypatch.setattr(FIGURES, "DOCUMENTS", (page,))
    assert FIGURES.check()[0] == "page.md: not what the results say; run python benchmarks/figures.py --write"
    FIGURES.write()
    told = page.read_text()
    assert told.startswith("before\n<!-- figures: goals -->\n| goal | asked | measured | reached |\n")
    assert told.endswith("|\n<!-- end -->\nafter\n")
    assert not [line for line in FIGURES.check() if line.startswith("page.md")]


def test_what_is_missing_is_measured_what_is_forgotten_anew_and_what_fails_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studies import study

    (tmp_path / "results").mkdir()
    monkeypatch.setattr(study, "FOLDER", tmp_path)
    monkeypatch.setattr(study, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(FIGURES, "ROOT", tmp_path)
    held = {"machine": "m", "python": "3", "versions": {"torch": "2"}, "date": "2026-01-01", "rows": [{"a": 1}]}
    (tmp_path / "made.py").write_text(
        "import pathlib, sys\nif sys.argv[1] != '1':\n    sys.exit(1)\n"
        f"pathlib.Path('results/made.json').write_text({json.dumps(held)!r})\n"
    )
    claims = [study.Claim("a is small", False)]
    figure = study.Figure("made", lambda rows: study.Table(("a",), [(str(rows[0]["a"]),)]), lambda rows: claims)
    made = study.Study("made", 1, (figure,), ("1",), kept=("made.partial.json",))
    assert made.missing
    assert FIGURES.measure([made]) == []
    assert not made.missing
    assert [claim.said for claim in FIGURES.broken(figure)] == ["a is small"]
    assert "1 claims broken" in FIGURES.listing([made])
    told = FIGURES.block(made, figure, tmp_path / "README.md")
    assert told.startswith("| a |\n|---:|\n| 1 |\n\n`python benchmarks/made.py`: m; 2026-01-01; Python 3, torch 2 ")
    (tmp_path / "results" / "made.partial.json").write_text("{}")
    made.forget()
    assert made.missing
    assert list((tmp_path / "results").iterdir()) == []
    assert FIGURES.block(made, figure, tmp_path / "README.md") == (
        "Not measured yet; `python benchmarks/made.py 1` does it.\n"
    )
    broken = study.Study("made", 1, (figure,), ("2",))
    assert FIGURES.measure([broken]) == [broken]


def test_an_unknown_study_is_refused() -> None:
    with pytest.raises(SystemExit, match="no study 'samplin'; there are ranks, flat_memory, sampling"):
        FIGURES.chosen(["samplin"])
    assert [study.script for study in FIGURES.chosen(["fuzz", "ranks"])] == ["ranks", "fuzz"]
    assert FIGURES.chosen(["all"]) == list(FIGURES.STUDIES)


def test_results_that_break_a_claim_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fuzz = next(figure for figure in EVERY if figure.name == "fuzz")
    rows = [
        {"what is handed in": name, "inputs": 2, "accepted": 1, "refused": 0, "crashed": 1} for name in ("a", "all")
    ]
    assert [claim.said for claim in fuzz.claims(rows) if not claim.holds] == ["nothing crashed"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, ""), (0, "0"), (1234567, "1,234,567"), (1234.5, "1,234"), (0.5, "0.5"), (12.345, "12.3"),
        (4.6784e-07, "4.68e-07"), (100.4, "100"), (2.0, "2"), (0.0, "0"), (99.97, "100"),
        ("x", "x"), (True, "True"),
    ],
)  # fmt: skip
def test_numbers_are_told_with_the_digits_that_count(value: object, told: str) -> None:
    from studies.study import number

    assert number(value) == told
