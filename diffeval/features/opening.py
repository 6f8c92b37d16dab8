"""From what ``--extractor`` says to an extractor: ``NAME[:VARIANT]``, or the user's own code."""

import difflib
import importlib.util
from dataclasses import replace

from diffeval.errors import DiffevalError
from diffeval.features.custom import own_extractor
from diffeval.features.extractor import EXTRACTORS, Extractor, ExtractorRequest
from diffeval.registry import did_you_mean


def open_extractor(spec: str, request: ExtractorRequest) -> Extractor:
    """Makes the extractor that ``spec`` names.

    Args:
        spec: ``NAME[:VARIANT]``, e.g. ``inception:192``; or ``pkg.module:factory``, ``file.py:factory``.
        request: everything else; its variant is replaced by the one in ``spec``.

    Raises:
        DiffevalError: for an unknown name or variant, or what the extractor itself cannot do.
    """
    name, colon, rest = spec.partition(":")
    if name in EXTRACTORS:
        return EXTRACTORS[name](replace(request, variant=rest if colon else None))
    if colon and (name.endswith(".py") or not _meant(name)):
        return own_extractor(spec, request)
    raise DiffevalError(f"unknown extractor {spec!r};{did_you_mean(name, EXTRACTORS)}")


def _meant(name: str) -> bool:
    """Whether the name is rather one of ours, misspelt, than a module."""
    near = difflib.get_close_matches(name, EXTRACTORS, n=1, cutoff=0.7)
    return bool(near) and "." not in name and importlib.util.find_spec(name) is None
