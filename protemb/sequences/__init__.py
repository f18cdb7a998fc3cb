"""Text in, tokens out: reading, labels, token stores, splits. Knows nothing of torch."""
