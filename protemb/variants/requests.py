"""What a table asks of an encoder: every distinct sequence once, and which residues matter in it.

Shape letters: N = table rows, S = distinct sequences, R = requests (a sequence and the residues
that matter in it), B = sequences in a batch, P = places (a request and one of its residues).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from protemb.errors import ConfigError
from protemb.sequences.alphabet import Alphabet
from protemb.sequences.tokens import TokenStore
from protemb.variants.table import VariantTable

WILD, VARIANT = 0, 1


@dataclass(frozen=True, eq=False)
class Places:
    """The requests of one batch, in the order of its sequences.

    Attributes:
        owner_R: the batch's sequence that each request belongs to.
        owner_P: the same for each place.
        place_P: 0-based residue.
        starts_R: first place of each request.
    """

    owner_R: np.ndarray
    owner_P: np.ndarray
    place_P: np.ndarray
    starts_R: np.ndarray


@dataclass(frozen=True, eq=False)
class Requests:
    """Distinct requests of a table, in the order of their sequences.

    Attributes:
        store: the table's sequences; identical ones are there once.
        sequence_R: distinct sequence of each request, ascending.
        asked_R: index into `places`.
        places: tuples of 0-based residues; () where the sequence as a whole is meant.
        request_N2: the request of each table row's wild type and variant.
    """

    store: TokenStore
    sequence_R: np.ndarray
    asked_R: np.ndarray
    places: tuple[tuple[int, ...], ...]
    request_N2: np.ndarray

    def __len__(self) -> int:
        return len(self.sequence_R)

    @cached_property
    def _first_S1(self) -> np.ndarray:
        return np.searchsorted(self.sequence_R, np.arange(self.store.n_sequences + 1))

    def of(self, sequences_B: np.ndarray) -> np.ndarray:
        """Indices of the requests of these sequences."""
        first = self._first_S1
        return np.concatenate([np.arange(first[s], first[s + 1]) for s in sequences_B])

    def batch(self, sequences_B: np.ndarray) -> Places:
        """The requests of these sequences as arrays."""
        counts_B = self._first_S1[sequences_B + 1] - self._first_S1[sequences_B]
        owner_R = np.repeat(np.arange(len(sequences_B)), counts_B)
        asked = [self.places[n] for n in self.asked_R[self.of(sequences_B)]]
        counts_R = np.fromiter(map(len, asked), np.int64, len(asked))
        return Places(
            owner_R,
            np.repeat(owner_R, counts_R),
            np.array([place for places in asked for place in places], np.int64),
            np.cumsum(counts_R) - counts_R,
        )


def plan_requests(table: VariantTable, alphabet: Alphabet, *, placed: bool) -> Requests:
    """Find the distinct sequences of a table, and the distinct residues asked for in each.

    Args:
        table: wild types and mutations.
        alphabet: the letters of the encoder.
        placed: whether some pooling reads the mutated residues.

    Raises:
        ConfigError: mutated residues are wanted and a row has none.
        UnknownResidue: a letter that the alphabet does not have; the row is named.
    """
    store = TokenStore.from_sequences(_records(table), alphabet)
    asked_by_row = [mutation.positions if placed else () for mutation in table.mutations]
    if placed:
        _check_places(table)
    number = {places: n for n, places in enumerate(dict.fromkeys(asked_by_row))}
    asked_N = np.array([number[places] for places in asked_by_row], np.int64)
    pairs = np.stack([store.sequence_of_N, np.repeat(asked_N, 2)], axis=1)
    distinct_R2, request = np.unique(pairs, axis=0, return_inverse=True)
    return Requests(
        store, distinct_R2[:, 0], distinct_R2[:, 1], tuple(number), request.reshape(-1, 2)
    )


def _records(table: VariantTable) -> Iterator[tuple[str, str]]:
    """Wild type and variant of each row; the number keeps the names apart."""
    for row, mutation in enumerate(table.mutations):
        where = f"{table.proteins_N[row]} (row {row + 1})"
        yield f"wild type of {where}", table.wild_type(row)
        yield f"{mutation} of {where}", table.variant(row)


def _check_places(table: VariantTable) -> None:
    for row, mutation in enumerate(table.mutations):
        if not mutation.positions:
            where = f"a mutation in every row (row {row + 1}, {table.proteins_N[row]}, has none)"
            raise ConfigError("pooling", "at the mutated residue", where)
