"""The sequence sets that the benchmarks use, named by where they come from."""

import os
from pathlib import Path
from statistics import NormalDist

import numpy as np

from protemb.sequences.alphabet import AA21
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.fasta import read_fasta
from protemb.sequences.partition import Split
from protemb.sequences.tokens import TokenStore

CLASSES = 6
SHORTEST, MEAN, LONGEST = 30, 375, 5000
# With this spread the longest of a few thousand proteins has about LONGEST residues.
SIGMA = 0.84


def ha_like(records: int) -> tuple[str, LabelledSet]:
    """Proteins of 550 to 566 residues: the real set when PROTEMB_DATA is set, else simulated."""
    rng = np.random.default_rng(0)
    if "PROTEMB_DATA" not in os.environ:
        return "HA-like, simulated", simulated(rng.integers(550, 567, records), rng)
    path = Path(os.environ["PROTEMB_DATA"]) / "influenza_ha_host" / "ha_host.fasta.gz"
    found = {record.sequence.decode() for record in read_fasta(path)}
    whole = sorted(text for text in found if 550 <= len(text) <= 566)
    texts = [whole[i] for i in rng.choice(len(whole), records, replace=False)]
    return "HA, real", labelled(texts, rng)


def proteome_like(records: int) -> tuple[str, LabelledSet]:
    """Lognormal lengths, mean 375, from 30 to 5,000: the quantiles, so every run has the tail."""
    rng = np.random.default_rng(0)
    return "proteome-like, simulated", simulated(proteome_lengths(records, rng), rng)


def proteome_lengths(records: int, rng: np.random.Generator) -> np.ndarray:
    """Lengths of a proteome-like set, in random order."""
    normal = NormalDist(np.log(MEAN) - SIGMA**2 / 2, SIGMA)
    logs = [normal.inv_cdf((i + 0.5) / records) for i in range(records)]
    return rng.permutation(np.exp(logs).astype(int).clip(SHORTEST, LONGEST))


def simulated(lengths_N: np.ndarray, rng: np.random.Generator) -> LabelledSet:
    """Random residues, random labels: speed does not depend on them."""
    return labelled([random_protein(length, rng) for length in lengths_N], rng)


def random_protein(length: int, rng: np.random.Generator) -> str:
    """Residues drawn evenly from the twenty."""
    return AA21.decode(rng.integers(0, 20, length))


def labelled(texts: list[str], rng: np.random.Generator) -> LabelledSet:
    """Give every sequence an id and one of `CLASSES` labels."""
    store = TokenStore.from_sequences((f"protein_{i}", text) for i, text in enumerate(texts))
    return LabelledSet.from_labels(store, [f"host_{c}" for c in rng.integers(0, CLASSES, len(texts))])


def all_for_training(data: LabelledSet) -> Split:
    """A split whose training part is everything."""
    return Split.from_codes(np.zeros(len(data), np.int8), "all", {})
