"""Simulated proteins with host labels, whose answer is known before any model is trained.

Every protein is a random background that holds two copies of a pair of segments,
MNTQILVFIACVLIE and AKGDKICL. What the host decides:

- `human` and `swine` differ only in the order of the segments in a pair. Every human protein
  has a twin in swine: the same background, the pairs at the same places, their segments
  exchanged. Twins have the same residue counts, length, year and group.
- `avian` and `equine` differ from these, and from each other, in the composition of the
  background. The order of their segments is random and says nothing about the host.

The proteins of a host are the tips of many small trees. Each tree is a family: from a random
ancestor, lineages split and collect point mutations in the background, and the years go up from
the root to the tips. Twins are one tip written in two ways. Branches without a mutation leave
identical sequences, about as many as real sets have (a quarter of all records). The group of a
protein is its family; twins are of the same.

The known answer. A model that sees no order (the mean of an embedding table, the composition,
the length) gives twins the same scores, so of two twins at most one is right. Where twins are
evaluated together, as after a split by group or by year:

- human against swine: balanced accuracy 0.5 and AUROC 0.5, exactly, whatever was learned;
- all four hosts: balanced accuracy at most 0.75, reached when avian and equine are always
  recognised.

A model that reads the order can reach 1 in both. A split that parts twins makes order-free
models worse than chance: what they know of a composition is the other twin's label. Residues in
a row tell human from swine as well, as they should: EAK stands where the segments of human
meet, CLM where those of swine do. Counts of 3-mers see that, a mean over residues cannot.

>>> human, swine = "MNTQILVFIACVLIEAKGDKICL", "AKGDKICLMNTQILVFIACVLIE"
>>> sorted(human) == sorted(swine), human == swine
(True, False)
>>> human == SEGMENTS[0] + SEGMENTS[1], swine == SEGMENTS[1] + SEGMENTS[0]
(True, True)
"""

import os
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from protemb.errors import ConfigError
from protemb.files import write_text
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.labels import Rule
from protemb.sequences.source import FileSource

SEGMENTS = ("MNTQILVFIACVLIE", "AKGDKICL")
RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
# A background residue is one letter of its hosts' string, each letter equally likely.
HOSTS = {
    ("human", "swine"): RESIDUES,
    ("avian",): RESIDUES + "AGPST" * 6,
    ("equine",): RESIDUES + "DEKNR" * 6,
}
COPIES = 2  # of the pair of segments
BACKGROUND = (24, 64)  # residues besides the segments
TIPS = 5  # of a whole family
FIRST_YEARS = (2001, 2012)  # of the ancestors
YEARS = (1, 4)  # of one branch
MUTATIONS = (0, 0, 0, 1, 3)  # of one branch, each equally likely


class DemoSource:
    """The simulated set as a source of records: label = host, group = family, and the year."""

    def __init__(self, *, sequences_per_host: int = 300, seed: int = 0) -> None:
        """Choose the size of the set, and which of its random worlds."""
        self.sequences_per_host, self.seed = sequences_per_host, seed

    def load(self, cache_dir: str | os.PathLike[str] | None = None) -> LabelledSet:
        """Simulate the set and read it as a user's FASTA file would be."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "demo.fasta"
            write_demo_fasta(path, self.seed, self.sequences_per_host)
            id_, label, group, year = (Rule(field=i) for i in (1, 2, 3, 4))
            source = FileSource(path, id=id_, label=label, group=group, year=year)
            return source.load(cache_dir)


def write_demo_fasta(
    path: str | os.PathLike[str], seed: int = 0, sequences_per_host: int = 300
) -> None:
    """Write the simulated set as FASTA; the headers hold id|host|family|year."""
    records = demo_records(seed, sequences_per_host)
    write_text(path, "".join(f">{header}\n{sequence}\n" for header, sequence in records))


def demo_records(seed: int = 0, sequences_per_host: int = 300) -> list[tuple[str, str]]:
    """Return (header, sequence) of every record; the same on every machine.

    >>> header, sequence = demo_records()[0]
    >>> header
    'human/001/01/2016|human|family-001|2016'
    """
    for name, value, least in (("sequences_per_host", sequences_per_host, 2), ("seed", seed, 0)):
        if type(value) is not int or value < least:
            raise ConfigError(name, value, f"a whole number from {least} on")
    dice = Dice(seed)
    records: list[tuple[str, str]] = []
    number = 0
    for hosts, letters in HOSTS.items():
        for done in range(0, sequences_per_host, TIPS):
            number += 1
            tips = min(TIPS, sequences_per_host - done)
            records += _family(dice, f"{number:03}", hosts, letters, tips)
    return records


def _family(
    dice: "Dice", name: str, hosts: tuple[str, ...], letters: str, tips: int
) -> list[tuple[str, str]]:
    """Return the records of one family: each tip in every host."""
    length = dice.between(*BACKGROUND)
    places = sorted(dice.between(0, length) for _ in range(COPIES))
    family = grow_family(dice, length, tips, letters)
    # Twins show both orders; any other family shows one of them, whichever.
    orders = (1, -1) if len(hosts) == 2 else (1 - 2 * dice.below(2),)
    records = []
    for host, order in zip(hosts, orders, strict=True):
        pair = "".join(SEGMENTS[::order])
        for tip in family:
            header = f"{host}/{name}/{tip.path}/{tip.year}|{host}|family-{name}|{tip.year}"
            records.append((header, assemble(tip.background, places, pair)))
    return records


def assemble(background: str, places: list[int], insert: str) -> str:
    """Put a copy of `insert` before each of the background's `places` (0-based, sorted).

    >>> assemble("abcd", [1, 4], "--")
    'a--bcd--'
    """
    cuts = [0, *places, len(background)]
    return insert.join(background[cut:stop] for cut, stop in pairwise(cuts))


class Dice:
    """Whole numbers from the raw stream of PCG64, which NumPy promises never to change."""

    def __init__(self, seed: int) -> None:
        self._stream = np.random.PCG64(seed)

    def below(self, bound: int) -> int:
        """Return 0 .. bound - 1; for small bounds the unevenness is far below 1e-15."""
        return int(self._stream.random_raw()) % bound

    def between(self, first: int, last: int) -> int:
        """Return first .. last."""
        return first + self.below(last - first + 1)

    def letter(self, letters: str) -> str:
        """Return one of the letters."""
        return letters[self.below(len(letters))]


@dataclass(frozen=True)
class Tip:
    """The end of a lineage; `path` tells its branches from the root, 0 or 1 at each split."""

    background: str
    year: int
    path: str = ""


def grow_family(dice: Dice, length: int, tips: int, letters: str) -> list[Tip]:
    """Split random lineages, from one random ancestor, until there are enough of them."""
    ancestor = "".join(dice.letter(letters) for _ in range(length))
    lineages = [Tip(ancestor, dice.between(*FIRST_YEARS))]
    while len(lineages) < tips:
        parent = lineages.pop(dice.below(len(lineages)))
        lineages += [_branch(dice, parent, turn, letters) for turn in "01"]
    return lineages


def _branch(dice: Dice, parent: Tip, turn: str, letters: str) -> Tip:
    residues = list(parent.background)
    for _ in range(MUTATIONS[dice.below(len(MUTATIONS))]):
        residues[dice.below(len(residues))] = dice.letter(letters)
    return Tip("".join(residues), parent.year + dice.between(*YEARS), parent.path + turn)
