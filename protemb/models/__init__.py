"""Tokens in, states and vectors out: batches, encoders, poolings, classifier, checkpoints."""
