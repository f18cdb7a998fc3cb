"""Embedding, merging, converting and grids of variants, killed at random moments."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from kills import GRID, Job, torment
from started import Started

from protemb.models.pretrained.library import convert

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def source(reference):
    """A published checkpoint of the Bepler-Berger family, small."""
    return reference / "checkpoints" / "scopcm.legacy.sav"


@pytest.fixture(scope="module")
def model(source, tmp_path_factory):
    """Its folder."""
    return convert(source, tmp_path_factory.mktemp("models") / "ssa")


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    """Proteins of all lengths."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("proteins") / "proteins.fasta"
    texts = [
        "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), n)) for n in rng.integers(1, 400, 400)
    ]
    path.write_text("".join(f">P{n}\n{text}\n" for n, text in enumerate(texts)))
    return path


def test_embed(model, fasta, tmp_path):
    def start(root):
        root.mkdir(exist_ok=True)
        command = ["embed", model, fasta, "-o", root / "vectors.h5", "--residues", 900]
        return Started("protemb.cli", *command, session=True)

    def facts(root):
        assert [path.name for path in root.iterdir()] == ["vectors.h5"]
        return (root / "vectors.h5").read_bytes()

    torment(Job(start, facts), tmp_path, kills=35)


def test_merge(model, fasta, tmp_path):
    shards = []
    for number in (1, 2, 3):
        command = ["embed", model, fasta, "-o", tmp_path / "v.h5", "--shard", f"{number}/3"]
        assert Started("protemb.cli", *command).wait() == 0
        shards.append(tmp_path / f"v.{number}-of-3.h5")

    def start(root):
        root.mkdir(exist_ok=True)
        command = ["merge", *shards, "-o", root / "merged.h5"]
        return Started("protemb.cli", *command, session=True)

    def facts(root):
        return (root / "merged.h5").read_bytes()

    torment(Job(start, facts), tmp_path, kills=45)


def test_convert(source, tmp_path):
    def start(root):
        root.mkdir(exist_ok=True)
        return Started("protemb.cli", "convert", source, "-o", root / "ssa", session=True)

    def facts(root):
        return {path.name: path.read_bytes() for path in (root / "ssa").iterdir()}

    torment(Job(start, facts), tmp_path, kills=31)


def test_a_grid_of_variants(tmp_path):

    def start(root):
        return Started("variants.py", *GRID, f"paths.root={root}", session=True)

    def facts(root):
        (folder,) = root.glob("runs/variants/demo/*")
        record = json.loads((folder / "result.json").read_text())
        names = ("status", "scores", "contrasts", "antisymmetry", "leak", "verdict", "objective")
        predictions = pq.read_table(folder / "predictions.parquet").to_pydict()
        return {name: record[name] for name in names}, predictions

    torment(Job(start, facts), tmp_path, kills=15)
