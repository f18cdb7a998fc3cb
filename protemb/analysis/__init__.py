"""Floor 4: maps of vectors, and figures."""
