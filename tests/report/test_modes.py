"""Pictures of modes: each finding by itself, the rest together."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from report_records import score, write_run

from diffeval.report.figures.modes import mode_galleries
from diffeval.runs.directory import RunDirectory


def _modes(*found: tuple[str, str, float | None]) -> list[dict[str, Any]]:
    return [
        {"modes": "labels", "mode": name, "status": status, "ratio": ratio, "collapsed": False, "index": place}
        for place, (name, status, ratio) in enumerate(found)
    ]


def test_modes_without_a_finding_share_a_gallery_and_each_finding_has_its_own(tmp_path: Path) -> None:
    run = RunDirectory(write_run(tmp_path / "a", [score("fid", 1.0)]))
    held = run.results()
    assert held is not None
    rows = _modes(("0", "missing", 0.0), ("1", "ok", 0.98), ("2", "ok", None))
    results = replace(held, tables={"modes": rows})
    images = np.zeros((3, 4, 1, 8, 8), dtype=np.uint8)
    counts = {"labels_real_count": np.array([4, 4, 4]), "labels_generated_count": np.array([0, 4, 3])}
    np.savez(
        tmp_path / "a" / "mode_pictures.npz",
        labels_modes=np.arange(3), labels_real=images, labels_generated=images, **counts,
    )  # fmt: skip
    missing, together = mode_galleries(run, results)
    assert missing.title == "class 0"
    assert missing.sentence.startswith("missing: 0 of its real share")
    assert (together.rows, together.columns) == (("1, 0.98", "2"), 8)
    assert together.names == ("real", "", "", "", "generated", "", "", "")
    assert [tile.alt for tile in together.tiles[4:8]] == [f"1, generated image {place}" for place in (1, 2, 3, 4)]
    assert together.tiles[15].alt == "2: no generated image"
