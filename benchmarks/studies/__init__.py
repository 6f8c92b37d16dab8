"""The studies whose figures stand in documents: what makes them, how they are read, and what must be true of them."""
