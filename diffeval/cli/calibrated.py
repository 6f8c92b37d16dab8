"""What ``diffeval gate calibrate`` and ``promote`` print."""

from typing import TYPE_CHECKING, Any

from diffeval.cli.tables import columns
from diffeval.runs.words import number, percent

if TYPE_CHECKING:
    from diffeval.gate.calibration import Calibration
    from diffeval.gate.promote import Promoted


def calibration_rows(calibration: "Calibration") -> list[dict[str, Any]]:
    """One row per score: its noise, the margin that is proposed, and what that does."""
    from diffeval.gate.calibrate import propose

    rows = []
    for noise in calibration.noises.values():
        proposal = propose(noise)
        rows.append(
            {
                "score": noise.score,
                "n": noise.n,
                "runs": noise.runs,
                "value": noise.value,
                "sd_over_seeds": noise.over_seeds,
                "stored_error": noise.stored,
                "sigma": noise.sd,
                "margin": proposal.margin,
                "passes_if_no_worse": proposal.passes,
                "fails_if_no_worse": proposal.fails,
                "caught": proposal.caught,
            }
        )
    return rows


def calibration_text(calibration: "Calibration") -> str:
    """Noise and margins as a table, with what they mean."""
    from diffeval.gate.calibrate import PASSING, disagrees, spread

    noises = list(calibration.noises.values())
    first = noises[0]
    header = ("score", "value", "sd over seeds", "stored error", "margin", "of value", "false alarms", "caught", "")
    table = [header]
    for row, noise in zip(calibration_rows(calibration), noises, strict=True):
        over = "-" if noise.over_seeds is None else number(noise.over_seeds)
        share = f"{100 * row['margin'] / abs(noise.value):.0f}%" if noise.value else "-"
        told = "seeds move it more than its stored error says" if disagrees(noise) else ""
        table.append(
            (
                noise.score,
                number(noise.value),
                over,
                number(noise.stored),
                number(row["margin"]),
                share,
                "< 0.1%" if row["fails_if_no_worse"] < 0.001 else f"{100 * row['fails_if_no_worse']:.1f}%",
                number(row["caught"]),
                told,
            )
        )
    share_off = spread(first)
    seeds = (
        "the stored error of one run"
        if share_off is None
        else f"{first.runs} seeds, whose spread is itself known to ±{percent(share_off)}"
    )
    return (
        f"noise of {calibration.checkpoint} {calibration.checkpoint_sha256[:8]} at n={first.n}, from {seeds}\n\n"
        f"{columns(table)}\n\n"
        f"margin        the least with which a model that is no worse passes this rule {PASSING:.0%} of the time,\n"
        "              with other seeds than the baseline's: max_regression = { abs = MARGIN }; with the same seeds\n"
        "              less does\n"
        "false alarms  how often a model that is no worse then fails; what neither passes nor fails is inconclusive\n"
        "caught        the least regression that then fails 4 times in 5; n times 4 halves margin and this"
    )


def promoted_text(done: "Promoted") -> str:
    """What was promoted, and over what."""
    from diffeval.gate.github import harmless, on_github
    from diffeval.gate.terminal import terminal_text

    lines = [] if done.verdict is None else [terminal_text(done.verdict), ""]
    size = done.path.stat().st_size
    lines.append(f"{done.path}  ({size / 1000:.1f} kB)")
    if done.promotion.reason:
        lines.append(f"promoted although it did not pass, because: {done.promotion.reason}")
    text = "\n".join(lines)
    return harmless(text) if on_github() else text
