"""The sequence sets that the benchmarks use."""

import os
from functools import cache
from pathlib import Path
from statistics import NormalDist

import numpy as np

from protemb.sequences.alphabet import AA21
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.fasta import read_fasta
from protemb.sequences.tokens import TokenStore

BATCH = 64
CLASSES = 6
HA_LENGTHS = (550, 566)
HA_RECORDS = 8 * BATCH
PROTEOME_RECORDS = 16 * BATCH
# Of the proteome-like set.
SHORTEST, MEAN, LONGEST = 30, 375, 5000
SIGMA = 0.84

SETS = ("HA", "proteome-like")


@cache
def load(name: str) -> LabelledSet:
    """One of `SETS`: influenza hemagglutinins, or proteins of all lengths."""
    rng = np.random.default_rng(0)
    if name == "HA":
        return _hemagglutinins(rng)
    return simulated(proteome_lengths(PROTEOME_RECORDS, rng), rng)


def origin(name: str) -> str:
    """What a reader of the results must know about a set."""
    if name == "HA":
        return "the real sequences" if "PROTEMB_DATA" in os.environ else "simulated, same lengths"
    return f"simulated, lognormal lengths with mean {MEAN}, the longest {LONGEST}"


def _hemagglutinins(rng: np.random.Generator) -> LabelledSet:
    """Distinct real ones when PROTEMB_DATA says where they are."""
    shortest, longest = HA_LENGTHS
    if "PROTEMB_DATA" not in os.environ:
        return simulated(rng.integers(shortest, longest + 1, HA_RECORDS), rng)
    path = Path(os.environ["PROTEMB_DATA"]) / "influenza_ha_host" / "ha_host.fasta.gz"
    texts = sorted({record.sequence.decode() for record in read_fasta(path)})
    whole = [text for text in texts if shortest <= len(text) <= longest]
    return _labelled([whole[i] for i in rng.choice(len(whole), HA_RECORDS, replace=False)], rng)


def proteome_lengths(records: int, rng: np.random.Generator) -> np.ndarray:
    """Lognormal quantiles in random order, the longest one LONGEST: no luck in the tail."""
    normal = NormalDist(np.log(MEAN) - SIGMA**2 / 2, SIGMA)
    logs = [normal.inv_cdf((i + 0.5) / records) for i in range(records)]
    lengths_N = np.exp(logs).astype(int).clip(SHORTEST, LONGEST)
    lengths_N[-1] = LONGEST
    return rng.permutation(lengths_N)


def simulated(lengths_N: np.ndarray, rng: np.random.Generator) -> LabelledSet:
    """Proteins of these lengths, their residues drawn evenly from the twenty."""
    return _labelled([random_protein(int(length), rng) for length in lengths_N], rng)


def random_protein(length: int, rng: np.random.Generator) -> str:
    """One protein's sequence."""
    return AA21.decode(rng.integers(0, 20, length))


def _labelled(texts: list[str], rng: np.random.Generator) -> LabelledSet:
    """With labels drawn at random: speed does not depend on them."""
    store = TokenStore.from_sequences((f"protein_{i}", text) for i, text in enumerate(texts))
    hosts = [f"host_{host}" for host in rng.integers(0, CLASSES, len(texts))]
    return LabelledSet.from_labels(store, hosts)
