"""Real images: sources that give uint8 batches, found by name."""
