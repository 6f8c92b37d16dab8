"""The page says what the run holds, runs only its own scripts, and cannot be scripted by what it shows."""

import base64
import dataclasses
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markupsafe import Markup
from synthetic_page import curve, full_page

from diffeval.errors import DiffevalError
from diffeval.evaluate import evaluate
from diffeval.plan import Settings
from diffeval.report.html import SCRIPTS, TEMPLATES
from diffeval.report.page import render, report, write_page, write_report
from diffeval.report.view import SectionView
from diffeval.runs.directory import RunDirectory


@pytest.fixture(scope="module")
def run(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "run"
    evaluate(tiny_checkpoint, settings=Settings(n=200, steps=2, device="cpu"), at=(100, 200), out=out)
    return out


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return report([run], run / "report.html").read_text()


def _scripts(page: str) -> list[str]:
    return re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)


def test_numbers_and_hint_are_plain_html(run: Path, page: str) -> None:
    body = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    results = RunDirectory(run).results()
    assert results is not None
    assert f"{results.score('fid_debiased').value:.4g}" in body
    assert "FID is a hint, not a verdict: look at the grid." in body
    assert body.count("data:image/webp;base64,") == 64
    assert 'alt="seed 0, image 63, class' in body
    for fact in (results.provenance.checkpoint_sha256, "digits@train", "w=1"):
        assert fact in body


def test_the_policy_allows_exactly_the_inlined_scripts(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    allowed = set(re.findall(r"'sha256-([^']+)'", html.unescape(policy.group(1))))
    found = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in _scripts(page)}
    assert allowed == found
    assert len(found) == 2
    assert "default-src 'none'" in html.unescape(policy.group(1))


def test_plotly_is_the_installed_one_once_and_sends_nothing(page: str) -> None:
    from plotly.offline import get_plotlyjs

    assert _scripts(page).count(get_plotlyjs()) == 1
    assert 'showSendToCloud: false, plotlyServerURL: ""' in page


