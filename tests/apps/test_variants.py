"""The grid of variant effects from end to end, against plain loops of scikit-learn and scipy.

Shape letters: N = rows, L = residues, D = features of a vector, X = columns, G = proteins.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy import stats
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from protemb.analysis.estimates import Estimate
from protemb.errors import CheckpointError, ConfigError
from protemb.intervals import bootstrap_weights
from protemb.models.encoders import RecurrentEncoder
from protemb.models.encoders.fixed import fixed_rows
from protemb.models.pretrained.library import convert
from protemb.sequences.alphabet import AA21
from protemb.sequences.amino_acids import RESIDUES
from protemb.variants.demo import DemoTable

FILES = {"result.json", "predictions.parquet", "cells.parquet", "report.html", "report.md"}
PICTURES = {"cells", "choice", "measured-best", "measured-baseline", "proteins", "alike"}


def result(folder):
    return json.loads((folder / "result.json").read_text())


def columns(folder):
    """Columns of the predictions by name."""
    return {
        name: np.array(column)
        for name, column in pq.read_table(folder / "predictions.parquet").to_pydict().items()
    }


@pytest.fixture(scope="module")
def table():
    return DemoTable(proteins=8, mutations=12).load()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("grid")


@pytest.fixture(scope="module")
def demo(root, run_grid):
    """Folder of the small grid on simulated proteins."""
    return run_grid(root, name="demo")


# The same by hand: each sequence alone, the features of each row, ridge regression by a loop


@cache
def random_network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return RecurrentEncoder(embed_dim=8, hidden_dim=16, bidirectional=True).eval()


def states(encoder, sequence):
    """States_LD of one sequence on its own."""
    if encoder == "physchem":
        return fixed_rows("physchem")[[RESIDUES.index(letter) for letter in sequence]]
    tokens = torch.tensor([[AA21.symbols.index(letter) for letter in sequence]])
    with torch.no_grad():
        return random_network()(tokens, torch.tensor([len(sequence)]), ("states",))["states"][0]


def vector(encoder, sequence, pooling, place):
    states_LD = np.asarray(states(encoder, sequence), np.float64)
    return states_LD.mean(0) if pooling == "mean" else states_LD[place]


def by_hand(table, cell):
    """Columns_NX of the base features and of the vectors, and the same of reverse mutations."""
    letters = [list(RESIDUES)]
    wild_N1, new_N1 = (
        [[getattr(mutation.substitutions[0], side)] for mutation in table.mutations]
        for side in ("wild", "new")
    )
    hot = {
        side: OneHotEncoder(categories=letters, sparse_output=False).fit_transform(column)
        for side, column in (("wild", wild_N1), ("new", new_N1))
    }
    struc = OneHotEncoder(sparse_output=False).fit_transform(table.covariates["struc"][:, None])
    sides = {"direct": ("wild", "new"), "reverse": ("new", "wild")}
    base = {way: np.hstack([struc, *(hot[side] for side in sides[way])]) for way in sides}
    if cell == "baseline":
        return {way: (base[way], np.zeros((len(table), 0))) for way in sides}
    encoder, _, pooling, features = cell.split("/")
    kept = {}

    def pooled(sequence, place):
        key = sequence, place if pooling == "position" else 0
        if key not in kept:
            kept[key] = vector(encoder, sequence, pooling, place)
        return kept[key]

    rows = {"direct": [], "reverse": []}
    for row, mutation in enumerate(table.mutations):
        (place,) = mutation.positions
        wild, variant = pooled(table.wild_type(row), place), pooled(table.variant(row), place)
        for way, (start, end) in (("direct", (wild, variant)), ("reverse", (variant, wild))):
            joined = np.concatenate([start, end]) if features == "concatenated" else end - start
            rows[way].append(joined)
    return {way: (base[way], np.array(rows[way])) for way in sides}


def scaled(train, other):
    """Columns of both sides, the vectors scaled by the training rows; base columns as they are."""
    if not train[1].shape[1]:
        return train[0], other[0]
    scale = StandardScaler().fit(train[1])
    return tuple(np.hstack([base, scale.transform(vectors)]) for base, vectors in (train, other))


def fit_by_hand(parts, target, groups):
    """A ridge regression whose strength does best on groups that it did not see."""
    errors = []
    for alpha in np.logspace(-1, 6, 15):
        error = 0.0
        for inner, held in GroupKFold(min(5, len(set(groups)))).split(parts[0], groups=groups):
            X, Z = scaled([part[inner] for part in parts], [part[held] for part in parts])
            error += ((Ridge(alpha).fit(X, target[inner]).predict(Z) - target[held]) ** 2).sum()
        errors.append((error, alpha))
    model = Ridge(min(errors)[1]).fit(scaled(parts, parts)[0], target)
    return lambda other: model.predict(scaled(parts, other)[1])


def predict_by_hand(table, cell, splits, augment=False):
    """Predictions of rows and of their reverses by models that did not see the row's fold."""
    found = by_hand(table, cell)
    direct, reverse = np.empty(len(table)), np.empty(len(table))
    for seen, held in splits:
        parts = [part[seen] for part in found["direct"]]
        target, groups = table.values_N[seen], table.proteins_N[seen]
        if augment:
            parts = [np.vstack([a, b[seen]]) for a, b in zip(parts, found["reverse"], strict=True)]
            target, groups = np.concatenate([target, -target]), np.concatenate([groups, groups])
        predict = fit_by_hand(parts, target, groups)
        direct[held] = predict([part[held] for part in found["direct"]])
        reverse[held] = predict([part[held] for part in found["reverse"]])
    return direct, reverse


