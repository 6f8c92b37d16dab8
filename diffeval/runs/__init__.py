"""Typed results, the run directory, the protocol and the provenance. Nothing here imports torch."""
