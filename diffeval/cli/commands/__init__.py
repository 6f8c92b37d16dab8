"""One file per command; each has ``add(app)``."""
