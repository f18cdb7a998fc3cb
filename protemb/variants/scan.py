"""Scores of all single substitutions of a protein by a fitted predictor.

What the variants have in common with the wild type is computed once, where the encoder allows it
(`protemb.models.scanning`).

Shape letters: L = residues, A = the 20 residues, N = variants of a block, C = columns.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from protemb.models.encoders import Encoder
from protemb.models.scanning import RESIDUES as BUDGET
from protemb.models.scanning import scan_vectors
from protemb.models.window import place_matters
from protemb.sequences.alphabet import Alphabet, LetterPolicy, Tokenizer
from protemb.sequences.amino_acids import RESIDUES
from protemb.variants.features import Cell, cell_features
from protemb.variants.mutations import Mutation, Substitution

Predict = Callable[[Sequence[Mutation], Mapping[str, np.ndarray], np.ndarray], np.ndarray]
"""Mutations, their covariates_N by name, and features_NC, to scores_N."""

VALUES = 2**24
"""Default budget of numbers in the vectors of a block: 64 MB."""


def all_substitutions(sequence: str) -> list[Mutation]:
    """Return every single substitution, by position, then in the order of `RESIDUES`.

    There are 19 at a position, and 20 where the protein has none of the 20 residues (X).

    >>> [str(mutation) for mutation in all_substitutions("AX")][17:21]
    ['A1Y', 'A1V', 'X2A', 'X2R']
    """
    return [
        Mutation((Substitution(position, wild, new),))
        for position, wild in enumerate(sequence)
        for new in RESIDUES
        if new != wild
    ]


def scan(
    encoder: Encoder,
    alphabet: Alphabet,
    sequence: str,
    cell: Cell,
    predict: Predict,
    *,
    covariates: Mapping[str, Sequence[str] | np.ndarray | None] | None = None,
    tolerance: float = 0.0,
    residues: int = BUDGET,
    values: int = VALUES,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return scores_LA of all substitutions; columns stand in the order of `RESIDUES`.

    Where a position keeps its residue there is nothing to score: NaN.

    Args:
        encoder: is put into evaluation mode.
        alphabet: the letters that it reads.
        sequence: the wild type, in upper case.
        cell: level, pooling and features that the predictor was fitted on.
        predict: makes what stands beside the embedding from mutations and covariates, and scores.
        covariates: one value per residue by name, or None for one that is unknown here: then it is
            "", the category of the unknown, at every residue.
        tolerance: see `scan_vectors`; 0 is exact.
        residues: budget of residues that are computed at once.
        values: budget of numbers in the vectors that are held at once.
        progress: called with the number of variants after each block.

    Raises:
        ConfigError: no such level, pooling or features.
        UnknownResidue: a letter that the alphabet does not have.
        ValueError: a covariate, or what `predict` gave, is of another length.
    """
    as_written = LetterPolicy(lower="error", stop="error")  # nothing may move the positions
    tokens_L = Tokenizer(alphabet, as_written).encode("the protein", sequence.encode())
    assert tokens_L is not None, "this policy drops nothing"
    columns = _columns(covariates or {}, len(sequence))
    scores_LA = np.full((len(sequence), len(RESIDUES)), np.nan)
    # A block holds the variants' vectors and, at most, a wild type's for each of them.
    size = max(1, values // (2 * encoder.dim(cell.level)))
    for block in _blocks(all_substitutions(sequence), size):
        places_N = np.array([mutation.positions[0] for mutation in block])
        letters = [mutation.substitutions[0].new for mutation in block]
        new_N = alphabet.table()[[ord(letter) for letter in letters]]
        wild_ND, variant_ND = _vectors(
            encoder, tokens_L, places_N, new_N, cell, tolerance=tolerance, residues=residues
        )
        features_NC = cell_features(wild_ND, variant_ND, cell.features)
        here = {name: column_L[places_N] for name, column_L in columns.items()}
        scores_N = np.asarray(predict(block, here, features_NC), np.float64)
        if scores_N.shape != (len(block),):
            raise ValueError(f"predict gave shape {scores_N.shape}, expected ({len(block)},)")
        scores_LA[places_N, [RESIDUES.index(letter) for letter in letters]] = scores_N
        if progress is not None:
            progress(len(block))
    return scores_LA


def _columns(
    covariates: Mapping[str, Sequence[str] | np.ndarray | None], length: int
) -> dict[str, np.ndarray]:
    columns = {}
    for name, values in covariates.items():
        columns[name] = np.asarray([""] * length if values is None else values)
        if columns[name].shape != (length,):
            raise ValueError(f"{name}: got shape {columns[name].shape}, expected ({length},)")
    return columns


def _blocks(mutations: list[Mutation], size: int) -> Iterator[list[Mutation]]:
    for start in range(0, len(mutations), size):
        yield mutations[start : start + size]


def _vectors(
    encoder: Encoder,
    tokens_L: np.ndarray,
    places_N: np.ndarray,
    new_N: np.ndarray,
    cell: Cell,
    **options,
) -> tuple[np.ndarray, np.ndarray]:
    """Return wild_ND and variant_ND; the wild type is a variant that changes nothing."""
    own = np.unique(places_N) if place_matters(cell.pooling) else places_N[:1]
    places = np.concatenate([places_N, own])
    new = np.concatenate([new_N, tokens_L[own]])
    pair = (cell.level, cell.pooling)
    rows = scan_vectors(encoder, tokens_L, places, new, [pair], **options)[pair]
    row_N = np.searchsorted(own, places_N) if place_matters(cell.pooling) else np.zeros_like(new_N)
    return rows[len(places_N) :][row_N], rows[: len(places_N)]
