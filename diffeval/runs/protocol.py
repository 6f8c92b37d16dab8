"""The fingerprint of a protocol, and what separates two of them."""

import hashlib
import json
from typing import Any

from diffeval.runs.document import plain
from diffeval.runs.records import Protocol


def fingerprint(protocol: Protocol) -> str:
    """Eight hexadecimal digits of the sha256 over the protocol's canonical JSON: equal where all fields are."""
    text = json.dumps(_defining(protocol), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _defining(protocol: Protocol) -> dict[str, Any]:
    """The fields that define the quantity: of a reference with a hash, where it lies is none of them."""
    fields: dict[str, Any] = plain(protocol)
    if fields["reference_hash"] is not None:
        fields["reference"] = None
    return fields


def differing_keys(one: Protocol, other: Protocol) -> dict[str, tuple[Any, Any]]:
    """The fields in which two protocols differ, with both values."""
    left, right = plain(one), plain(other)
    if left["reference_hash"] == right["reference_hash"] is not None:
        right["reference"] = left["reference"]
    return {key: (left[key], right[key]) for key in left if left[key] != right[key]}
