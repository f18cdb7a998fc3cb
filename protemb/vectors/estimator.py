"""Embeddings as a scikit-learn transformer: lists of sequences in, one row of features each out.

Shape letters: N = sequences, D = features.
"""

import tempfile
from collections.abc import Iterable
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from protemb.errors import ConfigError
from protemb.models.devices import open_device
from protemb.models.embedder import Embedder
from protemb.models.loading import EmbeddingModel, load_model
from protemb.sequences.alphabet import Alphabet, LetterPolicy, Tokenizer
from protemb.sequences.tokens import TokenStore, TokenStoreBuilder
from protemb.vectors.embed import RESIDUES, embed_records

# A row of text as the vocabulary of scikit-learn has it; longer messages show the beginning.
_SHOWN = 30


class ProteinEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """One vector per sequence, from a model that is trained already.

        make_pipeline(ProteinEmbedder("models/ssa"), LogisticRegression()).fit(sequences, labels)

    Nothing is learned from the sequences, so no information goes from one fold to another, and
    `transform` works before `fit`. Identical sequences are embedded once, and a vector does not
    depend on what else is in the list.

    Args:
        model: converted model's folder, run folder or checkpoint; or a loaded `EmbeddingModel`.
        level: which of the encoder's levels is pooled; None for the model's own.
        pooling: mean, max, last, ends ...; None for the model's own.
        unknown: letters outside the alphabet are read as "x", or an "error".
        device: cpu, cuda, ...
        residues: budget of padded residues in a batch.

    Attributes:
        n_features_out_: features of a vector, once fitted.
    """

    def __init__(
        self,
        model: str | PathLike[str] | EmbeddingModel,
        level: str | None = None,
        pooling: str | None = None,
        unknown: str = "x",
        device: str = "cpu",
        residues: int = RESIDUES,
    ) -> None:
        self.model = model
        self.level = level
        self.pooling = pooling
        self.unknown = unknown
        self.device = device
        self.residues = residues

    def fit(self, X: Any, y: Any = None) -> "ProteinEmbedder":
        """Check the sequences and note how many features a vector has.

        Raises:
            TypeError: X is no list of texts; the index is named.
            ValueError: an empty sequence, or a letter that the policy refuses.
            ProtembError: the model cannot be used, or has no such level or pooling.
        """
        model, embedder = self._open()
        with tempfile.TemporaryDirectory() as folder:
            self._read(X, model.alphabet, folder)
        self.n_features_out_ = embedder.out_dim
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return float32 vectors_ND; raises as `fit` does."""
        if not hasattr(self, "n_features_out_"):
            # Nothing is learned, but the names of the features hang on their number.
            self.n_features_out_ = self._open()[1].out_dim
        return self._vectors(X)

    def _vectors(self, X: Any) -> np.ndarray:
        model, embedder = self._open()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            store = self._read(X, model.alphabet, folder)
            records_N = np.arange(len(store))
            return embed_records(
                embedder, store, records_N, residues=self.residues, device=self.device
            )

    def fit_transform(self, X: Any, y: Any = None, **parameters: Any) -> np.ndarray:
        """Fit and return float32 vectors_ND; the sequences are read once."""
        vectors_ND = self._vectors(X)
        self.n_features_out_ = vectors_ND.shape[1]
        return vectors_ND

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        # One column of texts, as pandas and ColumnTransformer hand them over.
        tags.input_tags.two_d_array = True
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = []
        return tags

    @property
    def _n_features_out(self) -> int:
        check_is_fitted(self, "n_features_out_")
        return self.n_features_out_

    def _open(self) -> tuple[EmbeddingModel, Embedder]:
        open_device(self.device)
        model = self.model
        if not isinstance(model, EmbeddingModel):
            model = _load(str(model), str(self.device), _state(Path(model)))
        return model, model.embedder(self.level, self.pooling).to(self.device)

    def _read(self, X: Any, alphabet: Alphabet, folder: str) -> TokenStore:
        if self.unknown not in ("x", "error"):
            # Every sequence has to have its row: none can be dropped.
            raise ConfigError("unknown", self.unknown, "x or error")
        tokenizer = Tokenizer(alphabet, LetterPolicy(unknown=self.unknown))  # type: ignore[arg-type]
        with TokenStoreBuilder(folder, alphabet, "X") as builder:
            for index, text in enumerate(as_texts(X)):
                # What is no letter in any encoding is refused like a digit.
                tokens = tokenizer.encode(f"X[{index}]", text.encode("utf-8", "replace"))
                assert tokens is not None, "neither policy drops a sequence"
                if not len(tokens):
                    raise ValueError(f"X[{index}]: got {text!r}, expected at least one residue")
                builder.append(f"X[{index}]", tokens)
            store, _ = builder.finish()
        return store


def as_texts(X: Any) -> list[str]:
    """Return the sequences of a list, an array, a series, or a table of one column.

    Raises:
        TypeError: something is no text; its index is named.
        ValueError: there is none, or there are several columns.
    """
    if isinstance(X, str | bytes) or not isinstance(X, Iterable) and not hasattr(X, "__array__"):
        raise TypeError(f"got {_shown(X)}, expected a list or array of sequences")
    if hasattr(X, "toarray"):
        raise TypeError("got a sparse matrix, expected a list or array of sequences")
    values = X if isinstance(X, list | tuple) else np.asarray(X, dtype=object)
    if isinstance(values, np.ndarray) and values.ndim != 1:
        if values.ndim != 2 or values.shape[1] != 1:
            raise ValueError(f"got shape {values.shape}, expected one column of sequences")
        values = values[:, 0]
    texts = list(values)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"X[{index}]: got {_shown(text)}, expected a sequence as text")
    if not texts:
        raise ValueError("got 0 sequences, expected at least one")
    return texts


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= _SHOWN else text[:_SHOWN] + '...'}"


def _state(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, times and sizes of a model's files; another state is another model."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    facts = [(file, file.stat()) for file in files if file.is_file()]
    return tuple((str(file), stat.st_mtime_ns, stat.st_size) for file, stat in facts)


@lru_cache(maxsize=2)
def _load(path: str, device: str, state: tuple[tuple[str, int, int], ...]) -> EmbeddingModel:
    """Cross-validation asks for the same model at every fold."""
    return load_model(path, device)
