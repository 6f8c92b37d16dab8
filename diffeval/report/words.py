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
    for score in results.scores:
        if score.name == "fid_debiased" and score.null is not None:
            null = score.null
            error = f" ± {number(null.std_error)}" if null.std_error is not None else ""
            return (
                f"floor: {null.n} held-out real images against the same reference read {number(null.value)}{error} "
                f"(debiased on both sides)"
            )
    return None
