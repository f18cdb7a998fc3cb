"""protemb: train, compare and explain protein sequence embeddings."""

__version__ = "0.1.0"
