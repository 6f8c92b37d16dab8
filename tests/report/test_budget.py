"""Images lie in the page once and exactly; a page over its budget gives up things in their order, and says so."""

import base64
import dataclasses
import html
import json
import re

import numpy as np
import pytest
from synthetic_page import curve, full_page, noise, tiles

from diffeval.errors import DiffevalError
from diffeval.report.budget import STEPS, fitted
from diffeval.report.html import SCRIPTS, TEMPLATES
from diffeval.report.page import render
from diffeval.report.view import Gallery, Note, Page, SectionView, Tile


def _held(page: str) -> dict[str, dict[str, str]]:
    found = re.search(r'id="pictures">(.*?)</script>', page)
    assert found is not None
    read: dict[str, dict[str, str]] = json.loads(found.group(1))
    return read


def _gallery(*shown: Tile, columns: int = 10) -> Page:
    section = SectionView("samples", "Samples", (Gallery("Grid", "In order.", shown, columns),))
    return Page("digits", (), (), (section,))


def test_the_first_thumbnails_are_plain_and_the_others_lie_in_one_block() -> None:
    text = render(_gallery(*tiles(100, 16)))
    assert len(re.findall(r'<img src="data:image/webp;base64,', text)) == 64
    assert len(re.findall(r"<img alt=", text)) == 36
    assert sorted(map(int, _held(text)["thumbnails"])) == list(range(64, 100))


def test_equal_images_lie_in_the_page_once() -> None:
    pixels = noise(1, 16, 1)[0]
    many = render(_gallery(*(Tile(pixels.copy(), f"image {place}") for place in range(200))))
    assert many.count("data:image/webp;base64,") == 1 + sum(
        (TEMPLATES / "scripts" / f"{name}.js").read_text().count("data:image/webp;base64,") for name in SCRIPTS
    )
    assert _held(many) == {"thumbnails": {}, "originals": {}}
    # The same bytes in another shape are another image.
    flat = np.zeros((1, 8, 16), np.uint8)
    two = render(_gallery(Tile(flat, "wide"), Tile(flat.reshape(1, 16, 8), "tall")))
    assert len(re.findall(r'<img src="data:image/webp;base64,', two)) == 2


def test_small_images_are_exact_and_large_ones_thumbnails() -> None:
    import io

    from PIL import Image

    small, large = tiles(1, 32)[0], tiles(1, 256, chosen=True, seed=1)[0]
    text = render(_gallery(small, large))
    shown = [
        Image.open(io.BytesIO(base64.b64decode(one)))
        for one in re.findall(r'<img src="data:image/webp;base64,([^"]+)"', text)
    ]
    assert np.array_equal(np.asarray(shown[0].convert("L")), small.pixels[0])
    assert shown[1].size == (128, 128)
    whole = Image.open(io.BytesIO(base64.b64decode(_held(text)["originals"]["1"])))
    assert np.array_equal(np.asarray(whole.convert("RGB")), large.pixels.transpose(1, 2, 0))


def test_sixteen_originals_are_carried() -> None:
    assert len(_held(render(_gallery(*tiles(20, 40, chosen=True))))["originals"]) == 16


@pytest.fixture(scope="module")
def crowded() -> Page:
    """2,000 images of 256 pixels, more than fits."""
    rng = np.random.Generator(np.random.Philox(5))
    ramp = np.kron(rng.uniform(0, 1, (32, 32)), np.ones((8, 8))).astype(np.float32)
    colours = rng.integers(0, 255, (2000, 3, 1, 1))
    return _gallery(
        *(
            Tile((ramp * colour).astype(np.uint8), f"image {place}", "", place < 20)
            for place, colour in enumerate(colours)
        )
    )


def test_a_page_with_too_many_images_is_kept_small_and_says_what_it_left_out(crowded: Page) -> None:
    found = fitted(crowded, 1.0)
    assert found.drawing.bytes <= 1_000_000
    (notice,) = found.notices
    assert notice.startswith("Kept within 1 MB, this page carries ")
    assert "full-size originals: none" in notice
    assert "thumbnails of 64 pixels" in notice
    plain = html.unescape(re.sub(r"<[^>]+>", "", found.drawing.text))
    assert plain.count(notice) == 2, "at the top, and among the warnings"
    kept = re.search(r"the first (\d+) images of each gallery", notice)
    assert kept is not None
    shown = re.findall(r'alt="image (\d+)"', found.drawing.text)
    assert list(map(int, shown)) == list(range(int(kept.group(1)) // 10 * 10))
    assert f"The first {len(shown)} of 2,000 images are on this page." in plain


def test_with_more_room_less_is_given_up() -> None:
    page = _gallery(*tiles(300, 64, chosen=True))
    sizes = [fitted(page, megabytes).drawing.bytes for megabytes in (0.2, 0.4, 0.8)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    assert all(size <= limit for size, limit in zip(sizes, (200_000, 400_000, 800_000), strict=True))


def test_steps_are_taken_in_their_order_and_only_where_they_help() -> None:
    order = [kind for kind, _, _ in STEPS]
    assert list(dict.fromkeys(order)) == ["originals", "side", "tiles", "rows", "interactive"]
    long = dataclasses.replace(
        full_page(), sections=(SectionView("one", "One", (curve("curve", still=True, rows=400),)),)
    )
    (notice,) = fitted(long, 1.0).notices
    assert notice == (
        "Kept within 1 MB, this page carries the first 10 rows of the table behind each figure; "
        "figures as still pictures and tables. --max-mb allows more."
    )
    text = fitted(long, 1.0).drawing.text
    assert "and 390 more rows" in text
    assert "Plotly.react" in text
    assert '<script type="application/json" data-plot' not in text
    assert 'class="static"' in text


def test_what_cannot_be_made_small_enough_says_so() -> None:
    page = Page("x", (), (), (SectionView("a", "A", (Note("word " * 30_000),)),))
    found = fitted(page, 0.1)
    assert found.notices == ("The page is still larger than 0.1 MB: nothing more can be left out.",)
    for bad in (0, -1, float("nan"), float("inf")):
        with pytest.raises(DiffevalError, match="--max-mb needs a positive number of megabytes"):
            fitted(page, bad)
