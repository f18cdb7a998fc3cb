"""The grid on tables of whole proteins: classes, or numbers, and no mutations.

Shape letters: N = proteins, S = seeds, C = classes.
"""

import csv
import json
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from protemb.apps.variants.fitted import load_fitted
from protemb.apps.variants.scoring import Scorer, is_bare, trivial_predictions
from protemb.errors import CheckpointError, ConfigError
from protemb.models.pretrained.library import convert
from protemb.sequences.fasta import read_fasta
from protemb.variants.demo import DemoTable
from protemb.variants.reading import TableSource
from protemb.variants.strengths import INVERSES

PLACES = {"Cell.membrane": "membrane", "Cytoplasm": "cytoplasm", "Extracellular": "secreted"}
LONGEST = 250
SIZES = {"membrane": 15, "cytoplasm": 30, "secreted": 40}


@pytest.fixture(scope="module")
def path(real_data, tmp_path_factory):
    """A table as a user would write it: short proteins of DeepLoc, where they are, their length."""
    counts = Counter()
    source = real_data / "deeploc_localization" / "deeploc_our_val_set.fasta.gz"
    path = tmp_path_factory.mktemp("table") / "places.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["protein", "sequence", "label", "length", "kingdom"])
        for header, sequence, _ in read_fasta(source):
            name, place = header.split()[:2]
            place = PLACES.get(place.rsplit("-", 1)[0])
            if place and len(sequence) < LONGEST and counts[place] < SIZES[place]:
                counts[place] += 1
                row = [name, sequence.decode(), place, len(sequence), f"k{counts[place] % 3}"]
                writer.writerow(row)
    assert counts == SIZES
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("labels")


@pytest.fixture(scope="module")
def unirep(tmp_path_factory):
    return convert("unirep-64", tmp_path_factory.mktemp("models") / "unirep64")


def options(path, *more):
    """Whole proteins: the mean of their states, and nothing of a variant."""
    given = {item.partition("=")[0] for item in more}
    usual = ("regressor=logistic", "features=wild_type", "pooling=mean")
    usual = [item for item in usual if item.partition("=")[0] not in given]
    return ["table=labels", f"table.source.path={path}", *usual, *more]


@pytest.fixture(scope="module")
def labels(path, root, unirep, run_grid):
    """Folder of the grid on labels: UniRep, one-hot letters and a random network."""
    more = ("encoders=demo", "~encoders.physchem", f"+encoders.unirep64.weights={unirep}")
    return run_grid(root, *options(path, "seeds=[0,1]", "folds.count=5", *more), name="labels")


def result(folder):
    return json.loads((folder / "result.json").read_text())


def predicted_NC(rows, cell, names):
    return np.stack([rows[f"{cell} p({name})"] for name in names], axis=1)


NAMES = sorted(SIZES)
CELLS = ("unirep64/average/mean/wild_type", "onehot/states/mean/wild_type")


def test_scores_are_those_of_sklearn(labels, path):
    """Of the predictions in the file, which are out of folds of whole proteins."""
    rows, found = pq.read_table(labels / "predictions.parquet").to_pydict(), result(labels)
    assert found["metric"] == "balanced_accuracy" and found["folds"]["folds"] == 5
    true = np.array(rows["label"])
    with open(path) as file:
        assert true.tolist() == [row["label"] for row in csv.DictReader(file)]
    assert rows["mutation"] == [""] * len(true)
    truth = np.searchsorted(NAMES, true)
    for cell in CELLS:
        p_NC = predicted_NC(rows, cell, NAMES)
        assert p_NC.sum(1) == pytest.approx(1)
        guess = p_NC.argmax(1)
        # Logistic regression is the same for every seed, so the mean has each seed's scores.
        expected = {
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, guess),
            "accuracy": metrics.accuracy_score(truth, guess),
            "macro_f1": metrics.f1_score(truth, guess, average="macro"),
            "mcc": metrics.matthews_corrcoef(truth, guess),
            "log_loss": metrics.log_loss(truth, p_NC / p_NC.sum(1, keepdims=True)),
        }
        assert found["scores"][cell].keys() == expected.keys()
        for name, score in expected.items():
            assert found["scores"][cell][name]["value"] == pytest.approx(score), name


