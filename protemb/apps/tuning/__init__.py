"""Tuning: choose options by the validation part, and train the best anew on several seeds."""
