"""The grid on measured ΔΔG with published weights: the known facts, every named experiment."""

import csv
import gzip
import json
import shutil
from collections import defaultdict

import pyarrow.parquet as pq
import pytest

from protemb.models.pretrained.library import convert

slow = pytest.mark.slow
FIREPROT = "fireprotdb_ddg/fireprot_seed_columns.csv.gz"
S2648 = "s2648_ddg/PoPMuSiC-S2648.tsv.gz"


def result(folder):
    return json.loads((folder / "result.json").read_text())


def width(interval):
    return interval["high"] - interval["low"]


def rows_of(path, delimiter):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def few(rows, protein, length, proteins=4, mutations=5):
    """The first mutations of the first short proteins that have so many."""
    found = defaultdict(list)
    for row in rows:
        if length(row) <= 70:
            found[protein(row)].append(row)
    enough = [own[:mutations] for own in found.values() if len(own) >= mutations]
    assert len(enough) >= proteins
    return [row for own in enough[:proteins] for row in own]


@slow
def test_the_known_facts_of_fireprot(real_data, run_grid, tmp_path):
    """Baseline 0.33 to 0.36 by protein, about 0.47 on random folds; rows are no observations."""
    source = {
        "path": real_data / FIREPROT,
        "mutation": "mutation_pdb_seq",
        "value": "ddG",
        "sequence": "pdb_sequence",
        "covariates": "[struc]",
    }
    options = [f"table.source.{name}={value}" for name, value in source.items()]
    one = ["~encoders.random", "pooling=position", "features=difference", "nested=null"]
    tutorial = ["regressor=mlp50", "folds.count=10", "replicates=200"]
    record = result(run_grid(tmp_path, "table=csv", *options, *one, *tutorial))
    assert record["data"]["rows"] == 3404 and record["data"]["proteins"] == 100
    baseline, leak = record["scores"]["baseline"]["pearson"], record["leak"]
    assert 0.33 < baseline["value"] < 0.36
    assert 0.45 < leak["random"]["value"] < 0.49
    assert 0.37 < leak["identity"]["value"] < 0.45  # nothing but the protein's name: 0.41
    assert leak["rows"]["value"] == pytest.approx(baseline["value"])
    assert width(baseline) > 1.5 * width(leak["rows"])
    assert record["units"]["count"] == record["folds"]["groups"] <= 100


@pytest.fixture(scope="module")
def root(real_data, reference, tmp_path_factory):
    """A user's folder: few rows of both tables, and all the models that the experiment names."""
    root = tmp_path_factory.mktemp("user")
    rows = few(
        rows_of(real_data / FIREPROT, ","),
        lambda row: row["protein"],
        lambda row: len(row["pdb_sequence"]),
    )
    path = root / "data" / "fireprotdb" / "fireprotdb.csv"
    path.parent.mkdir(parents=True)
    names = {"mutation": "mutation_pdb_seq", "sequence": "pdb_sequence"}
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        columns = ("protein", "mutation", "sequence", "ddG", "struc")
        writer.writerow(columns)
        writer.writerows([row[names.get(name, name)] for name in columns] for row in rows)
    rows = few(
        rows_of(real_data / S2648, "\t"),
        lambda row: (row["pdb"], row["chain"]),
        lambda row: len(row["wt_sequence"]),
    )
    path = root / "data" / "s2648" / "PoPMuSiC-S2648.tsv.gz"
    path.parent.mkdir(parents=True)
    with gzip.open(path, "wt", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    for size in ("64", "256", "1900"):
        convert(f"unirep-{size}", root / "models" / f"unirep{size}")
    for name in ("ssa", "ssa_contacts", "ua", "me"):
        source = {"ssa_contacts": "ssa"}.get(name, name)
        convert(reference / "checkpoints" / f"{source}.zip.sav", root / "models" / name)
    return root


EXPERIMENT = ["experiment=fireprot_grid", "nested=null", "features=difference", "pooling=position"]
CONTROLS = {"onehot/table", "blosum62/table", "physchem/table", "random/states"}
UNIREP = {
    *("unirep64/layer1", "unirep64/states", "unirep256/layer1", "unirep256/states"),
    *("unirep1900/states", "unirep1900/cells", "bilstm/table", "bilstm/states"),
}


def levels(folder):
    """Encoder and level of every cell, and which are trained."""
    rows = pq.read_table(folder / "cells.parquet").to_pylist()
    found = {f"{row['encoder']}/{row['level']}": row["trained"] for row in rows if row["encoder"]}
    assert {name for name, trained in found.items() if not trained} == CONTROLS
    return found.keys() - CONTROLS


@slow
@pytest.mark.timeout(900)
def test_the_experiment_on_unirep_and_on_another_table(root, train, run_grid):
    run = train("task=masked_lm", "task.residues=2000", "trainer.max_epochs=1", "replicates=20")
    shutil.copytree(run, root / "models" / "bilstm_astral")
    folder = run_grid(root, *EXPERIMENT, name="fireprotdb")
    assert levels(folder) == UNIREP
    record = result(folder)
    assert record["data"]["rows"] == 20 and record["data"]["name"] == "fireprotdb"
    other = run_grid(root, *EXPERIMENT, "table=s2648", name="s2648")
    assert levels(other) == UNIREP
    assert result(other)["data"]["rows"] == 20 and result(other)["data"]["name"] == "s2648"
    assert (other / "report.html").stat().st_size > 10_000


@slow
def test_the_experiment_on_models_of_bepler_and_berger(root, run_grid):
    options = ["encoders=bepler_berger", "pooling=[mean,last,position]"]
    folder = run_grid(root, *EXPERIMENT[:3], *options, name="bepler_berger")
    found = {f"{name}/{level}" for name in ("ssa", "ssa_contacts", "ua", "me") for level in LEVELS}
    assert levels(folder) == found
    scores = result(folder)["scores"]
    assert len(scores) == 1 + 12 * 3
    # The same weights under two names say the same.
    for level in LEVELS:
        one, other = (scores[f"{name}/{level}/mean/difference"] for name in ("ssa", "ssa_contacts"))
        assert one == other


LEVELS = ("inner", "projection")


def test_a_model_that_is_not_there_is_named(root, grid_config):
    from protemb.apps.variants.run import run
    from protemb.errors import ProtembError

    missing = root / "models" / "nothing"
    with pytest.raises(ProtembError, match="models/nothing"):
        run(grid_config(root, *EXPERIMENT, f"encoders.unirep64.weights={missing}", name="missing"))