def test_predictions_are_those_of_a_plain_loop(labels, path):
    """Composition of the protein (one-hot letters, averaged) with one of the known strengths."""
    rows = pq.read_table(labels / "predictions.parquet").to_pydict()
    with open(path) as file:
        table = list(csv.DictReader(file))
    letters = "".join(sorted({letter for row in table for letter in row["sequence"]} - {"X", "U"}))
    X_N20 = [[row["sequence"].count(x) / len(row["sequence"]) for x in letters] for row in table]
    X_N20, y_N = np.array(X_N20), np.array(rows["label"])
    groups_N = np.array([row["protein"] for row in table])
    p_NC = predicted_NC(rows, CELLS[1], NAMES)
    for train, held_out in GroupKFold(5).split(X_N20, groups=groups_N):
        scaler = StandardScaler().fit(X_N20[train])
        guesses = [
            LogisticRegression(C=strength, max_iter=1000)
            .fit(scaler.transform(X_N20[train]), y_N[train])
            .predict_proba(scaler.transform(X_N20[held_out]))
            for strength in INVERSES
        ]
        gaps = [np.abs(guess - p_NC[held_out]).max() for guess in guesses]
        assert min(gaps) < 1e-3 < sorted(gaps)[1]


def test_the_baseline_is_the_majority(labels):
    found = result(labels)
    rows = pq.read_table(labels / "predictions.parquet").to_pydict()
    shares = [SIZES[name] / sum(SIZES.values()) for name in NAMES]
    assert predicted_NC(rows, "baseline", NAMES) == pytest.approx(
        np.tile(shares, (sum(SIZES.values()), 1))
    )
    baseline = found["scores"]["baseline"]
    third = pytest.approx(1 / 3)
    assert baseline["balanced_accuracy"] == {"value": third, "low": third, "high": third}
    assert baseline["accuracy"]["value"] == pytest.approx(max(shares))
    for name, contrast in found["contrasts"].items():
        score = found["scores"][name]["balanced_accuracy"]
        for end in ("value", "low", "high"):
            gap = contrast["difference"][end] - (score[end] - 1 / 3)
            assert gap == pytest.approx(0, abs=1e-9)
    first = found["verdict"][0]
    assert first.startswith(
        "Without any vectors there is only the majority to say, secreted: balanced accuracy 0.333. "
        "Cells were scored in 5 folds by protein. "
    )
    assert found["contrasts"]["unirep64/average/mean/wild_type"]["corrected"]["low"] > 0


def test_what_labels_have_not(labels):
    """No reverses, nested folds, leak or fitted model; the report says nothing of them."""
    found = result(labels)
    assert (found["antisymmetry"], found["leak"], found["nested"]) == ({}, None, None)
    with pytest.raises(CheckpointError):
        load_fitted(labels)
    text = (labels / "report.md").read_text()
    assert "what the baseline reads: nothing." in text and "cytoplasm 30" in text
    for absent in ("## Protein by protein", "## What is the choice", "reverse", "nested"):
        assert absent not in text
    assert (labels / "report.html").exists() and (labels / "cells.parquet").exists()


