"""Floor 3: vectors of a whole store, and the tables that keep them on disk."""