def by_protein(table, folds=4):
    return GroupKFold(folds).split(table.values_N, groups=table.proteins_N)


# What a grid leaves behind


def test_what_is_there(demo, table):
    assert {path.name for path in demo.glob("[!.]*") if path.is_file()} == FILES
    assert (demo / "model" / "regressor.skops").is_file()
    for end in ("svg", "png"):
        assert {path.stem for path in (demo / "report").glob(f"*.{end}")} == PICTURES
    record, found = result(demo), columns(demo)
    cells = {
        f"{encoder}/states/{pooling}/{features}"
        for encoder in ("physchem", "random")
        for pooling in ("mean", "position")
        for features in ("concatenated", "difference")
    }
    assert record["status"] == "done" and record["metric"] == "pearson"
    assert record["scores"].keys() == cells | {"baseline"} == record["antisymmetry"].keys()
    assert record["contrasts"].keys() == cells
    assert record["folds"]["folds"] == 4 and record["folds"]["groups"] == 8
    assert record["data"]["rows"] == len(table) and record["units"] == {"count": 8}
    assert record["data"]["fingerprint"] == table.fingerprint
    assert record["objective"] == max(record["scores"][c]["pearson"]["value"] for c in cells)
    assert record["nested"]["folds"] == 4 and set(record["nested"]["chosen"]) <= cells
    assert found.keys() == cells | {"baseline", "protein", "mutation", "unit", "value"}
    assert found["protein"].tolist() == table.proteins_N.tolist()
    assert found["mutation"].tolist() == list(map(str, table.mutations))
    assert found["value"].tolist() == table.values_N.tolist()
    rows = {row["cell"]: row for row in pq.read_table(demo / "cells.parquet").to_pylist()}
    assert rows.keys() == cells | {"baseline"}
    for name, row in rows.items():
        parts = [row[word] for word in ("encoder", "level", "pooling", "features")]
        assert parts == (name.split("/") if name in cells else [None] * 4)
        assert row["pearson/value"] == record["scores"][name]["pearson"]["value"]
    for sentence in record["verdict"]:
        assert sentence in (demo / "report.md").read_text().replace("\\", "")


@pytest.mark.parametrize(
    "cell",
    [
        "baseline",
        "physchem/states/position/difference",
        "random/states/mean/concatenated",
        "random/states/position/concatenated",
    ],
)
def test_predictions_are_those_of_a_plain_loop(demo, table, cell):
    direct_N, reverse_N = predict_by_hand(table, cell, by_protein(table))
    np.testing.assert_allclose(columns(demo)[cell], direct_N, rtol=0, atol=2e-4)
    found = result(demo)["antisymmetry"][cell]
    tolerance = {"abs": 2e-3}
    r = {
        "direct": stats.pearsonr(table.values_N, direct_N)[0],
        "reverse": stats.pearsonr(-table.values_N, reverse_N)[0],
        "between": stats.pearsonr(direct_N, reverse_N)[0],
        "bias": (direct_N + reverse_N).mean() / 2,
    }
    assert {name: found[name]["value"] for name in r} == pytest.approx(r, **tolerance)


def test_scores_are_those_of_scipy(demo):
    found, record = columns(demo), result(demo)
    values_N, proteins_N = found["value"], found["protein"]
    for cell, scores in record["scores"].items():
        predicted_N = found[cell]
        within = {"pearson": [], "spearman": []}
        for protein in sorted(set(proteins_N)):
            own = proteins_N == protein
            within["pearson"].append(stats.pearsonr(values_N[own], predicted_N[own])[0])
            within["spearman"].append(stats.spearmanr(values_N[own], predicted_N[own])[0])
        expected = {
            "pearson": stats.pearsonr(values_N, predicted_N)[0],
            "spearman": stats.spearmanr(values_N, predicted_N)[0],
            "rmse": ((values_N - predicted_N) ** 2).mean() ** 0.5,
            "mae": abs(values_N - predicted_N).mean(),
            "protein_pearson": np.mean(within["pearson"]),
            "protein_spearman": np.mean(within["spearman"]),
        }
        assert {name: score["value"] for name, score in scores.items()} == pytest.approx(expected)
        assert all(score["low"] <= score["value"] <= score["high"] for score in scores.values())


