"""The page in a real browser: figures are drawn, nothing is blocked by its own policy, nothing is fetched."""

import shutil
from pathlib import Path

import pytest

from diffeval.data.source import open_source
from diffeval.evaluate import evaluate
from diffeval.plan import Settings
from diffeval.report.page import report
from diffeval.training.recipe import Recipe
from diffeval.training.train import train

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_draws_without_errors_or_requests(
    tiny_checkpoint: Path, tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    evaluate(tiny_checkpoint, settings=Settings(n=200, steps=2, device="cpu"), out=tmp_path / "run")
    monkeypatch.setattr("diffeval.training.train.PROBE_EVERY", 1)
    train(open_source("digits"), Recipe(steps=3, batch=8), tmp_path / "trained", device="cpu")
    page_path = report([tmp_path / "run", tmp_path / "trained"], tmp_path / "page.html")
    said: list[str] = []
    asked: list[str] = []
    with playwright.sync_playwright() as start:
        browser = start.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(color_scheme=scheme)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url[:40]))
        page.goto(page_path.as_uri())
        for plot in page.locator(".plot").all():
            plot.scroll_into_view_if_needed()
            plot.locator("svg.main-svg").first.wait_for(timeout=20000)
        # A heat map without extent, as on an axis of the wrong type, is drawn and shows nothing.
        extents = [box.bounding_box() for box in page.locator(".plot .heatmaplayer image").all()]
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.locator("#theme").click()
        after = page.evaluate("getComputedStyle(document.body).backgroundColor")
        browser.close()
    assert said == []
    assert len(extents) == 2
    assert all(box is not None and box["width"] > 300 and box["height"] > 100 for box in extents)
    assert before != after
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
