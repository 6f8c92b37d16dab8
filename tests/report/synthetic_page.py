"""A page with every kind of block, made of records alone, for tests of the page that need no run."""

import numpy as np
from markupsafe import Markup

from diffeval.report.figures.base import embedded, label
from diffeval.report.view import (
    Banner,
    Card,
    Cards,
    CheckCard,
    Commands,
    Facts,
    Figure,
    Gallery,
    Heading,
    Mark,
    Note,
    Page,
    Rows,
    SectionView,
    Tile,
    Versus,
)

COLOURS = ("#0072b2", "#d55e00")
STILL = Markup(
    '<svg viewBox="0 0 900 300"><path d="M0 300L900 0" stroke="#0072b2"/><text x="9" y="20">still</text></svg>'
)


def noise(count: int, side: int, channels: int = 3, seed: int = 0) -> list[np.ndarray]:
    """Images of smooth noise, uint8 [channels, side, side], no two alike."""
    drawn = np.random.Generator(np.random.Philox(seed)).integers(0, 256, (count, channels, 8, 8), dtype=np.uint8)
    return [np.kron(one, np.ones((1, side // 8, side // 8), np.uint8)) for one in drawn]


def tiles(count: int, side: int, *, chosen: bool = False, seed: int = 0, text: str = "") -> tuple[Tile, ...]:
    """Tiles of noise."""
    return tuple(
        Tile(pixels, f"seed {seed}, image {place}{text}", f"diffeval sample digits --n 1 --seed {place}", chosen)
        for place, pixels in enumerate(noise(count, side, 1 if side <= 32 else 3, seed))
    )


def curve(name: str, *, text: str = "", still: bool = False, rows: int = 5) -> Figure:
    """Two lines with a legend."""
    x = list(range(rows))
    data = [
        {"type": "scatter", "mode": "lines+markers", "name": label(f"{line} line{text}"), "x": x,
         "y": [one * (place + 1) for one in x], "line": {"color": COLOURS[place]}}
        for place, line in enumerate(("first", "second"))
    ]  # fmt: skip
    layout = {"xaxis": {"title": {"text": label(f"steps{text}")}}, "yaxis": {"title": {"text": "score"}}}
    table = tuple((str(one), str(one), str(2 * one)) for one in x)
    sentence = f"The second line is twice the first{text}."
    columns = ("steps", "first", "second")
    return Figure(
        name, f"Two lines{text}", sentence, embedded(data, layout), columns, table, 300, STILL if still else ""
    )


def bars(name: str) -> Figure:
    """Bars along names."""
    data = [{"type": "bar", "orientation": "h", "x": [1, 3, 2], "y": ["one", "three", "two"]}]
    layout = {"yaxis": {"type": "category"}, "xaxis": {"title": {"text": "count"}}}
    return Figure(name, "Bars", "Three is largest, at 3.", embedded(data, layout), ("name", "count"), (("one", "1"),))


def heat(name: str) -> Figure:
    """A heat map."""
    bar = {"title": {"text": "z"}}
    data = [{"type": "heatmap", "x": [0, 1], "y": ["a", "b"], "z": [[1, 2], [3, 4]], "colorbar": bar}]
    layout = {"yaxis": {"type": "category"}}
    return Figure(name, "Heat map", "It grows from 1 to 4.", embedded(data, layout), ("row", "z"), (("a", "1"),))


def panels(name: str, count: int = 6) -> Figure:
    """Small panels, three in a row."""
    data, layout = [], {"showlegend": False, "annotations": []}
    for place in range(count):
        end = "" if place == 0 else str(place + 1)
        row, column = divmod(place, 3)
        x, y = [column / 3 + 0.03, (column + 1) / 3 - 0.03], [0.58 - 0.5 * row, 0.93 - 0.5 * row]
        layout[f"xaxis{end}"] = {"domain": x, "anchor": f"y{end}"}
        layout[f"yaxis{end}"] = {"domain": y, "anchor": f"x{end}"}
        data.append({"type": "scatter", "x": [1, 2, 3], "y": [1, 3, 2], "xaxis": f"x{end}", "yaxis": f"y{end}"})
        layout["annotations"].append(
            {"text": f"panel {place}", "xref": "paper", "yref": "paper", "x": x[0], "y": y[1], "showarrow": False,
             "xanchor": "left", "yanchor": "bottom"}
        )  # fmt: skip
    return Figure(
        name, "Panels", "All six look alike.", embedded(data, layout), ("panel", "y"), (("0", "1"),), height=460
    )


def full_page(text: str = "") -> Page:
    """Every kind of block; ``text`` stands behind everything that a user can name."""
    pairs = zip(tiles(6, 8), tiles(6, 8, seed=1), strict=True)
    checks = (
        CheckCard("noise-schedule", "fail", f"the weights follow cosine{text}", "declare cosine", "the data range",
                  (curve("check-curve", still=True),), Gallery("Pictures", "As sampled.", tiles(4, 8, seed=2), 4)),
        CheckCard("ema", "warn", "the mean lags", "train longer", ""),
        CheckCard("data-range", "inconclusive", "too few images", "", ""),
        CheckCard("determinism", "pass", "equal calls are equal", "", "", (bars("closed-bars"),)),
        CheckCard("vae", "not-applicable", "there is none", "", ""),
    )  # fmt: skip
    cards = (
        Card("fid_debiased", "0.01827", "", ("n=2,000", "95% interval 0.01482 .. 0.02173"),
             Mark("worse", "+0.004 (0.001 .. 0.007)"), "Distance"),
        Card("fid", "0.02322", "biased", ("n=2,000",), Mark("same", "+0.0001"), "Distance"),
        Card(f"precision{text}", "0.8966", "", ("higher is better",), Mark("better", "+0.02"), "Fidelity"),
    )  # fmt: skip
    rule = Mark("fail", f"fails{text}"), Mark("no-evidence", "no evidence"), Mark("none", "off")
    return Page(
        title=f"digits{text}",
        lines=(f"eval: digits · n=2000 · w=1{text}",),
        banners=(
            Banner("fail", "FAIL", f"1 of 5 rules fails: memorization{text}", f"digits{text}"),
            Banner("inconclusive", "INCONCLUSIVE", "needs about n=24,000", "half"),
        ),
        sections=(
            SectionView("gate", "Gate", (Rows(
                "Rules", "One line each.", ("rule", "value", "verdict"),
                tuple((f"rule {place}{text}", f"{place}.5", rule[place % 3]) for place in range(40)),
            ),)),
            SectionView("scores", "Scores", (
                Cards(cards), Note("look at the grid.", "FID is a hint.", "hint"), Note(f"A sentence{text}."),
            )),
            SectionView("protocol", "Protocol", (
                Heading(f"digits{text}", "n=2000"),
                Facts("Protocol", "What defines it.", (("steps", f"10{text}"),) * 9),
                Heading("half", "n=2000"), Facts("Extractor", "", (("id", "digits"),)),
            )),
            SectionView("samples", "Samples", (
                Gallery("Uncurated grid", "Nothing was chosen.", tiles(80, 8, text=text), 16),
                Gallery("Chosen", "The nearest.", tiles(3, 64, chosen=True, seed=3), 3, ("a", "b", "c"), ("row",)),
                Versus("Same seeds", "A is the baseline.", (f"digits{text}", "half"), tuple(pairs)),
            )),
            SectionView("figures", "Figures", (
                curve("curve", text=text, still=True), bars("bars"), heat("heat"), panels("panels"),
            )),
            SectionView("checks", "Health checks", checks),
            SectionView("reproduce", "Reproduce", (
                Commands("Commands", ((f"digits{text}", f"diffeval eval{text}"),)),
            )),
            SectionView("warnings", "Warnings", (Note(f"short{text}", "digits", "warn"),)),
        ),
        missing=((f"Training{text}", f"diffeval train{text}"),),
        notices=(f"half is stopped{text}.",),
    )  # fmt: skip
