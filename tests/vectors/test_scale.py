"""Fifty thousand sequences from FASTA to a merged table: what one more costs in memory.

`benchmarks/scale.py` has the same stages at ten million; docs/scaling.md says what each may take.
"""

import tracemalloc

import numpy as np
import pytest

from protemb.models.encoders import TableEncoder
from protemb.models.loading import make_embedder
from protemb.sequences.alphabet import AA21
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.reading import Shard, read_to
from protemb.sequences.splits import UniqueSplit
from protemb.vectors.formats.rows import TableReader, VectorWriter
from protemb.vectors.job import EmbedJob
from protemb.vectors.merging import merge

pytestmark = pytest.mark.slow

FEW, MANY = 5_000, 50_000
BLOCK = 4096
# Bytes of Python and numpy for one more sequence; files that are mapped do not count.
LIMITS = {"store": 60, "split": 185, "plan": 55, "compute": 5, "write": 10, "merge": 30}


def write_fasta(path, records):
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8)
    with path.open("wb") as file:
        for number, length in enumerate(rng.integers(10, 41, records).tolist()):
            text = letters[rng.integers(20, size=length)].tobytes()
            file.write(b">protein/%d\n%s\n" % (number, text))
    return path


def write_vectors(path, reading, log, facts):
    store = reading.store
    with VectorWriter(path, facts) as writer:
        for start in range(0, len(store), BLOCK):
            here = slice(start, min(start + BLOCK, len(store)))
            ids = [store.id(record) for record in range(here.start, here.stop)]
            rows = log.vectors(store.sequence_of_N[here])
            writer.append(ids, rows, None, reading.places_N[here])


def peaks(folder, records):
    """Peak bytes of every stage; the merged table is compared with the whole one on the way."""
    found = {}

    def traced(stage, work, *arguments):
        tracemalloc.start()
        result = work(*arguments)
        found[stage] = max(found.get(stage, 0), tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        return result

    fasta = str(write_fasta(folder / "p.fasta", records))
    embedder = make_embedder(TableEncoder(), "table", "mean")
    tables = []
    for shard in (None, Shard(1, 2), Shard(2, 2)):
        name = str(shard).replace("/", "-of-")
        reading = traced("store", read_to, folder / name, fasta, AA21, None, None, shard)
        job = traced("plan", EmbedJob, embedder, reading.store, 8192)
        with traced("plan", job.open_log, folder / f"{name}.log") as log:
            traced("compute", job.run, log, lambda _: None)
            facts = {
                "shard": str(shard),
                "layout": "table",
                "records_known": reading.report["records_known"],
            }
            tables.append(folder / f"{name}.h5")
            traced("write", write_vectors, tables[-1], reading, log, facts)
        if shard is None:
            labels_N = np.arange(records) % 5
            data = LabelledSet(reading.store, labels_N, tuple("abcde"), fingerprint="drawn")
            split = traced("split", UniqueSplit().split, data)
            assert sum(map(len, split.parts.values())) == records
    assert traced("merge", merge, tables[1:], folder / "merged.h5") == records
    with TableReader(tables[0]) as whole, TableReader(folder / "merged.h5") as merged:
        ids, vectors_ND, _ = whole.block(0, records)
        again, merged_ND, _ = merged.block(0, records)
    assert ids == again == [f"protein/{number}" for number in range(records)]
    np.testing.assert_allclose(merged_ND, vectors_ND, rtol=1e-5, atol=1e-6)
    return found


@pytest.fixture(scope="module")
def growth(tmp_path_factory):
    peaks(tmp_path_factory.mktemp("first"), 100)  # imports, and what libraries keep
    few, many = (peaks(tmp_path_factory.mktemp("scale"), records) for records in (FEW, MANY))
    return {stage: (many[stage] - few[stage]) / (MANY - FEW) for stage in LIMITS}


@pytest.mark.parametrize("stage", LIMITS)
def test_memory_for_one_more_sequence(growth, stage):
    assert growth[stage] < LIMITS[stage], growth
