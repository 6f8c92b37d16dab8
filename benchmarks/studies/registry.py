"""All studies whose figures are made by ``figures.py``."""

from studies import scale, speed, survival

STUDIES = tuple(study for part in (scale, speed, survival) for study in part.STUDIES)
