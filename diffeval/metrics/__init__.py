"""Metrics: pure functions of features, one file per family. None of them draws from global random state."""
