"""Named parts of a protein, and where residues of its relatives lie on it.

Beside `hosts.fasta` (or `hosts.fasta.gz`, `hosts.csv`) a file `hosts.regions.csv` may name the
parts of one of its records, the reference, with 1-based positions:

    reference,region,first,last
    AB847411.1,signal peptide,1,16

Shape letters: L = residues of a record.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protemb.errors import InputError, MissingExtra
from protemb.sequences.tables import COMPRESSED, read_table, require_columns
from protemb.sequences.tokens import TokenStore

COLUMNS = ("reference", "region", "first", "last")


@dataclass(frozen=True)
class Regions:
    """Parts of one record.

    Args:
        reference: id of the record.
        spans: start and stop of each part by name, 0-based, stop excluded.
    """

    reference: str
    spans: dict[str, tuple[int, int]]


def regions_path(source: str | Path) -> Path:
    """Where the regions of a sequence file are looked for.

    >>> regions_path("data/hosts.fasta.gz").name
    'hosts.regions.csv'
    """
    path = Path(source)
    if path.suffix in COMPRESSED:
        path = path.with_suffix("")
    return path.with_suffix(".regions.csv")


def read_regions(path: str | Path, store: TokenStore) -> Regions:
    """Read the parts of a reference that is in the store.

    Raises:
        InputError: with the line: an empty or repeated name, positions that are no part of the
            reference, several references, or one that the store does not have.
    """
    source = str(path)
    reference, spans, length = "", dict[str, tuple[int, int]](), 0
    for row, line in read_table(path):
        if not spans:
            require_columns(source, row, COLUMNS)
            reference = row["reference"]
            if reference not in (positions := store.positions()):
                raise InputError(source, f"the records have no {reference!r}", line)
            length = int(store.lengths_N[positions[reference]])
        if row["reference"] != reference:
            problem = f"got reference {row['reference']!r}, expected {reference!r} in every row"
            raise InputError(source, problem, line)
        name, ends = row["region"], (row["first"], row["last"])
        if not name or name in spans:
            problem = f"the region {name!r} is there twice" if name else "a region has no name"
            raise InputError(source, problem, line)
        numbers = all(end.isdecimal() and len(end) < 10 for end in ends)
        if not numbers or not 1 <= int(ends[0]) <= int(ends[1]):
            problem = f"got positions {ends[0]!r} to {ends[1]!r}, expected two numbers from 1"
            raise InputError(source, problem, line)
        if int(ends[1]) > length:
            problem = f"got last {ends[1]}, but {reference!r} has {length} residues"
            raise InputError(source, problem, line)
        spans[name] = (int(ends[0]) - 1, int(ends[1]))
    return Regions(reference, spans)


def reference_columns(reference: str, sequences: Iterable[str]) -> list[np.ndarray]:
    """Number residues as in a reference: columns_L of each sequence, -1 where it has no column.

    Each sequence is aligned with the reference from end to end (Needleman and Wunsch 1970, by
    Biopython: BLOSUM62, gaps cost 11 + 1 per residue, those at the ends nothing).

    >>> [columns_L.tolist() for columns_L in reference_columns("MKWVTF", ["MKWVTF", "WVTFA"])]
    [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5, -1]]

    Raises:
        MissingExtra: Biopython is not installed.
    """
    try:
        from Bio.Align import PairwiseAligner, substitution_matrices
    except ImportError as error:
        raise MissingExtra("aligning sequences", "biopython", "explain") from error
    matrix = substitution_matrices.load("BLOSUM62")
    aligner = PairwiseAligner(
        mode="global",
        substitution_matrix=matrix,
        open_internal_gap_score=-12,  # with its first residue
        extend_internal_gap_score=-1,
        end_gap_score=0,
    )
    # Letters that the matrix does not have (U, O, J) count as unknown.
    known = str.maketrans({letter: "X" for letter in "UOJ" if letter not in matrix.alphabet})
    target = reference.translate(known)
    found = []
    for sequence in sequences:
        columns_L = np.full(len(sequence), -1)
        on_target, on_query = aligner.align(target, sequence.translate(known))[0].aligned
        for (start, _), (first, last) in zip(on_target, on_query, strict=True):
            columns_L[first:last] = np.arange(start, start + last - first)
        found.append(columns_L)
    return found
