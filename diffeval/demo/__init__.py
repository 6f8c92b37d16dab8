"""The story of ``diffeval demo``: the digits model, a twin of it with one layer broken, and a gate between them."""
