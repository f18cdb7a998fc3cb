"""Floor 4: measured effects of mutations, predicted from embeddings."""
