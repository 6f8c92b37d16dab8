"""From what ``--extractor`` says to an extractor: ``NAME[:VARIANT]``, or the user's own code."""

from dataclasses import replace

from diffeval.errors import DiffevalError
from diffeval.features.extractor import EXTRACTORS, Extractor, ExtractorRequest
from diffeval.registry import did_you_mean


def open_extractor(spec: str, request: ExtractorRequest) -> Extractor:
    """Makes the extractor that ``spec`` names.

    Args:
        spec: ``NAME[:VARIANT]``, e.g. ``inception:192``.
        request: everything else; its variant is replaced by the one in ``spec``.

    Raises:
        DiffevalError: for an unknown name or variant, or what the extractor itself cannot do.
    """
    name, colon, rest = spec.partition(":")
    if name in EXTRACTORS:
        return EXTRACTORS[name](replace(request, variant=rest if colon else None))
    raise DiffevalError(f"unknown extractor {spec!r};{did_you_mean(name, EXTRACTORS)}")
