"""What order probes do to sequences, and models as functions of token arrays.

Shape letters: N = sequences, L = residues, D = features, C = classes.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch

from protemb.analysis.levels import pooled_levels
from protemb.models.classifier import SequenceClassifier
from protemb.models.embedder import Embedder
from protemb.sequences.alphabet import Alphabet
from protemb.sequences.shuffles import SHUFFLES, reverse, rotate, substitute, swap_segments
from protemb.sequences.tokens import TokenStore
from protemb.vectors.embed import embed_records, predict_records

Tokens: TypeAlias = Sequence[np.ndarray]
Change: TypeAlias = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _rotate_anywhere(tokens_L: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rotate(tokens_L, int(rng.integers(1, max(len(tokens_L), 2))))


YARDSTICK = "substitution"
CHANGES: dict[str, Change] = {
    YARDSTICK: substitute,
    "rotation": _rotate_anywhere,
    "segments": swap_segments,
    "reversal": lambda tokens_L, rng: reverse(tokens_L),
    **SHUFFLES,
}
"""What is done to a sequence; all but the substitution keep its residues and change their order."""


def changed(sequences: Tokens, change: str, *, draws: int, seed: int) -> list[list[np.ndarray]]:
    """Change each sequence, `draws` times; a reversal has one outcome and is done once.

    What comes out depends on the residues and the arguments alone, so equal sequences stay equal.

    Args:
        sequences: N arrays of tokens.
        change: one of `CHANGES`.
        draws: how often.
        seed: any whole number.

    Returns:
        N arrays for each draw.
    """
    draws = 1 if change == "reversal" else draws
    return [
        [
            CHANGES[change](tokens_L, _generator(f"{change}/{draw}/{seed}/", tokens_L))
            for tokens_L in sequences
        ]
        for draw in range(draws)
    ]


def _generator(text: str, tokens_L: np.ndarray) -> np.random.Generator:
    digest = hashlib.blake2b(text.encode() + tokens_L.tobytes(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest))


def embed_callable(
    embedder: Embedder, alphabet: Alphabet, *, device: str | torch.device = "cpu"
) -> Callable[[Tokens], np.ndarray]:
    """The embedder as a function from N token arrays to float32 vectors_ND."""
    return lambda tokens: embed_records(
        embedder, _store(tokens, alphabet), range(len(tokens)), device=device
    )


def levels_callable(
    classifier: SequenceClassifier, alphabet: Alphabet, *, device: str | torch.device = "cpu"
) -> Callable[[Tokens], dict[str, np.ndarray]]:
    """A function from N token arrays to the vectors_ND of each level and pooling, by name."""
    return lambda tokens: pooled_levels(
        classifier, _store(tokens, alphabet), range(len(tokens)), device=device
    )


def predict_callable(
    classifier: SequenceClassifier, alphabet: Alphabet, *, device: str | torch.device = "cpu"
) -> Callable[[Tokens], np.ndarray]:
    """The classifier as a function from N token arrays to float64 probabilities_NC."""
    return lambda tokens: predict_records(
        classifier, _store(tokens, alphabet), range(len(tokens)), device=device
    )


def _store(tokens: Tokens, alphabet: Alphabet) -> TokenStore:
    texts = map(alphabet.decode, tokens)
    return TokenStore.from_sequences(((str(n), text) for n, text in enumerate(texts)), alphabet)
