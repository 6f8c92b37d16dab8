"""What users hand in, damaged: strategies that make it and what reads it, shared by ``fuzz.py`` and ``tests/fuzz``."""
