"""Rebuild a public set: influenza A hemagglutinin (HA) proteins labelled with their hosts.

The source publishes phylogenetic trees (Auspice v2 JSON), not sequences: the coding sequence at
the root, and the nucleotide mutations of every branch. Applying the mutations from the root to
a tip gives that tip's coding sequence; without its gaps and translated, it is the protein.

Left out, and counted: tips without a GenBank accession, and tips whose coding sequence is out
of frame or has a stop inside (an insertion was lost when the source aligned it). An accession
that stands in two trees is taken from the first one that gives a protein: the five full trees
come before their compact versions.
"""

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from importlib import resources
from itertools import product
from pathlib import Path

from protemb.errors import InputError
from protemb.files import hash_file, whole_file, write_json, write_text
from protemb.sequences.download import Progress, fetch

FASTA, TABLE, RECORD = "ha_host.fasta", "ha_host.csv", "ha_host.json"
REGIONS = "ha_host.regions.csv"

# NCBI translation table 1; codons in the order TTT, TTC, TTA, TTG, TCT, ...
_RESIDUES = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
CODONS = dict(zip(map("".join, product("TCAG", repeat=3)), _RESIDUES, strict=True))

_ACCESSION = re.compile(r"[A-Z]{1,2}_?[0-9]{5,8}\.[0-9]+")
_MUTATION = re.compile(r"(.)([1-9][0-9]{0,8})(.)")

README = """\
Influenza A hemagglutinin proteins with host labels

Origin    {repository}
          commit {commit},
          rebuilt by protemb from the trees in upstream/ (see ha_host.json for what was kept)
Upstream  GenBank nucleotide records and their host annotation, subsampled by the origin by
          subtype, host, region and year
Licence   origin: MIT, Copyright (c) 2026 jbloomlab; the records are GenBank's: NCBI itself
          places no restriction on them, a submitter may hold rights in a record
Cite      Dadonaite et al. (2026), doi 10.64898/2026.07.17.738765

ha_host.fasta   >accession|strain|subtype|host|host_species; spaces are written as _
ha_host.csv     the same records in the same order, with host order, region, year and tree
ha_host.regions.csv   parts of the protein, in positions of the H3 hemagglutinin of A/Aichi/68
                (signal peptide of 16, HA1 of 329, HA2 of 221 residues): receptor-binding loops
                and helix after Skehel and Wiley (2000), Annu Rev Biochem 69:531; ends of the
                fusion peptide and of the membrane anchor as commonly drawn
"""


@dataclass(frozen=True)
class Protein:
    """One rebuilt record; the fields before `sequence` are the columns of the table."""

    accession: str
    strain: str
    subtype: str
    host: str
    host_species: str
    host_order: str
    region: str
    year: str
    tree: str
    length: int
    sequence: str

    def fasta(self) -> str:
        """Return the record as FASTA, 60 residues per line."""
        names = [self.accession, _one_word(self.strain), self.subtype]
        names += [_one_word(host) or "unknown" for host in (self.host, self.host_species)]
        lines = (self.sequence[i : i + 60] for i in range(0, self.length, 60))
        return "\n".join([">" + "|".join(names), *lines, ""])