def test_differences_are_paired_over_proteins(demo):
    """Each draw of proteins scores the cell and the baseline on the same rows."""
    found, record = columns(demo), result(demo)
    group_of_N, draws_RG = bootstrap_weights(found["protein"], replicates=50, seed=0)
    everything_G = np.ones(8)
    left_out_GG = everything_G - np.eye(8)

    def difference(cell, counts_G):
        rows = np.repeat(np.arange(len(group_of_N)), counts_G[group_of_N].astype(int))
        values = found["value"][rows]
        one, other = (stats.pearsonr(values, found[name][rows])[0] for name in (cell, "baseline"))
        return one - other

    p_values = {}
    for cell, contrast in record["contrasts"].items():
        estimate = Estimate(
            difference(cell, everything_G),
            np.array([difference(cell, counts_G) for counts_G in draws_RG]),
            np.array([difference(cell, counts_G) for counts_G in left_out_GG]),
        )
        expected, p_values[cell] = estimate.interval(0.95)
        assert contrast["difference"] == pytest.approx(expected.as_dict(), abs=1e-6)
        assert contrast["p"] == pytest.approx(p_values[cell], rel=1e-4)
    # Holm by hand: the k-th smallest of M times M - k + 1, never below the one before.
    largest = 0.0
    for rank, cell in enumerate(sorted(p_values, key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[cell]))
        assert record["contrasts"][cell]["p_holm"] == pytest.approx(largest, rel=1e-4)


def test_a_cell_that_adds_nothing_differs_by_nothing(root, run_grid, table):
    """The state of the last residue changes where that residue is mutated: hardly anywhere."""
    cell = "physchem/states/last/difference"
    changed = [m.positions[0] == len(table.wild_type(n)) - 1 for n, m in enumerate(table.mutations)]
    assert sum(changed) == 0
    folder = run_grid(root, "~encoders.random", "pooling=last", "features=difference", name="last")
    found, record = columns(folder), result(folder)
    np.testing.assert_allclose(found[cell], found["baseline"], rtol=0, atol=1e-6)
    zero = {"value": 0, "low": 0, "high": 0}
    assert record["contrasts"][cell]["difference"] == pytest.approx(zero, abs=1e-6)
    assert record["nested"] is None  # of one cell there is nothing to choose


def test_the_leak_is_the_same_baseline_on_random_folds(demo, table):
    leak = result(demo)["leak"]
    folds = list(KFold(4, shuffle=True, random_state=0).split(table.values_N))
    expected, _ = predict_by_hand(table, "baseline", folds)
    r = stats.pearsonr(table.values_N, expected)[0]
    assert leak["random"]["value"] == pytest.approx(r, abs=1e-4)
    identity = np.empty(len(table))
    for seen, held in folds:
        for row in held:
            own = [n for n in seen if table.proteins_N[n] == table.proteins_N[row]]
            identity[row] = table.values_N[own if own else seen].mean()
    r = stats.pearsonr(table.values_N, identity)[0]
    assert leak["identity"]["value"] == pytest.approx(r)
    own = result(demo)["scores"]["baseline"]["pearson"]
    assert leak["rows"]["value"] == pytest.approx(own["value"])
    assert leak["rows"]["high"] - leak["rows"]["low"] < own["high"] - own["low"]


# Again, continued, shared


def test_what_is_done_is_not_done_again(demo, root, run_grid, capsys):
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    run_grid(root, name="demo")
    assert capsys.readouterr().out == (f"Done already (resume=never scores it again): {demo}\n")
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*")} == before


def kept(root):
    """What the cache holds, with the time of writing."""
    return {
        path.name: path.stat().st_mtime_ns
        for path in (root / "cache" / "variants" / "predictions").iterdir()
    }


def test_cells_are_computed_once_for_all_commands(demo, root, run_grid):
    before = kept(root)
    assert len(before) >= 9 + 1 + 8  # cells, the baseline on random folds, nested
    small = ["~encoders.physchem", "features=difference"]
    again = run_grid(root, *small, name="part")
    assert kept(root) == before
    for name in ("random/states/mean/difference", "baseline"):
        assert (columns(again)[name] == columns(demo)[name]).all()
    # A pooling more: its own cell and the nested one.
    run_grid(root, *small, "pooling=[mean,position,max]", name="more")
    after = kept(root)
    assert len(after) == len(before) + 2 and before.items() <= after.items()


