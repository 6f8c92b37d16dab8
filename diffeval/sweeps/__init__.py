"""Sweeps over guidance scales and sampling settings, and what follows from them."""
