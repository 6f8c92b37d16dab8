"""How numbers and settings are written, on the terminal and on the page alike."""

from diffeval.runs.records import Results


def number(value: float) -> str:
    """Four significant digits, without an exponent where that stays short."""
    if value == 0:
        return "0"
    return f"{value:.4g}" if 1e-4 <= abs(value) < 1e6 else f"{value:.3e}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """``low .. high``, or nothing."""
    return "" if interval is None else f"{number(interval[0])} .. {number(interval[1])}"


def settings_line(results: Results) -> str:
    """What a number must never be shown without: checkpoint, n, w, sampler, steps, extractor, reference."""
    protocol, origin = results.protocol, results.provenance
    guidance = "unconditional" if protocol.w is None else f"w={protocol.w:g}"
    parts = [
        f"{origin.checkpoint} {origin.checkpoint_sha256[:8]}",
        f"n={origin.n}",
        guidance,
        f"{protocol.sampler}, {protocol.steps} steps",
        f"seed {origin.seed}",
    ]
    if protocol.extractor is not None:
        parts.append(f"extractor {protocol.extractor.split('/')[0]}")
    if protocol.reference is not None:
        parts.append(f"reference {protocol.reference}")
    return " · ".join(parts)


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
    return None
