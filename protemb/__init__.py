"""protemb: train, compare and explain protein sequence embeddings."""

from typing import Any

__version__ = "0.1.0"

# Name -> module; loaded when first asked for, so that `import protemb` stays quick.
_PUBLIC = {
    "AA21": "protemb.sequences.alphabet",
    "FileSource": "protemb.sequences.source",
    "ProteinEmbedder": "protemb.vectors.estimator",
    "Rule": "protemb.sequences.labels",
    "TokenStore": "protemb.sequences.tokens",
    "VectorTable": "protemb.vectors.table",
    "embed_records": "protemb.vectors.embed",
    "load_classifier": "protemb.models.checkpoint",
    "load_model": "protemb.models.loading",
    "predict_records": "protemb.vectors.embed",
    "read_sequences": "protemb.sequences.reading",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'protemb' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)
