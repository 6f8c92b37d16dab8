"""Figures as plotly's own JSON, one file for each subject; none of them draws anything itself."""
