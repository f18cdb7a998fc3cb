"""Wild-type sequences by their ids: from the PDB or from UniProt, each id asked for once.

A cached answer is a FASTA file whose first line, a comment, holds the SHA-256 of the rest: one
that was damaged since is noticed and fetched again.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from protemb.errors import ConfigError, DownloadError, InputError
from protemb.files import whole_file
from protemb.sequences.download import NotFound, read_url
from protemb.sequences.fasta import read_fasta

LIMIT = 4 << 20  # bytes of an answer; the PDB's largest entries have some 100 kB of FASTA
BASES = {
    "pdb": "https://www.rcsb.org/fasta/entry",
    "uniprot": "https://rest.uniprot.org/uniprotkb",
}

_PDB = re.compile(r"(?P<entry>[1-9][A-Za-z0-9]{3})(_(?P<chain>[A-Za-z0-9]{1,4}))?", re.ASCII)
# Accessions as UniProt's help page "accession_numbers" defines them; -2 is an isoform.
_UNIPROT = re.compile(
    r"([OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9]([A-Z][A-Z0-9]{2}[0-9]){1,2})(-[1-9][0-9]{0,2})?",
    re.ASCII,
)
# ">1YYM_2|Chains B[auth L], F[auth Q]|antibody 17b light chain|Homo sapiens (9606)"
_PDB_HEADER = re.compile(r"(?P<entry>\w{4})_[0-9]+\|Chains? (?P<chains>[^|]+)\|", re.ASCII)
_PDB_CHAIN = re.compile(r"(?P<label>\w+)(\[auth (?P<author>\w+)\])?", re.ASCII)
_LETTERS = re.compile(rb"[A-Z]+")


@dataclass(frozen=True, kw_only=True)
class SequenceLookup:
    """Sequences by PDB or UniProt id, with a cache on disk.

    A PDB id is an entry (`1ABC`) or an entry with a chain (`1ABC_A`); the entry may be written in
    either case, chains are told apart by case. Chains go by the names of the entry's authors, as
    they stand in PDB files and in tables made from them; where RCSB names a chain differently
    (`B[auth L]`), its own name is not looked at. The sequence is that of the whole chain as it
    was made, unresolved residues included. A UniProt id is an accession, or an isoform of one
    (`P04637-2`).

    Args:
        kind: "pdb" or "uniprot".
        cache: Folder of what has arrived; a file per id.
        base_url: A mirror of the source, instead of its public address.
        chain: For PDB ids that name none.
        timeout: Seconds that one attempt may take.
        attempts: How often to try when the network or the server fails.
        pause: Seconds before the second attempt; doubled before each further one.

    Raises:
        ConfigError: an option has another value.
    """

    kind: str
    cache: str
    base_url: str | None = None
    chain: str | None = None
    timeout: float = 30.0
    attempts: int = 3
    pause: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in BASES:
            raise ConfigError("lookup.kind", self.kind, " or ".join(BASES))
        if self.chain is not None and self.kind != "pdb":
            raise ConfigError("lookup.chain", self.chain, f"none: {self.kind} ids have no chains")

    def get(self, protein_id: str) -> str | None:
        """Return the sequence of an id; None when the source has no such record.

        Raises:
            InputError: it is no id of this kind, or does not say which chain is meant.
            DownloadError: the source cannot be reached, or answers with something else.
        """
        entry, chain = self._split(protein_id)
        url = self._url(entry)
        path = Path(self.cache) / self.kind / f"{entry}.fasta"
        if not _is_sealed(path):
            try:
                answer = self._ask(url)
            except NotFound:
                return None
            with whole_file(path) as part:
                part.write_bytes(_seal(answer) + answer)
                self._read(part, entry, url)  # nothing else is kept
        sequences = self._read(path, entry, url)
        if chain is None and len(set(sequences.values())) == 1:
            return next(iter(sequences.values()))
        if chain in sequences:
            return sequences[chain]
        problem = "several different chains" if chain is None else f"no chain {chain!r}"
        listed = ", ".join(f"{name} ({len(text)})" for name, text in sequences.items())
        hint = f"; the chains of {entry}, and their residues, are: {listed}"
        raise InputError("lookup", problem + hint, record=protein_id)

    def _split(self, protein_id: str) -> tuple[str, str | None]:
        """The part of an id that the source is asked for, and the chain."""
        if self.kind == "uniprot":
            if not _UNIPROT.fullmatch(protein_id):
                problem = "no UniProt accession, expected one such as P04637 or P04637-2"
                raise InputError("lookup", problem, record=protein_id)
            return protein_id, None
        match = _PDB.fullmatch(protein_id)
        if match is None:
            problem = "no PDB id, expected one such as 1ABC or, with a chain, 1ABC_A"
            raise InputError("lookup", problem, record=protein_id)
        return match["entry"].upper(), match["chain"] or self.chain

    def _url(self, entry: str) -> str:
        base = (self.base_url or BASES[self.kind]).rstrip("/")
        return f"{base}/{entry}" if self.kind == "pdb" else f"{base}/{entry}.fasta"

    def _ask(self, url: str) -> bytes:
        return read_url(
            url, limit=LIMIT, timeout=self.timeout, attempts=self.attempts, pause=self.pause
        )

    def _read(self, path: Path, entry: str, url: str) -> dict[str, str]:
        """Sequences of an answer by chain; a UniProt record is its own, nameless chain."""
        try:
            records = list(read_fasta(path))
        except InputError as error:
            raise DownloadError(url, f"the answer is no FASTA: {error.problem}") from None
        for record in records:
            if not _LETTERS.fullmatch(record.sequence):
                problem = f"the sequence of {record.header[:80]!r} is not of capital letters alone"
                raise DownloadError(url, problem)
        if self.kind == "pdb":
            return {
                chain: record.sequence.decode("ascii")
                for record in records
                for chain in _chains(record.header, entry, url)
            }
        if len(records) != 1:
            raise DownloadError(url, f"got {len(records)} records, expected one")
        return {"": records[0].sequence.decode("ascii")}


def _chains(header: str, entry: str, url: str) -> list[str]:
    """The authors' names of the chains of a record.

    >>> _chains("1YYM_2|Chains B[auth L], F|17b light chain|Homo sapiens", "1YYM", "")
    ['L', 'F']
    """
    match = _PDB_HEADER.match(header)
    if match is None or match["entry"].upper() != entry:
        raise DownloadError(url, f"got a record {header[:80]!r}, expected one of {entry}")
    chains = [_PDB_CHAIN.fullmatch(text.strip()) for text in match["chains"].split(",")]
    names = [chain["author"] or chain["label"] for chain in chains if chain]
    if len(names) < len(chains):
        raise DownloadError(url, f"the chains in {header[:80]!r} cannot be read")
    return names


def _seal(answer: bytes) -> bytes:
    return f"; sha256 {hashlib.sha256(answer).hexdigest()}\n".encode()


def _is_sealed(path: Path) -> bool:
    """Whether an answer is there as it was written."""
    if not path.is_file():
        return False
    line, _, answer = path.read_bytes().partition(b"\n")
    return line + b"\n" == _seal(answer)
