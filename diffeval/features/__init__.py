"""Extractors (images to features), and references (real images, or what is known of them)."""