@pytest.mark.parametrize(
    ("option", "new"),
    [
        ("regressor=random_forest", 3 + 1 + 2),
        ("seeds=[1]", 3 + 1 + 2),
        ("augment=true", 3 + 1 + 2),
        ("table.source.seed=1", 3 + 1 + 2),
        ("folds.count=3", 3 + 1),  # the nested folds are the same
        ("folds.kind=random", 2),  # the baseline on these is there, and so chosen without nesting
        ("replicates=60", 0),
    ],
)
def test_what_decides_the_numbers_is_not_shared(demo, root, run_grid, option, new):
    small = ["~encoders.physchem", "features=difference"]
    run_grid(root, *small, name="part")
    before = kept(root)
    if option == "folds.kind=random":
        small.append("nested=null")
    run_grid(root, *small, option, name="other")
    after = kept(root)
    assert len(after) == len(before) + new and before.items() <= after.items()


# Other ways


def test_random_folds(root, run_grid, table):
    options = ["~encoders.physchem", "features=difference", "folds.kind=random", "nested=null"]
    folder = run_grid(root, *options, name="random")
    record = result(folder)
    folds = KFold(4, shuffle=True, random_state=0).split(table.values_N)
    cell = "random/states/position/difference"
    expected, _ = predict_by_hand(table, cell, folds)
    np.testing.assert_allclose(columns(folder)[cell], expected, rtol=0, atol=2e-4)
    assert record["leak"] is None and record["units"] == {"count": 8}
    assert "random" in (folder / "report.md").read_text()


def test_reverses_in_training_make_a_linear_model_antisymmetric(root, run_grid, table):
    """The training rows are then the same when all are reversed, so the one best line is too."""
    options = ["~encoders.physchem", "pooling=position", "nested=null", "augment=true"]
    folder = run_grid(root, *options, name="augment")
    record = result(folder)
    for name, found in record["antisymmetry"].items():
        assert found["between"]["value"] == pytest.approx(-1, abs=1e-4), name
        assert found["bias"]["value"] == pytest.approx(0, abs=1e-3), name
        assert found["reverse"]["value"] == pytest.approx(found["direct"]["value"], abs=1e-3)
    cell = "random/states/position/difference"
    expected, _ = predict_by_hand(table, cell, by_protein(table), augment=True)
    np.testing.assert_allclose(columns(folder)[cell], expected, rtol=0, atol=2e-4)


# The fitted model


def test_the_fitted_model_is_the_best_cell_fitted_to_all_rows(demo, table):
    from protemb.apps.variants.fitted import load_fitted

    record = result(demo)
    best = max(record["contrasts"], key=lambda name: record["scores"][name]["pearson"]["value"])
    for path in (demo, demo / "model", str(demo)):
        model = load_fitted(path)
        assert model.cell.name == best
    parts = by_hand(table, best)["direct"]
    expected_N = fit_by_hand(parts, table.values_N, table.proteins_N)(parts)
    found_N = model.predict(table.mutations, table.covariates, parts[1].astype(np.float32))
    np.testing.assert_allclose(found_N, expected_N, rtol=0, atol=2e-4)
    assert model.facts["score"] == record["scores"][best]["pearson"]
    assert model.facts["nested_score"] == record["nested"]["honest"]
    assert model.facts["table"] == {"name": "demo", "fingerprint": table.fingerprint}


@pytest.fixture(scope="module")
def models(reference, tmp_path_factory):
    """Two published models, converted."""
    folder = tmp_path_factory.mktemp("models")
    return {
        name: convert(reference / "checkpoints" / f"{name}.zip.sav", folder / name)
        for name in ("ssa", "me")
    }


def test_weights_of_another_encoder_are_refused(root, run_grid, models, tmp_path):
    from protemb.apps.variants.fitted import load_fitted

    moved = tmp_path / "moved"
    here = tmp_path / "here"
    models["ssa"].rename(here)
    options = ["encoders=one", f"encoders.model.weights={here}", "pooling=position"]
    folder = run_grid(root, *options, "features=difference", name="ssa")
    assert load_fitted(folder).cell.encoder == "model"
    here.rename(moved)
    with pytest.raises(CheckpointError):
        load_fitted(folder)
    assert load_fitted(folder, weights=str(moved)).encoder.trained
    with pytest.raises(CheckpointError, match="not the encoder that the model was fitted with"):
        load_fitted(folder, weights=str(models["me"]))


def test_what_is_no_fitted_model_is_refused(demo, tmp_path):
    from protemb.apps.variants.fitted import load_fitted

    with pytest.raises(ConfigError, match="has no weights file"):
        load_fitted(demo, weights="x")
    with pytest.raises(CheckpointError, match="holds no fitted model"):
        load_fitted(tmp_path)
    broken = tmp_path / "model" / "regressor.skops"
    broken.parent.mkdir()
    content = (demo / "model" / "regressor.skops").read_bytes()
    for damaged in (content[:-100], b"", b"PK\x03\x04" + content[4:200]):
        broken.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load_fitted(Path(tmp_path))
