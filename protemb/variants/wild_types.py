"""The sequence that each protein's mutations start from: of the table, a FASTA, or a lookup."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from protemb.errors import InputError
from protemb.sequences.alphabet import AA21
from protemb.sequences.amino_acids import RESIDUES
from protemb.sequences.fasta import read_fasta
from protemb.variants.rows import Log, Place, Row

LETTERS = frozenset(AA21.symbols) | {written for written, _ in AA21.synonyms}


class Lookup(Protocol):
    """Something that knows sequences by id."""

    def get(self, protein_id: str) -> str | None:
        """Return the sequence, or None when there is none of that id."""


class WildTypes:
    """Collects sequences while a table is read; the table's own come first.

    Args:
        fasta: File of sequences by id (first word of a header; of `sp|P12345|NAME`, P12345 too).
        lookup: Asked for proteins that neither the table nor the FASTA has.
    """

    def __init__(self, fasta: str | None, lookup: Lookup | None) -> None:
        self._fasta, self._lookup = fasta, lookup
        self._table: dict[str, tuple[str, Place]] = {}

    def add(self, place: Place, sequence: str) -> None:
        """Take the sequence that a row gives; an empty one is none.

        Raises:
            InputError: A letter is no residue, or an earlier row has another sequence.
        """
        if not sequence:
            return
        known = self._table.get(place.protein)
        if known is None:
            if problem := _fault(sequence):
                raise place.error(problem)
            self._table[place.protein] = (sequence, place)
        elif known[0] != sequence:
            first = known[1].where
            raise place.error(f"the sequence differs from the one in {first} of the same protein")

    def complete(
        self, rows: Sequence[Row], log: Log, missing: Literal["error", "drop"]
    ) -> tuple[list[Row], dict[str, str], dict[str, object]]:
        """Find the sequence of every row.

        Returns:
            rows: Those whose protein has a sequence.
            wild_types: Sequence by protein.
            report: Plain values: where sequences came from, and their letters beyond the 20.

        Raises:
            InputError: A sequence has a letter that is no residue, or (under `missing` = "error")
                a protein has no sequence.
            DownloadError: The lookup could not ask.
        """
        firsts: dict[str, Place] = {}
        for row in rows:
            firsts.setdefault(row.place.protein, row.place)
        absent = {protein for protein in firsts if protein not in self._table}
        of_fasta = read_wild_types(self._fasta, absent) if self._fasta and absent else {}
        sequences, origins = {}, Counter({"table": 0, "fasta": 0, "lookup": 0})
        for protein, place in firsts.items():
            if protein in self._table:
                sequences[protein], origin = self._table[protein][0], "table"
            elif protein in of_fasta:
                sequences[protein], origin = of_fasta[protein], "fasta"
            else:
                found = self._lookup.get(protein) if self._lookup is not None else None
                if not found:
                    continue
                if problem := _fault(found):
                    raise place.error(f"{problem}, as it was looked up")
                sequences[protein], origin = found, "lookup"
            origins[origin] += 1
        left = []
        for row in rows:
            if row.place.protein in sequences:
                left.append(row)
            else:
                log.leave_out(row.place, "no sequence", "the protein has no sequence", missing)
        return left, sequences, {"from": dict(origins), "other_letters": _other(sequences)}


def read_wild_types(path: str, wanted: set[str]) -> dict[str, str]:
    """Read the sequences of the proteins `wanted` from a FASTA.

    Raises:
        InputError: With the line: a letter is no residue, or an id comes twice with different
            sequences; or what `read_fasta` refuses.
    """
    found: dict[str, str] = {}
    for header, sequence, line in read_fasta(path):
        word = header.split()[0]
        pieces = word.split("|")
        accession = pieces[1] if pieces[0] in ("sp", "tr") and len(pieces) == 3 else word
        for protein in {word, accession} & wanted:
            text = sequence.decode("latin-1")
            if problem := _fault(text):
                raise InputError(path, problem, line, protein)
            if found.setdefault(protein, text) != text:
                raise InputError(path, "an earlier record has another sequence", line, protein)
    return found


def _fault(sequence: str) -> str | None:
    """Say what is wrong with the letters of a sequence; None when nothing is."""
    if LETTERS.issuperset(sequence):
        return None
    place, letter = next((i, x) for i, x in enumerate(sequence, 1) if x not in LETTERS)
    hint = ", expected upper case" if letter.upper() in LETTERS else ", no letter of a residue"
    return f"residue {place} of the sequence is {letter!r}{hint}"


def _other(sequences: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Count proteins and residues by letter beyond the 20: X, and rare ones read as others."""
    proteins: Counter[str] = Counter()
    residues: Counter[str] = Counter()
    for sequence in sequences.values():
        counts = Counter(sequence)
        for letter in sorted(LETTERS.intersection(counts) - set(RESIDUES)):
            proteins[letter] += 1
            residues[letter] += counts[letter]
    return {
        letter: {"proteins": proteins[letter], "residues": residues[letter]}
        for letter in sorted(proteins)
    }
