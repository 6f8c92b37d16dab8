"""Noise schedules, prediction types, guidance, per-seed noise, samplers, and the one sampling loop."""
