"""The page in a real browser: drawn, readable by everybody, usable by key, on paper, and without a network."""

import datetime
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from synthetic_page import full_page

from diffeval.data.source import open_source
from diffeval.evaluate import evaluate
from diffeval.plan import Settings
from diffeval.report.page import report, write_page
from diffeval.training.recipe import Recipe
from diffeval.training.train import train

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
# Of each figure: its name, the sizes of its marks, and how many still pictures are left in it.
EXTENTS = """(marks) => [...document.querySelectorAll(".plot[data-height]")].map((plot) => [
    plot.id,
    [...plot.querySelectorAll(marks)].map((one) => one.getBoundingClientRect()).map((one) => [one.width, one.height]),
    plot.querySelectorAll(".static").length,
])"""
# What plotly draws of a trace, by its classes.
MARKS = ".js-line, .js-fill, .point, .points path, .bars path, .heatmaplayer image, .boxes path, .boxlayer path"


class Watched:
    """A page that keeps what it said, and asks for nothing outside itself."""

    def __init__(self, context: Any, path: Path) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page = context.new_page()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        context.route("**/*", self._answer)
        self.page.goto(path.as_uri())

    def _answer(self, route: Any) -> None:
        if route.request.url.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            self.asked.append(route.request.url[:80])
            route.abort()

    def draw(self, figures: str = ".plot") -> None:
        """Opens what is closed, and goes past figures."""
        self.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        for plot in self.page.locator(figures).all():
            plot.scroll_into_view_if_needed()
            plot.locator("svg.main-svg").first.wait_for(timeout=20000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as start:
        browser = start.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(full_page(), tmp_path_factory.mktemp("synthetic") / "page.html").path


@pytest.fixture(scope="module")
def real(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    evaluate(tiny_checkpoint, settings=Settings(n=200, steps=2, device="cpu"), at=(100, 200), out=folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffeval.training.train.PROBE_EVERY", 1)
        train(open_source("digits"), Recipe(steps=3, batch=8), folder / "trained", device="cpu")
    return report([folder / "run", folder / "trained"], folder / "page.html")


@pytest.mark.parametrize(("kind", "scheme"), [("synthetic", "light"), ("synthetic", "dark"), ("real", "light")])
def test_every_figure_is_drawn_without_errors_or_requests(
    browser: Any, request: pytest.FixtureRequest, kind: str, scheme: str
) -> None:
    path: Path = request.getfixturevalue(kind)
    with browser.new_context(color_scheme=scheme) as context:
        watched = Watched(context, path)
        watched.draw()
        plots = watched.page.evaluate(EXTENTS, MARKS)
        assert len(plots) > 3
        for name, extents, statics in plots:
            assert any(width + height > 4 for width, height in extents), f"nothing is drawn in {name}"
            assert statics == 0
        # A heat map without extent, as on an axis of the wrong type, is drawn and shows nothing.
        heats = [one for _, extents, _ in watched.page.evaluate(EXTENTS, ".heatmaplayer image") for one in extents]
        assert heats
        assert all(width > 100 and height > 50 for width, height in heats)
    assert watched.said == []
    assert watched.asked == []


@pytest.mark.parametrize(
    ("kind", "scheme", "width"),
    [("synthetic", "light", 1440), ("synthetic", "dark", 390), ("real", "dark", 1440)],
)
def test_axe_finds_nothing_serious(
    browser: Any, request: pytest.FixtureRequest, kind: str, scheme: str, width: int
) -> None:
    path: Path = request.getfixturevalue(kind)
    package = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    axe = (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    with browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}) as context:
        watched = Watched(context, path)
        watched.draw()
        watched.page.evaluate(axe)
        # Curves are no text; what surrounds them is looked at.
        found = watched.page.evaluate("axe.run({exclude: ['.main-svg']}, {resultTypes: ['violations']})")
        watched.page.locator(".tile").first.click()
        opened = watched.page.evaluate("axe.run('#viewer')")
    assert len(found["passes"]) > 20
    serious = [
        (one["id"], one["nodes"][0]["html"])
        for one in (*found["violations"], *opened["violations"])
        if one["impact"] in {"serious", "critical"}
    ]
    assert serious == []


@pytest.mark.parametrize("kind", ["synthetic", "real"])
def test_nothing_is_wider_than_the_window(browser: Any, request: pytest.FixtureRequest, kind: str) -> None:
    path: Path = request.getfixturevalue(kind)
    with browser.new_context(viewport={"width": 390, "height": 900}) as context:
        watched = Watched(context, path)
        watched.draw()
        for width in (390, 900, 1440):
            watched.page.set_viewport_size({"width": width, "height": 900})
            assert watched.page.evaluate("document.documentElement.scrollWidth") <= width


def test_panels_stay_wide_enough_to_be_read(browser: Any, synthetic: Path) -> None:
    for width, columns in ((390, 1), (1440, 3)):
        with browser.new_context(viewport={"width": width, "height": 900}) as context:
            watched = Watched(context, synthetic)
            watched.draw("#panels")
            boxes = [box.bounding_box() for box in watched.page.locator("#panels .js-line").all()]
            assert len(boxes) == 6
            assert len({round(box["x"]) for box in boxes}) == columns
            titles = [one.bounding_box() for one in watched.page.locator("#panels .annotation-text").all()]
            assert all(
                one is other or one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
                or one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
                for one in titles for other in titles
            )  # fmt: skip


def test_a_figure_in_a_closed_check_is_drawn_once_it_is_opened(browser: Any, synthetic: Path) -> None:
    with browser.new_context() as context:
        page = Watched(context, synthetic).page
        check = page.locator("details.check.pass")
        assert check.get_attribute("open") is None
        page.wait_for_function("document.querySelector('#curve') !== null")
        assert page.locator("#closed-bars svg").count() == 0
        check.locator("summary").first.click()
        page.locator("#closed-bars svg.main-svg").first.wait_for(timeout=10000)


def test_it_can_be_read_without_scripts(browser: Any, synthetic: Path) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = Watched(context, synthetic).page
        assert page.locator(".banner .verdict").first.inner_text().split() == ["✗", "FAIL", "digits"]
        assert page.locator("#gate td").first.is_visible()
        assert page.get_by_text("equal calls are equal").is_visible()
        assert page.locator("#curve .static svg").is_visible()
        assert not page.locator("#bars").is_visible()
        assert page.locator("#figures .without").first.is_visible()
        plain = page.locator(".tile img[src]")
        assert plain.count() == 64
        assert plain.first.evaluate("(image) => image.naturalWidth") == 8
        for gone in (page.locator("#theme"), page.locator(".duel"), page.locator(".copy").first):
            assert not gone.is_visible()


def test_thumbnails_come_as_they_come_near(browser: Any, synthetic: Path) -> None:
    with browser.new_context(viewport={"width": 1200, "height": 500}) as context:
        watched = Watched(context, synthetic)
        without = watched.page.locator(".tile img:not([src])")
        assert without.count() > 0
        for wall in watched.page.locator(".wall").all():
            wall.scroll_into_view_if_needed()
        playwright.expect(without).to_have_count(0)
        sizes = watched.page.eval_on_selector_all(".tile img", "(all) => all.map((one) => one.naturalWidth)")
        assert set(sizes) == {8, 64}


def test_it_prints_everything(browser: Any, synthetic: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip("pypdf", reason="pypdf is not installed")
    with browser.new_context(color_scheme="dark") as context:
        watched = Watched(context, synthetic)
        watched.page.pdf(path=tmp_path / "page.pdf", format="A4")
        figures = watched.page.locator(".plot").count()
        assert watched.page.locator(".plot:has(svg.main-svg)").count() == figures
        assert watched.page.evaluate("document.documentElement.dataset.theme") is None
        assert watched.page.locator("details.check.pass").get_attribute("open") is None
    assert watched.said == []
    pages = reader.PdfReader(tmp_path / "page.pdf").pages
    text = "\n".join(page.extract_text() for page in pages)
    assert 3 < len(pages) < 20
    for said in ("FAIL", "1 of 5 rules fails", "rule 39", "equal calls are equal", "Three is largest", "panel 5"):
        assert said in text
    assert "The numbers" not in text


def test_the_viewer_by_keyboard_alone(browser: Any, synthetic: Path) -> None:
    with browser.new_context() as context:
        watched = Watched(context, synthetic)
        page, press = watched.page, watched.page.keyboard.press
        tiles = page.locator(".versus .tile")
        tiles.first.focus()
        press("Enter")
        caption, image = page.locator("#viewer .caption"), page.locator("#viewer .stage img")
        playwright.expect(caption).to_contain_text("seed 0, image 0 · 8 × 8 pixels")
        playwright.expect(page.locator("#viewer .stage")).to_be_focused()
        for key, shown in (("f", "seed 1"), ("f", "seed 0")):
            press(key)
            playwright.expect(caption).to_contain_text(shown)
        page.keyboard.down(" ")
        playwright.expect(caption).to_contain_text("seed 1")
        page.keyboard.up(" ")
        playwright.expect(caption).to_contain_text("seed 0")
        fit = image.bounding_box()["width"]
        assert fit % 8 == 0
        press("-")
        assert image.bounding_box()["width"] == fit - 8
        press("+")
        press("+")
        assert image.bounding_box()["width"] == fit + 8
        press("0")
        assert image.bounding_box()["width"] == fit
        press("ArrowRight")
        press("ArrowRight")
        playwright.expect(caption).to_contain_text("seed 0, image 1")
        press("ArrowLeft")
        playwright.expect(page.locator("#viewer")).to_contain_text("2 of 12")
        press("Escape")
        playwright.expect(page.locator("#viewer")).not_to_be_visible()
        playwright.expect(tiles.first).to_be_focused()
        press("ArrowRight")
        playwright.expect(tiles.nth(1)).to_be_focused()
    assert watched.said == []


def test_chosen_images_open_in_all_their_pixels(browser: Any, tmp_path: Path) -> None:
    import dataclasses

    from synthetic_page import tiles

    from diffeval.report.view import Gallery, SectionView

    gallery = Gallery("Chosen", "Large.", (*tiles(1, 256, chosen=True), *tiles(1, 256, seed=1)), 2)
    page = dataclasses.replace(full_page(), sections=(SectionView("samples", "Samples", (gallery,)),))
    with browser.new_context() as context:
        opened = Watched(context, write_page(page, tmp_path / "page.html").path).page
        opened.locator(".tile").first.click()
        image = opened.locator("#viewer .stage img")
        playwright.expect(opened.locator("#viewer .caption")).to_contain_text("256 × 256 pixels")
        assert image.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }") == 256
        opened.keyboard.press("ArrowRight")
        playwright.expect(opened.locator("#viewer .caption")).to_contain_text("a thumbnail")
        assert image.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }") == 128


def test_two_checkpoints_by_slider_and_flicker(browser: Any, synthetic: Path) -> None:
    above = '.arena img[data-is="above"]'
    cut = f"getComputedStyle(document.querySelector('{above}')).clipPath"
    for motion in ("no-preference", "reduce"):
        with browser.new_context(reduced_motion=motion) as context:
            # The page's clock stands still but where the test moves it: on a busy machine half a second has no end.
            context.clock.install(time=datetime.datetime(2026, 1, 1))
            watched = Watched(context, synthetic)
            page = watched.page
            context.clock.pause_at(datetime.datetime(2026, 1, 2))
            page.locator(".control input").focus()
            assert page.evaluate(cut) == "inset(0px 50% 0px 0px)"
            for key, left in (("ArrowRight", 49), ("Home", 100), ("End", 0)):
                page.keyboard.press(key)
                assert page.evaluate(cut) in (f"inset(0px {left}% 0px 0px)", f"inset(0px {left}%)", "inset(0px)")
            flicker = page.locator('.control [data-act="flicker"]')
            playwright.expect(flicker).to_have_attribute("aria-pressed", "false")
            flicker.press("Enter")
            seen = [page.evaluate(cut)]
            for _ in range(2):
                context.clock.run_for(500)
                seen.append(page.evaluate(cut))
            assert seen[2] == seen[0]
            assert (seen[1] == seen[0]) == (motion == "reduce")
            flicker.press("Enter")
            page.locator('.control [data-act="next"]').press("Enter")
            playwright.expect(page.locator(".control")).to_contain_text("Pair 2 of 6: seed 0, image 1")
    assert watched.said == []


CLIPBOARDS = {
    "allowed": "navigator.clipboard.writeText = async (text) => { window.copied = text; };",
    "refused": """
        navigator.clipboard.writeText = async () => { throw new Error("not allowed"); };
        document.addEventListener("copy", () => { window.copied = document.activeElement.value; });
    """,
}


@pytest.mark.parametrize("clipboard", CLIPBOARDS)
def test_commands_are_copied(browser: Any, synthetic: Path, clipboard: str) -> None:
    with browser.new_context() as context:
        context.add_init_script(CLIPBOARDS[clipboard])
        page = Watched(context, synthetic).page
        button = page.locator("#missing .copy")
        button.press("Enter")
        playwright.expect(button).to_have_text("Copied")
        assert page.evaluate("window.copied") == "diffeval train"
        playwright.expect(page.locator("#said")).to_have_text("Copied")
        page.locator(".tile").nth(2).click()
        page.locator("#viewer .copy").click()
        playwright.expect(page.locator("#viewer .copy")).to_have_text("Copied")
        assert page.evaluate("window.copied") == "diffeval sample digits --n 1 --seed 2"


def test_the_theme_changes_is_remembered_and_redraws(browser: Any, synthetic: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    text = "getComputedStyle(document.querySelector('#curve .xtick text')).fill"
    with browser.new_context(color_scheme="light") as context:
        watched = Watched(context, synthetic)
        watched.draw("#curve")
        before = [watched.page.evaluate(one) for one in (ground, text)]
        watched.page.locator("#theme").press("Enter")
        after = [watched.page.evaluate(one) for one in (ground, text)]
        watched.page.reload()
        assert watched.page.evaluate(ground) == after[0]
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert watched.said == []


def test_a_sandbox_without_storage_changes_nothing(browser: Any, synthetic: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer.html"
    outer.write_text(f'<iframe sandbox="allow-scripts" width="900" height="700" src="{synthetic.as_uri()}"></iframe>')
    with browser.new_context() as context:
        watched = Watched(context, outer)
        frame = watched.page.frame_locator("iframe")
        frame.locator("#theme").click()
        frame.locator("#curve").scroll_into_view_if_needed()
        frame.locator("#curve svg.main-svg").first.wait_for(timeout=20000)
    assert watched.said == []


def test_the_contents_say_where_one_reads(browser: Any, synthetic: Path) -> None:
    with browser.new_context(reduced_motion="reduce") as context:
        page = Watched(context, synthetic).page
        page.locator(".contents a", has_text="Health checks").click()
        playwright.expect(page.locator(".contents a[aria-current]")).to_contain_text("Health checks")
        page.locator('.strip a:has-text("determinism")').click()
        playwright.expect(page.locator("details.check.pass")).to_have_attribute("open", "")
