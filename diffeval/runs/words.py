"""How numbers and settings are written, on the terminal and on the page alike."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from diffeval.runs.records import Param, Results, Score

# The table of where scores lie in the windows of a published protocol.
WINDOWS = "windows"
# Rows of a table under a figure, at most.
MOST_ROWS = 40
# From here on zeros before a number are read more easily than an exponent behind it.
SHORTEST = 1e-7


def number(value: float) -> str:
    """Four significant digits, below 0.0001 two, without an exponent where that stays short."""
    if value == 0:
        return "0"
    if SHORTEST <= abs(value) < 1e-4:
        return f"{Decimal(f'{value:.2g}'):f}"
    return f"{value:.4g}" if 1e-4 <= abs(value) < 1e6 else f"{value:.3e}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """``low .. high``, or nothing."""
    return "" if interval is None else f"{number(interval[0])} .. {number(interval[1])}"


def score_title(score: Score) -> str:
    """The name of a score, and of what it counts where there are several kinds."""
    kind = score.params.get("modes")
    return score.name if kind is None else f"{score.name} ({kind})"


def settings_line(results: Results) -> str:
    """What a number must never be shown without: checkpoint, n, w, sampler, steps, extractor, reference."""
    protocol, origin = results.protocol, results.provenance
    parts = [f"{origin.checkpoint} {origin.checkpoint_sha256[:8]}", f"n={origin.n}"]
    if protocol.task.startswith("sweep"):
        parts.append(f"seed {origin.seed}")
    elif protocol.sampler is None:
        parts.append(
            "log of a training" if protocol.task == "check" and protocol.reference is None else "ready-made images"
        )
    else:
        guidance = "unconditional" if protocol.w is None else f"w={protocol.w:g}"
        declared = str(protocol.sampler_config.get("scheduler", protocol.sampler))
        name = declared if protocol.sampler == "declared" else protocol.sampler
        parts += [guidance, f"{name}, {protocol.steps} steps", f"seed {origin.seed}"]
    if protocol.extractor is not None:
        parts.append(f"extractor {_named(protocol.extractor)}")
    if protocol.judge is not None:
        parts.append(f"judge {_named(protocol.judge)}, {protocol.template!r}")
    if protocol.reference is not None:
        parts.append(f"reference {protocol.reference}")
    return " · ".join(parts)


def first_score(results: Results) -> str:
    """The score that a run is about: it goes before all others."""
    return "clip_score" if results.protocol.task == "clip" else "fid_debiased"


def _named(extractor: str) -> str:
    """An extractor as the user writes it, from its id; of CLIP the network is what matters."""
    parts = extractor.split("/")
    return ":".join(parts[:2]) if parts[0] == "clip" else parts[0]


def floor_sentence(results: Results) -> str | None:
    """What real images read, in one sentence; None where that was not measured."""
    for row in results.tables.get("floor", ()):
        value, low, high = row["value"], row["low"], row["high"]
        if row["score"] == "fid_debiased" and isinstance(value, float):
            interval = ""
            if isinstance(low, float) and isinstance(high, float):
                covers = "covers 0" if low <= 0 <= high else "excludes 0: the extractor favours the reference's images"
                interval = f", 95% interval {interval_text((low, high))}, which {covers}"
            return f"floor: fid_debiased of {row['n']} held-out real images is {number(value)}{interval}"
    reference = results.protocol.reference or ""
    if any(score.name == "fid_debiased" for score in results.scores) and not reference.endswith("@train"):
        whole = reference.removesuffix("@all")
        hint = f"; with --ref {whole}@train a tenth of it is" if reference.endswith("@all") else ""
        return f"floor: none, no real images are held out from {reference}{hint}"
    return None


def window_sentences(results: Results) -> list[str]:
    """Where scores lie in the windows of a published protocol."""
    found = []
    for row in results.tables.get(WINDOWS, ()):
        value = row["value"]
        told = f" {number(value)}" if isinstance(value, float) else ""
        found.append(f"{row['protocol']}: {row['score']}{told} {row['verdict']} ({row['low']} to {row['high']})")
    return found


def advice_sentence(results: Results) -> str | None:
    """How precisely FID is known, and n*, the images that a wanted precision needs; None without such a score."""
    score = _advised(results)
    if score is None:
        return None
    wanted, needed, now = (score.params.get(name) for name in ("n_star_precision", "n_star", "precision"))
    begun = f"n*: {score.name} at n={score.n}"
    if not isinstance(now, float):
        return f"{begun} is not told from 0 (its interval covers it), so it has no relative precision"
    begun += f" is known to ±{percent(now)}"
    if not isinstance(needed, int):
        return f"{begun}; no number of images gives ±{percent(wanted)}, because the reference's own error is larger"
    if needed <= score.n:
        return f"{begun}; ±{percent(wanted)} needs about {rounded(needed)} images"
    return f"{begun}; about {rounded(needed)} images would give ±{percent(wanted)}"


def word_sentences(results: Results) -> tuple[str, ...]:
    """What other prompts would read beside the CLIP score, and the prompts that are followed least."""
    known = [score for score in results.scores if score.name == "clip_score" and score.value is not None]
    if not known:
        return ()
    score = max(known, key=lambda one: one.n)
    value, other, gap = score.value or 0.0, score.params.get("shuffled"), score.params.get("held_out_gap")
    found = []
    if isinstance(other, float):
        shuffled = _with_error(other, score, "shuffled_std_error")
        found.append(
            f"words: other prompts in their place would read {shuffled}; the right ones add {number(value - other)}"
        )
    if isinstance(gap, float):
        found.append(
            f"held-out prompts read {number(float(str(score.params['held_out'])))}; those seen in training read more "
            f"by {_with_error(gap, score, 'held_out_gap_std_error')}"
        )
    worst = [
        f"{number(float(str(row['clip_score'])))} {shortened(str(row['prompt']))!r}" for row in prompts_of(results)
    ]
    if len(worst) > 1:
        found.append(f"worst prompts: {', '.join(worst[:3])}")
    return tuple(found)


def prompts_of(results: Results) -> Sequence[Mapping[str, Param]]:
    """The table of prompts, the worst first."""
    return results.tables.get("prompts", ())


def _with_error(value: float, score: Score, name: str) -> str:
    error = score.params.get(name)
    return f"{number(value)} ± {error:.2g}" if isinstance(error, float) else number(value)


def shortened(text: str, most: int = 60) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def missed_sentence(results: Results) -> str | None:
    """Why the wanted precision was not reached; None where it was, or none was wanted."""
    wanted, most, score = results.choices.get("precision"), results.choices.get("max_n"), _advised(results)
    if wanted is None:
        return None
    now = None if score is None else score.params.get("precision")
    if isinstance(now, float) and isinstance(wanted, float) and now <= wanted:
        return None
    needed = None if score is None else score.params.get("n_star")
    remedy = ""
    if isinstance(needed, int) and isinstance(most, int) and needed > most:
        remedy = f"; --max-n {rounded(needed)} should do"
    reached = f"±{percent(now)}" if isinstance(now, float) else "no relative precision"
    return f"{results.provenance.n} images give {reached}, ±{percent(wanted)} was wanted{remedy}"


def percent(share: object) -> str:
    """A share as per cent, to two digits."""
    return f"{100 * share:.2g}%" if isinstance(share, float) else str(share)


def _advised(results: Results) -> Score | None:
    """The score at the largest count that can tell how many images a precision needs."""
    known = [score for score in results.scores if "n_star" in score.params]
    return max(known, key=lambda score: score.n, default=None)


def rounded(count: int) -> int:
    """Upwards to two digits: more would claim too much."""
    unit = int(10 ** max(0, len(str(count)) - 2))
    return -(-count // unit) * unit


def cells(rows: Sequence[Mapping[str, Param]]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Names of the columns and the rows of a table as text, thinned where there are many rows."""
    names = tuple(rows[0])
    shown = rows[:: max(1, -(-len(rows) // MOST_ROWS))]
    return tuple(name.replace("_", " ") for name in names), tuple(
        tuple(_cell(row[name]) for name in names) for row in shown
    )


def _cell(value: Param) -> str:
    if value is None:
        return "–"
    return number(value) if isinstance(value, float) else str(value)