def test_figures_are_valid_plotly(page: str) -> None:
    import plotly.graph_objects as go

    blocks = re.findall(r'<script type="application/json" data-plot[^>]*>(.*?)</script>', page, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        figure = json.loads(block)
        go.Figure(data=figure["data"], layout=figure["layout"])
        assert not {trace["type"] for trace in figure["data"]} - {"scatter", "heatmap", "bar"}


def test_same_run_same_bytes(run: Path, page: str, tmp_path: Path) -> None:
    assert report([run], tmp_path / "again.html").read_text() == page


def test_hostile_names_stay_text(run: Path, tmp_path: Path) -> None:
    hostile = "</script><img src=x onerror=alert(1)>"
    directory = RunDirectory(run)
    results = directory.results()
    assert results is not None
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("run.json", "grid.npz"):
        (copy / name).write_bytes((run / name).read_bytes())
    provenance = dataclasses.replace(results.provenance, checkpoint=hostile, command=("diffeval", hostile))
    RunDirectory(copy).save_results(dataclasses.replace(results, provenance=provenance, warnings=(hostile,)))
    text = report([copy], tmp_path / "page.html").read_text()
    assert hostile not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


def test_training_runs_draw_their_curves(tiny_checkpoint: Path, tmp_path: Path) -> None:
    text = report([tiny_checkpoint], tmp_path / "page.html").read_text()
    for title in ("Training loss", "Gradient norm before clipping", "Learning rate"):
        assert title in text


def test_loss_by_timestep_is_a_heat_map_once_there_are_two_probes() -> None:
    from diffeval.report.figures.training import probe_heatmaps

    probe = [{"step": step, "loss": [1.0 / (step + 1)] * 10, "gradient_norm": [2.0] * 10} for step in (0, 200)]
    loss, _ = probe_heatmaps(probe, "probe")
    assert loss.title == "Loss by timestep over training"
    assert len(loss.rows) == 10
    assert len(json.loads(loss.json)["data"][0]["z"]) == 10


def test_several_runs_share_one_page_and_one_bundle(run: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    text = report([run, tiny_checkpoint], tmp_path / "page.html").read_text()
    assert len(_scripts(text)) == 2
    assert re.findall(r'<div class="whose"><h3>(.*?)</h3>', text)


HOSTILE = "</script><img src=x onerror=alert(1)>\u2028\u202e\x00\x1b[31m\x07\"'&amp;</textarea>{{ 7 * 7 }}"


def test_hostile_text_is_inert_wherever_a_page_shows_text() -> None:
    text = render(full_page(HOSTILE))
    assert "<img src=x" not in text
    # No element and no attribute more than on the page without it, and all of it is still told.
    elements, calm = _Elements(), _Elements()
    elements.feed(_outside_plotly(text))
    calm.feed(_outside_plotly(render(full_page())))
    assert elements.seen == calm.seen
    assert sum("<img src=x onerror=alert(1)>" in one for one in elements.texts) > 50
    for control in "\x00\x07\x1b\u2028\u2029\u202e":
        assert control not in _outside_plotly(text), repr(control)
    for block in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, flags=re.DOTALL):
        assert "<" not in block
        json.loads(block)


class _Elements(HTMLParser):
    """Elements with the names of their attributes, and the texts between them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, ...]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, *(name for name, _ in attrs)))
        self.texts += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def _outside_plotly(page: str) -> str:
    from plotly.offline import get_plotlyjs

    return page.replace(get_plotlyjs(), "")


def test_a_picture_that_is_no_markup_is_text() -> None:
    figure = dataclasses.replace(curve("curve"), static="<svg onload=alert(1)>")
    page = dataclasses.replace(full_page(), sections=(SectionView("one", "One", (figure,)),))
    assert "&lt;svg onload=alert(1)&gt;" in render(page)
    assert "<svg onload" in render(
        dataclasses.replace(
            page,
            sections=(SectionView("one", "One", (dataclasses.replace(figure, static=Markup(figure.static)),)),),
        )
    )


def test_every_kind_of_block_is_on_the_page_as_plain_text() -> None:
    body = re.sub(r"<script.*?</script>", "", render(full_page()), flags=re.DOTALL)
    for said in (
        "1 of 5 rules fails: memorization", "half is stopped.", "+0.004", "rule 39", "the weights follow cosine",
        "declare cosine.", "the data range.", "diffeval eval", "diffeval train", "Nothing was chosen.",
    ):  # fmt: skip
        assert said in re.sub(r"<[^>]+>", "", body), said
    ids = re.findall(r'\sid="([^"]+)"', body)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"', body):
        assert target in ids


def test_every_script_file_is_on_the_page() -> None:
    assert {path.stem for path in (TEMPLATES / "scripts").glob("*.js")} == set(SCRIPTS)
    assert not any("</script" in path.read_text() for path in (TEMPLATES / "scripts").glob("*.js"))


def test_the_size_is_told_by_part(run: Path, tmp_path: Path) -> None:
    written = write_report([run], tmp_path / "page.html")
    assert written.bytes == written.path.stat().st_size == sum(size for _, size in written.parts)
    assert [name for name, _ in written.parts] == ["plotly", "images", "data"]
    assert re.fullmatch(r".*page.html \d\.\d MB \(plotly 4\.\d, images \d\.\d, data \d\.\d\)", written.line)
    assert written.notices == ()
    small = write_page(full_page(), tmp_path / "small.html", max_mb=1)
    assert small.bytes <= 1_000_000
    assert dict(small.parts)["plotly"] == 0


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DiffevalError, match="is no folder"):
        report([tmp_path / "nothing"], tmp_path / "page.html")
    with pytest.raises(DiffevalError, match="is no run directory"):
        report([tmp_path], tmp_path / "page.html")
    with pytest.raises(DiffevalError, match="no run was given"):
        report([], tmp_path / "page.html")
