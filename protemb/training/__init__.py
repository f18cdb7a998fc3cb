"""Lightning: batches, loss, metrics, baselines, history."""
