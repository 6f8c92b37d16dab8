"""Reads runs and draws pages. No torch."""