def test_values_of_whole_proteins(path, root, run_grid):
    """A baseline with nothing to read ranks nothing: every r is held against 0."""
    more = ("table.source.label=null", "table.source.value=length", "regressor=ridge")
    folder = run_grid(root, *options(path, *more, "pooling=[mean,max]"), name="values")
    found, rows = result(folder), pq.read_table(folder / "predictions.parquet").to_pydict()
    value_N = np.array(rows["value"])
    assert rows["baseline"] == pytest.approx(np.full(len(value_N), value_N.mean()))
    zero = {"value": 0, "low": 0, "high": 0}
    assert found["scores"]["baseline"]["pearson"] == zero
    assert found["scores"]["baseline"]["rmse"]["value"] == pytest.approx(value_N.std())
    assert len(found["contrasts"]) > 2 and found["leak"] is None
    for name, contrast in found["contrasts"].items():
        r = stats.pearsonr(rows[name], value_N)[0]
        assert contrast["difference"]["value"] == pytest.approx(r)
    assert "its Pearson's r counts as 0" in found["verdict"][0]
    assert not any("random folds" in said for said in found["verdict"])
    assert found["nested"]["folds"] == 4
    text = (folder / "report.md").read_text()
    assert "mutations of one protein" not in text and "## Protein by protein" in text


def test_covariates_make_a_baseline_of_their_own(path, root, run_grid):
    more = ("table.source.covariates=[kingdom]", "pooling=max")
    folder = run_grid(root, *options(path, *more), name="covariates")
    found, rows = result(folder), pq.read_table(folder / "predictions.parquet").to_pydict()
    p_NC = predicted_NC(rows, "baseline", NAMES)
    assert len(np.unique(p_NC.round(6), axis=0)) > 2
    assert found["verdict"][0].startswith("Without any vectors the baseline has balanced accuracy ")
    assert "what the baseline reads: covariates." in (folder / "report.md").read_text()


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("features=[wild_type,difference]", "features: got 'difference', expected wild_type"),
        ("pooling=[mean,position]", "pooling: got 'position'"),
        ("regressor=ridge", "regressor: got 'ridge', expected one of logistic"),
    ],
)
def test_what_whole_proteins_have_not_is_refused(path, root, run_grid, option, says):
    with pytest.raises(ConfigError) as refused:
        run_grid(root, *options(path, option), name="refused")
    assert says in str(refused.value)


def test_tables_with_anything_to_read_are_not_bare(path):
    source = {"path": str(path), "sequence": "sequence", "mutation": None, "label": "label"}
    assert is_bare(TableSource(**source).load())
    assert not is_bare(TableSource(**source, covariates=["kingdom"]).load())
    assert not is_bare(DemoTable(proteins=2, mutations=3).load())


def test_weights_of_rows_count_in_scores_of_labels(path, tmp_path):
    """A row of weight two counts as two rows of its group do."""
    with open(path) as file:
        table = list(csv.DictReader(file))
    for number, row in enumerate(table):
        row |= {"weight": 1 + number % 3, "family": f"f{number % 20}"}
    copies = [
        row | {"protein": f"{row['protein']}/{copy}", "weight": 1}
        for row in table
        for copy in range(row["weight"])
    ]
    loaded = []
    for name, rows in (("weighted", table), ("copied", copies)):
        with open(tmp_path / f"{name}.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        source = TableSource(
            path=str(tmp_path / f"{name}.csv"),
            mutation=None,
            label="label",
            sequence="sequence",
            weight="weight",
            group="family",
        )
        loaded.append(source.load())
    weighted, copied = loaded
    scores_SNC = np.random.default_rng(0).dirichlet(np.ones(3), (2, len(weighted)))
    copies_SNC = np.repeat(scores_SNC, weighted.weights_N.astype(int), axis=1)
    one, two = Scorer(weighted, weighted.groups_N, 30), Scorer(copied, copied.groups_N, 30)
    for metric in ("balanced_accuracy", "log_loss", "mcc"):
        a, b = one.estimate(scores_SNC, metric), two.estimate(copies_SNC, metric)
        assert a.value == pytest.approx(b.value)
        for name in ("replicates_R", "left_out_G"):
            assert getattr(a, name) == pytest.approx(getattr(b, name))
    # And in what can be said without looking.
    alike = trivial_predictions(weighted, 1)[0, 0], trivial_predictions(copied, 1)[0, 0]
    assert alike[0] == pytest.approx(alike[1]) and alike[0].sum() == pytest.approx(1)
