"""Checkpoints: one record that every loader makes and all else uses."""
