"""Rebuild a public set: FireProtDB, the measured ddG of single substitutions.

The source publishes three tables (train, validation, test) of many columns. The set joins them
and keeps what an experiment needs. Mutations are numbered in the sequence of the structure: that
of the UniProt record often has a signal peptide or an engineered start, and in some rows the
place in it has the right letter in the wrong neighbourhood.
"""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from protemb.errors import InputError
from protemb.files import hash_file, whole_file, write_text
from protemb.sequences.amino_acids import RESIDUES
from protemb.sequences.download import Progress, fetch
from protemb.sequences.tables import TableRow, read_table, require_columns

TABLE, README = "fireprotdb.csv", "README.txt"

COPIED = {
    "protein": "pdb_id_corrected",
    "ddG": "ddG",
    "struc": "secondary_structure",
    "uniprot_id": "uniprot_id",
    "protein_name": "protein_name",
    "pH": "pH",
    "tm": "tm",
    "dTm": "dTm",
    "sequence": "pdb_sequence",
    "uniprot_sequence": "sequence",
}
"""Columns of the set that are columns of the source."""

COLUMNS = (
    *("protein", "mutation", "ddG", "struc", "split", "uniprot_id", "protein_name"),
    *("pH", "tm", "dTm", "mutation_uniprot", "sequence", "uniprot_sequence"),
)
NEEDED = ("wild_type", "mutation", "position", "pdb_position", *COPIED.values())

REPOSITORY = "https://github.com/Kuhlman-Lab/ThermoMPNN"
COMMIT = "c6275604f3de8d35d21377ae66e49d3bf7cd5c0f"
RAW = f"https://raw.githubusercontent.com/Kuhlman-Lab/ThermoMPNN/{COMMIT}/"


class Pinned(NamedTuple):
    """A published file: its path at the source, its length and its hash."""

    path: str
    bytes: int
    sha256: str


FILES = (
    Pinned(
        "data_all/training/fireprot_train.csv",
        2068732,
        "1ad709696e4c563cb93301b3c01cd8bd048a64aca1987f646abbae6ff28409e1",
    ),
    Pinned(
        "data_all/training/fireprot_val.csv",
        276460,
        "4688dcb52b75408402d206f8c8b7fa795b640a047e3666ce8184c96e03a1e55b",
    ),
    Pinned(
        "data_all/testing/fireprot_test.csv",
        257907,
        "09e008e139b26286a21e91ae250761c020aa942bdecd04ab7cc188d8af5ca790",
    ),
)

TEXT = """\
FireProtDB: ddG of single substitutions

Origin    {repository}
          commit {commit},
          joined by protemb from the tables in upstream/
Upstream  FireProtDB (Stourac et al. 2021, Nucleic Acids Res 49:D319, doi 10.1093/nar/gkaa981),
          cleaned by Dieckhaus et al. (2024, PNAS, doi 10.1073/pnas.2314853121)
Licence   origin: MIT; the terms of FireProtDB itself are not stated there
Cite      both papers

fireprotdb.csv
  protein           entry of the PDB (pdb_id_corrected)
  mutation          counted from 1 in `sequence`
  ddG               kcal/mol, positive where the mutation destabilises
  struc             secondary structure of the site as DSSP has it; may be empty
  split             the origin's table: train, val or test, parted by homology
  uniprot_id, protein_name, pH, tm, dTm   as the origin has them; may be empty
  mutation_uniprot  the same change, counted from 1 in `uniprot_sequence`
  sequence          of the structure; X where a residue is not resolved
  uniprot_sequence  of the whole UniProt record

The wild type's letter stands at the place of each mutation in both sequences: this was checked
when the table was made. In some rows the place in `uniprot_sequence` has the right letter in
another neighbourhood (the first M of a structure is taken for that of the precursor), so
`mutation` with `sequence` is the safer pair. Few proteins hold many of the rows.

SHA-256
{hashes}
"""


def build_fireprotdb(
    folder: str | os.PathLike[str],
    base_url: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Fetch the pinned tables and join them; return the path of `fireprotdb.csv`.

    `folder` gets `fireprotdb.csv`, `upstream/`, and `README.txt` with source, licence and hashes.
    A set that its README vouches for is left as it is.

    Args:
        folder: Where the set goes.
        base_url: A mirror of the source's folder, instead of the pinned public address.
        progress: Told after every chunk of a download.

    Raises:
        DownloadError: a table cannot be fetched, or is not the pinned one.
        InputError: a row is not what the recipe expects.
    """
    folder = Path(folder)
    table, readme = folder / TABLE, folder / README
    if _is_built(table, readme):
        return table
    base = (base_url or RAW).rstrip("/")
    upstream = [
        fetch(
            f"{base}/{file.path}",
            folder / "upstream" / Path(file.path).name,
            sha256=file.sha256,
            size=file.bytes,
            progress=progress,
        )
        for file in FILES
    ]
    with whole_file(table) as part, open(part, "w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for path in upstream:
            writer.writerows(join_rows(path))
    write_text(readme, _readme(table))
    return table


def join_rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of one published table, by the columns of the set.

    Raises:
        InputError: With the line: a column or residue is missing, or the wild type's residue
            does not stand at its place.
    """
    split = path.stem.rpartition("_")[2]
    for row in read_table(path):
        require_columns(str(path), row.values, NEEDED)
        values = row.values
        kept = {column: values[origin] for column, origin in COPIED.items()}
        kept["split"] = split
        # The source counts from 0 in the structure's sequence, from 1 in UniProt's.
        kept["mutation"] = _mutation(path, row, "pdb_position", "pdb_sequence", first=0)
        kept["mutation_uniprot"] = _mutation(path, row, "position", "sequence", first=1)
        yield kept


def _mutation(path: Path, row: TableRow, place: str, sequence: str, *, first: int) -> str:
    """The mutation as A123G, counted from 1, after looking whether it fits."""
    wild, new = row.values["wild_type"], row.values["mutation"]
    if not (len(wild) == len(new) == 1 and wild in RESIDUES and new in RESIDUES):
        problem = f"got {wild!r} to {new!r}, expected two of the 20 residues"
        raise InputError(str(path), problem, row.line)
    text, chain = row.values[place], row.values[sequence]
    index = int(text) - first if text.isascii() and text.isdigit() else -1
    found = chain[index] if 0 <= index < len(chain) else "nothing"
    if found != wild:
        problem = f"{wild} does not stand at {place} {text!r} of {sequence}: found {found}"
        raise InputError(str(path), problem, row.line)
    return f"{wild}{index + 1}{new}"


def _is_built(table: Path, readme: Path) -> bool:
    try:
        return readme.read_text(encoding="utf-8") == _readme(table)
    except (OSError, ValueError):  # missing or damaged: build it again
        return False


def _readme(table: Path) -> str:
    """The text that vouches for the set as it is, made from the pinned tables."""
    hashes = [(TABLE, hash_file(table))]
    hashes += [(file.path, file.sha256) for file in FILES]
    lines = "\n".join(f"{sha256}  {name}" for name, sha256 in hashes)
    return TEXT.format(repository=REPOSITORY, commit=COMMIT, hashes=lines)
