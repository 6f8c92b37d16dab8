"""Data files of the digits model and its extractor; ``benchmarks/make_builtin.py`` makes them."""

from pathlib import Path

FOLDER = Path(__file__).parent
