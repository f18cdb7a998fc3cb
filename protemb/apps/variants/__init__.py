"""The grid of variant effects: which vectors, which features, and is the difference real?"""
