"""Published embedding models, read from their original files without executing anything in them."""