def build_influenza_ha(
    folder: str | os.PathLike[str],
    *,
    base_url: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Fetch the pinned trees and rebuild the set; return its FASTA file.

    `folder` gets `ha_host.fasta`, `ha_host.csv`, `README.txt`, `upstream/`, `ha_host.json` with
    counts and hashes, and `ha_host.regions.csv`. A set that the counts' file vouches for is left
    as it is.

    Args:
        folder: Where the set goes.
        base_url: A mirror of the source's folder, instead of the pinned public address.
        progress: Told after every chunk of a download.

    Raises:
        DownloadError: a tree cannot be fetched, or is not the pinned one.
        InputError: a tree is not what the recipe expects.
    """
    folder, source = Path(folder), load_source()
    if not _is_built(folder, source["commit"]):
        base = (base_url or source["raw"]).rstrip("/")
        trees = [
            fetch(
                f"{base}/{file['path']}",
                folder / "upstream" / Path(file["path"]).name,
                sha256=file["sha256"],
                size=file["bytes"],
                progress=progress,
            )
            for file in source["files"]
        ]
        proteins, counts = rebuild(trees)
        _write(folder, proteins)
        write_text(folder / "README.txt", README.format(**source))
        hashes = {name: hash_file(folder / name) for name in (FASTA, TABLE)}
        record = {"commit": source["commit"], "counts": counts, "sha256": hashes}
        write_json(folder / RECORD, record)
    if not (folder / REGIONS).exists():
        regions = resources.files("protemb.sequences").joinpath("ha_regions.csv")
        write_text(folder / REGIONS, regions.read_text("utf-8"))
    return folder / FASTA


def load_source() -> dict:
    """Return the pinned source: repository, commit, address, and each file's size and hash."""
    text = resources.files("protemb.sequences").joinpath("sources.json").read_text("utf-8")
    return json.loads(text)["influenza_ha"]


def _is_built(folder: Path, commit: str) -> bool:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        hashes = {name: hash_file(folder / name) for name in (FASTA, TABLE)}
        return record["commit"] == commit and record["sha256"] == hashes
    except (OSError, ValueError, KeyError, TypeError):  # missing or damaged: build it again
        return False


def rebuild(trees: Iterable[Path]) -> tuple[list[Protein], dict[str, int]]:
    """Return the proteins of all trees, sorted by tree and accession, and counts of all tips."""
    kept: dict[str, Protein] = {}
    counts = Counter(
        dict.fromkeys(
            ["records", "without_accession", "broken_frame", "repeated", "repeated_differently"], 0
        )
    )
    for path in trees:
        tree = _tree_name(path)
        for tip, nucleotides in walk_tips(path):
            accession = tip["accession"]
            protein = translate(nucleotides.replace("-", ""))
            if not _ACCESSION.fullmatch(accession):
                counts["without_accession"] += 1
            elif protein is None:
                counts["broken_frame"] += 1
            elif accession in kept:
                counts["repeated"] += 1
                counts["repeated_differently"] += kept[accession].sequence != protein
            else:
                counts["records"] += 1
                kept[accession] = _protein(tip, tree, protein)
    return sorted(kept.values(), key=lambda p: (int(p.tree[1:]), p.accession)), dict(counts)


def _protein(tip: dict[str, str], tree: str, sequence: str) -> Protein:
    return Protein(
        accession=tip["accession"],
        strain=tip.get("strain", ""),
        subtype=tip.get("subtype", ""),
        host=tip.get("host_general", ""),
        host_species=tip.get("host_specific", ""),
        host_order=tip.get("host_order", ""),
        region=tip.get("region", ""),
        year=tip.get("num_date", "")[:4],
        tree=tree,
        length=len(sequence),
        sequence=sequence,
    )


def walk_tips(path: Path) -> Iterator[tuple[dict[str, str], str]]:
    """Yield the attributes and the aligned coding sequence of each tip, depth first.

    Raises:
        InputError: the file is no such tree, or a mutation does not fit the sequence it is
            applied to.
    """
    try:
        document = json.loads(path.read_bytes())
        root, nucleotides = document["tree"], document["root_sequence"]["nuc"]
        stack = [(root, list(nucleotides))]
        while stack:
            node, parent = stack.pop()
            sequence = parent.copy()
            branch = node.get("branch_attrs", {}).get("mutations", {})
            for mutation in branch.get("nuc", []):
                _mutate(sequence, mutation, str(path), node["name"])
            children = node.get("children", [])
            stack.extend((child, sequence) for child in reversed(children))
            if not children:
                yield _attributes(node), "".join(sequence)
    except json.JSONDecodeError as error:
        raise InputError(str(path), f"not JSON: {error.msg}", error.lineno) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise InputError(str(path), "not a JSON text that can be read") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(str(path), "not an Auspice v2 tree with a root sequence") from error


def _attributes(node: dict) -> dict[str, str]:
    """A node's filled attributes as text; where it has no accession, its name stands in.

    >>> _attributes({"name": "CY1", "node_attrs": {"num_date": {"value": 1978.5}, "host": ""}})
    {'accession': 'CY1', 'num_date': '1978.5'}
    """
    found = {"accession": str(node["name"])}
    for name, value in node["node_attrs"].items():
        if isinstance(value, dict):
            value = value.get("value")
        if value:
            found[name] = str(value)
    return found


def _mutate(sequence: list[str], mutation: str, source: str, node: str) -> None:
    """Apply one mutation such as A19G (1-based) in place."""
    match = _MUTATION.fullmatch(mutation)
    if match is None:
        problem = f"got mutation {mutation!r}, expected one like 'A19G'"
        raise InputError(source, problem, record=node)
    base, position, new = match.groups()
    found = sequence[int(position) - 1 : int(position)]
    if found != [base]:
        problem = f"mutation {mutation} does not fit: found {''.join(found) or 'no base'} there"
        raise InputError(source, problem, record=node)
    sequence[int(position) - 1] = new


def translate(coding: str) -> str | None:
    """Return the protein of a coding sequence without gaps; None when its frame is broken.

    One stop at the end is left out; a codon with an ambiguous base reads as X.

    >>> translate("ATGAANTGGTAA"), translate("ATGTAATGG"), translate("ATGT")
    ('MXW', None, None)
    """
    if len(coding) % 3:
        return None
    codons = (coding[i : i + 3] for i in range(0, len(coding), 3))
    protein = "".join(CODONS.get(codon, "X") for codon in codons).removesuffix("*")
    return None if "*" in protein else protein


def _tree_name(path: Path) -> str:
    """The hemagglutinin type in a tree's file name.

    >>> _tree_name(Path("flu-ha-mhcii-usage-trees_H5-compact.json"))
    'H5'
    """
    match = re.search(r"_(H[0-9]+)", path.name)
    if match is None:
        raise InputError(str(path), "expected a file name with the tree's type, such as _H5")
    return match[1]


def _one_word(text: str) -> str:
    """Make text safe between the bars of a header.

    >>> _one_word("A/northern pintail|1")
    'A/northern_pintail_1'
    """
    return re.sub(r"[|\s]+", "_", text)


def _write(folder: Path, proteins: list[Protein]) -> None:
    with whole_file(folder / FASTA) as part, open(part, "w", encoding="utf-8", newline="") as out:
        out.writelines(protein.fasta() for protein in proteins)
    columns = [field.name for field in fields(Protein) if field.name != "sequence"]
    with whole_file(folder / TABLE) as part, open(part, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([getattr(protein, name) for name in columns] for protein in proteins)
