"""Metrics: pure functions of features, one file per family. None of them imports torch or draws random numbers."""
