"""What may befall a command, one file for each kind of mishap; ``benchmarks/survival.py`` plays them."""
