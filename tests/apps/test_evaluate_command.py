"""`protemb evaluate` as people type it, on real proteins, against scikit-learn and scipy.

Shape letters: N = proteins, A = the 20 residues, S = seeds, C = classes.
"""

import csv
import json
from collections import Counter

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from protemb import cli
from protemb.apps.variants.scoring import MOST_UNITS, Scorer
from protemb.sequences.amino_acids import RESIDUES
from protemb.sequences.fasta import read_fasta
from protemb.vectors.table import VectorTable

PLACES = {"Cell.membrane": "membrane", "Cytoplasm": "cytoplasm", "Extracellular": "secreted"}
EACH = 40


@pytest.fixture(scope="module")
def proteins(real_data):
    """DeepLoc's own validation proteins: id, place and amino-acid composition."""
    found, counts = [], Counter()
    path = real_data / "deeploc_localization" / "deeploc_our_val_set.fasta.gz"
    for header, sequence, _ in read_fasta(path):
        name, place = header.split()[:2]
        place = PLACES.get(place.rsplit("-", 1)[0])
        if place and counts[place] < EACH:
            counts[place] += 1
            letters = sequence.decode()
            share_A = [letters.count(residue) / len(letters) for residue in RESIDUES]
            row = {"id": name, "place": place, "length": len(letters)}
            # As a user's clusters might be: sets of different sizes.
            row["family"] = f"f{int(len(found) ** 0.75)}"
            found.append((row, share_A))
    assert set(counts.values()) == {EACH}
    return found


@pytest.fixture(scope="module")
def folder(proteins, tmp_path_factory):
    """Vectors with and without labels in several formats, and a table in another order."""
    root = tmp_path_factory.mktemp("evaluate")
    rows = [row for row, _ in proteins]
    ids, vectors_NA = [row["id"] for row in rows], np.array([share_A for _, share_A in proteins])
    for suffix in ("h5", "parquet", "npz"):
        VectorTable(ids, vectors_NA).write(root / f"plain.{suffix}")
    VectorTable(ids, vectors_NA, [row["place"] for row in rows]).write(root / "labelled.h5")
    write_rows(root / "table.csv", rows[::-1])
    return root


def write_rows(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def evaluate(root, *arguments, out="result.json"):
    """What the command writes; names of files are in the folder."""
    words = [str(root / each) if "." in str(each) else str(each) for each in arguments]
    cli.main(["evaluate", *words, "--replicates", "60", "-o", str(root / out)])
    return json.loads((root / out).read_text())


def columns(proteins, name):
    return np.array([row[name] for row, _ in proteins])


def sklearn_folds(groups_N, folds):
    fold_N = np.zeros(len(groups_N), int)
    for fold, (_, held_out) in enumerate(GroupKFold(folds).split(groups_N, groups=groups_N)):
        fold_N[held_out] = fold
    return fold_N


def test_labels_are_scored_as_by_sklearn(proteins, folder, capsys):
    options = ("--label", "place", "--group", "family", "--regressor", "random_forest")
    more = ("--folds", 4, "--seeds", "3,1")
    found = evaluate(folder, "plain.h5", "table.csv", *options, *more)
    X_NA = np.array([share_A for _, share_A in proteins], np.float32)
    names, y_N = np.unique(columns(proteins, "place"), return_inverse=True)
    groups_N = columns(proteins, "family")
    predicted_SNC = [
        cross_val_predict(
            make_pipeline(StandardScaler(), RandomForestClassifier(random_state=seed)),
            X_NA,
            y_N,
            groups=groups_N,
            cv=GroupKFold(4),
            method="predict_proba",
        )
        for seed in (3, 1)
    ]
    scores = {
        "balanced_accuracy": lambda p_NC: metrics.balanced_accuracy_score(y_N, p_NC.argmax(1)),
        "accuracy": lambda p_NC: metrics.accuracy_score(y_N, p_NC.argmax(1)),
        "macro_f1": lambda p_NC: metrics.f1_score(y_N, p_NC.argmax(1), average="macro"),
        "mcc": lambda p_NC: metrics.matthews_corrcoef(y_N, p_NC.argmax(1)),
        "log_loss": lambda p_NC: metrics.log_loss(y_N, p_NC.clip(np.finfo(float).eps)),
    }
    assert found["scores"].keys() == scores.keys() == found["trivial"].keys()
    for name, score in scores.items():
        expected = np.mean([score(p_NC) for p_NC in predicted_SNC])
        assert found["scores"][name]["value"] == pytest.approx(expected, abs=1e-6), name
        assert found["scores"][name]["low"] < expected < found["scores"][name]["high"]
    made = found["predictions"]
    assert made["predicted"] == pytest.approx(np.mean(predicted_SNC, axis=0), abs=1e-9)
    assert made["id"] == columns(proteins, "id").tolist()
    assert made["group"] == groups_N.tolist()
    assert made["fold"] == sklearn_folds(groups_N, 4).tolist()
    # A constant: every class the same share, so the majority is right once in three classes.
    assert found["trivial"]["balanced_accuracy"]["value"] == pytest.approx(1 / 3)
    assert found["trivial"]["log_loss"]["value"] == pytest.approx(np.log(3))
    gain = found["scores"]["balanced_accuracy"]["value"] - 1 / 3
    assert found["difference"]["value"] == pytest.approx(gain)
    assert found["difference"]["low"] > 0 and found["outcome"] == "above" and found["p"] < 0.01
    assert found["classes"] == dict.fromkeys(names.tolist(), EACH)
    said = capsys.readouterr().out
    assert found["said"] in said and "above the majority class, cytoplasm (0.333)" in said
    shown = found["scores"]["balanced_accuracy"]
    assert f"{shown['value']:.3f} [{shown['low']:.3f}, {shown['high']:.3f}]" in said
    families = len(set(groups_N.tolist()))
    assert f"120 vectors of 20 numbers, 120 of them distinct; {families} groups (by family)" in said
    assert found["groups"] == families and found["seeds"] == [3, 1] and found["folds"] == 4


def test_values_are_scored_as_by_sklearn(proteins, folder, capsys):
    options = ("--value", "length", "--group", "family", "--regressor", "hist_gbdt")
    found = evaluate(folder, "plain.parquet", "table.csv", *options, "--folds", 5, "--seeds", "0")
    X_NA = np.array([share_A for _, share_A in proteins], np.float32)
    y_N, groups_N = columns(proteins, "length").astype(float), columns(proteins, "family")
    model = make_pipeline(StandardScaler(), HistGradientBoostingRegressor(random_state=0))
    predicted_N = cross_val_predict(model, X_NA, y_N, groups=groups_N, cv=GroupKFold(5))
    expected = {
        "pearson": stats.pearsonr(y_N, predicted_N)[0],
        "spearman": stats.spearmanr(y_N, predicted_N)[0],
        "rmse": metrics.root_mean_squared_error(y_N, predicted_N),
        "mae": metrics.mean_absolute_error(y_N, predicted_N),
    }
    for name, score in expected.items():
        assert found["scores"][name]["value"] == pytest.approx(score, abs=1e-5), name
    assert found["predictions"]["predicted"] == pytest.approx(predicted_N, rel=1e-5)
    assert found["values"] == y_N.tolist()
    # The mean has errors, but no correlation; r itself is held against 0.
    assert found["trivial"].keys() == {"rmse", "mae"}
    assert found["trivial"]["rmse"]["value"] == pytest.approx(y_N.std())
    assert found["difference"] == found["scores"]["pearson"]
    said = capsys.readouterr().out
    assert "undefined" in said and "within groups" not in said  # no family has ten proteins


def test_scores_within_large_groups(proteins, folder):
    """Families of ten and more have a correlation of their own."""
    rows = [row | {"half": f"h{number % 4}"} for number, (row, _) in enumerate(proteins)]
    write_rows(folder / "halves.csv", rows)
    options = ("--value", "length", "--group", "half", "--folds", 4, "--seeds", "0")
    found = evaluate(folder, "plain.h5", "halves.csv", *options)
    predicted_N, half_N = np.array(found["predictions"]["predicted"]), np.arange(len(rows)) % 4
    y_N = columns(proteins, "length")
    each = [stats.pearsonr(y_N[half_N == h], predicted_N[half_N == h])[0] for h in range(4)]
    assert found["scores"]["protein_pearson"]["value"] == pytest.approx(np.mean(each))
    assert found["regressor"] == "ridge"


def test_stored_labels_and_formats(folder):
    """Labels inside the vectors, or beside them; every format says the same."""
    options = ("--folds", 3, "--seeds", "0")
    stored = evaluate(folder, "labelled.h5", *options)
    beside = evaluate(folder, "labelled.h5", "table.csv", *options)
    told = [
        evaluate(folder, f"plain.{suffix}", "table.csv", "--label", "place", *options)
        for suffix in ("h5", "npz")
    ]
    for other in (beside, *told):
        for name in ("scores", "predictions", "difference", "labels"):
            assert other[name] == stored[name]
    assert stored["regressor"] == "logistic" and stored["files"].keys() == {"vectors"}


def test_equal_vectors_are_a_group(proteins, folder, tmp_path):
    """Every protein twice, under two names: no better known, nor is the interval narrower."""
    rows = [row for row, _ in proteins]
    vectors_NA = np.array([share_A for _, share_A in proteins])
    # Signs of zeros are no difference.
    again_NA = np.where(vectors_NA == 0, -0.0, vectors_NA)
    ids = [row["id"] for row in rows]
    table = VectorTable(ids + [f"{name}/2" for name in ids], np.concatenate([vectors_NA, again_NA]))
    table.write(tmp_path / "twice.h5")
    write_rows(tmp_path / "twice.csv", rows + [row | {"id": f"{row['id']}/2"} for row in rows])
    options = ("--value", "length", "--seeds", "0", "--folds", 5)
    once = evaluate(folder, "plain.h5", "table.csv", *options)
    twice = evaluate(tmp_path, "twice.h5", "twice.csv", *options)
    assert once["groups"] == twice["groups"] == len(ids)
    group_M, fold_M = (np.array(twice["predictions"][name]) for name in ("group", "fold"))
    for part_M in (group_M, fold_M):
        assert (part_M[: len(ids)] == part_M[len(ids) :]).all()
    widths = [found["difference"]["high"] - found["difference"]["low"] for found in (once, twice)]
    assert widths[1] > 0.85 * widths[0]  # 0.71 for as many rows of their own


def test_vectors_that_say_nothing(proteins, folder, tmp_path, capsys):
    """Noise is not above the majority, nor does it correlate."""
    ids = [row["id"] for row, _ in proteins]
    noise_NA = np.random.default_rng(1).normal(size=(len(ids), 5))
    VectorTable(ids, noise_NA).write(folder / "noise.h5")
    options = ("--folds", 6, "--seeds", "0")
    labels = evaluate(folder, "noise.h5", "table.csv", "--label", "place", *options)
    values = evaluate(folder, "noise.h5", "table.csv", "--value", "length", *options)
    assert (labels["outcome"], values["outcome"]) == ("unclear", "unclear")
    said = capsys.readouterr().out
    assert "no difference to the majority class" in said and "no correlation is shown" in said


def test_what_is_left_out_is_counted(proteins, folder, capsys):
    rows = [row | {"place": "" if n == 3 else row["place"]} for n, (row, _) in enumerate(proteins)]
    strangers = [rows[0] | {"id": f"stranger{n}"} for n in range(3)]
    write_rows(folder / "some.csv", rows[:100] + strangers)
    options = ("--label", "place", "--missing", "drop", "--seeds", "0", "--folds", 3)
    found = evaluate(folder, "plain.h5", "some.csv", *options)
    expected = {
        "vectors without a row": 20,
        "rows without a vector": 3,
        "rows without a label": 1,
    }
    assert found["left_out"] == expected and found["rows"] == 99
    said = capsys.readouterr().out
    for reason, times in expected.items():
        assert f"left out, {reason}: {times}\n" in said
    kept = [row["id"] for number, row in enumerate(rows[:100]) if number != 3]
    assert found["predictions"]["id"] == kept


def test_equal_vectors_in_several_groups_are_said(proteins, folder, capsys):
    ids = [row["id"] for row, _ in proteins]
    vectors_NA = np.array([share_A for _, share_A in proteins])
    vectors_NA[1] = vectors_NA[-1]
    VectorTable(ids, vectors_NA).write(folder / "alike.h5")
    options = ("--label", "place", "--group", "family", "--folds", 3, "--seeds", "0")
    evaluate(folder, "alike.h5", "table.csv", *options)
    assert "1 vectors stand in several groups: folds can part them" in capsys.readouterr().out


def test_many_groups_are_resampled_in_sets(proteins):
    """More groups than can be left out one by one go together; none is cut."""

    class Labels:
        values_N = None
        labels_N = np.random.default_rng(0).integers(2, size=3 * MOST_UNITS)
        label_names = ("a", "b")
        weights_N = np.ones(3 * MOST_UNITS)
        proteins_N = np.zeros(3 * MOST_UNITS)

    groups_N = np.arange(3 * MOST_UNITS) // 2
    scorer = Scorer(Labels(), groups_N, 2)
    assert scorer.units == MOST_UNITS
    assert (scorer.unit_of_N[::2] == scorer.unit_of_N[1::2]).all()
    sizes = np.bincount(scorer.unit_of_N)
    assert sizes.max() - sizes.min() <= 2
    assert Scorer(Labels(), groups_N % MOST_UNITS, 2).units == MOST_UNITS


@pytest.fixture
def refuses(folder, capsys):
    """Run the command; check one line, exit code 2 and no file, and return the line."""

    def run(*arguments):
        (folder / "none.json").unlink(missing_ok=True)
        with pytest.raises(SystemExit) as stopped:
            evaluate(folder, *arguments, out="none.json")
        out, err = capsys.readouterr()
        assert (stopped.value.code, out) == (2, "") and err.count("\n") == 1
        assert not (folder / "none.json").exists()
        return err.removeprefix("protemb: ").rstrip("\n")

    return run


BY_PLACE = ("plain.h5", "table.csv", "--label", "place")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("plain.h5",), "holds no labels"),
        (("plain.h5", "table.csv"), "holds no labels"),
        (("labelled.h5", "--label", "place"), "--label: got 'place', expected a table"),
        (("labelled.h5", "--id", "name"), "--id: got 'name', expected a table"),
        (("nowhere.h5", "table.csv", "--label", "place"), "nowhere.h5"),
        (("plain.h5", "nowhere.csv", "--label", "place"), "nowhere.csv"),
        (("plain.h5", "table.csv", "--label", "plaice"), "no column 'plaice'"),
        ((*BY_PLACE, "--id", "name"), "no column 'name'"),
        ((*BY_PLACE, "--group", "clan"), "no column 'clan'"),
        (("plain.h5", "table.csv", "--value", "place"), "got 'membrane', expected a number"),
        ((*BY_PLACE, "--regressor", "ridge"), "--regressor: got 'ridge', expected one of logistic"),
        (
            ("plain.h5", "table.csv", "--value", "length", "--regressor", "logistic"),
            "--regressor: got 'logistic', expected one of mlp50",
        ),
        ((*BY_PLACE, "--folds", 1), "--folds: got 1, expected 2 to 120"),
        ((*BY_PLACE, "--folds", 121), "--folds: got 121, expected 2 to 120"),
        ((*BY_PLACE, "--seeds", "1,1"), "--seeds: got '1,1'"),
        ((*BY_PLACE, "--seeds", "0,-1"), "--seeds: got '0,-1'"),
    ],
)
def test_what_cannot_work_is_one_line(refuses, arguments, says):
    assert says in refuses(*arguments)


def test_tables_that_do_not_fit_are_one_line(proteins, folder, refuses):
    rows = [row for row, _ in proteins]
    first = rows[0]["id"]

    def line(changed, option="--label", column="place"):
        write_rows(folder / "changed.csv", changed)
        return refuses("plain.h5", "changed.csv", option, column, "--group", "family")

    assert f"record '{first}': no row of this id" in line(rows[1:])
    stranger = rows[0] | {"id": "stranger"}
    assert "record 'stranger': no vector of this id" in line([*rows, stranger])
    again = line([*rows, rows[0]])
    assert f"changed.csv:122: record '{first}': an earlier row (line 2) has the same id" in again
    assert "changed.csv:2: the column 'id' is empty" in line([rows[0] | {"id": ""}, *rows[1:]])
    lacks = line([rows[0] | {"place": ""}, *rows[1:]])
    assert f"changed.csv:2: record '{first}': the row has no label" in lacks
    assert "the row has no group" in line([rows[0] | {"family": ""}, *rows[1:]])
    for word, says in (("NaN", "the row has no value"), ("inf", "got 'inf', expected a number")):
        changed = [rows[0] | {"length": word}, *rows[1:]]
        assert f"changed.csv:2: record '{first}': " in line(changed, "--value", "length")
        assert says in line(changed, "--value", "length")
    one = [row | {"place": "here", "length": 7} for row in rows]
    assert "got 'here', expected two classes at least" in line(one)
    assert "expected values that are not all equal" in line(one, "--value", "length")


def test_vectors_that_do_not_fit_are_one_line(proteins, folder, refuses):
    ids = [row["id"] for row, _ in proteins]
    vectors_NA = np.array([share_A for _, share_A in proteins])
    VectorTable([*ids[:-1], ids[0]], vectors_NA).write(folder / "repeats.h5")
    says = refuses("repeats.h5", "table.csv", "--label", "place")
    assert f"record '{ids[0]}': 2 vectors have this id" in says
    vectors_NA[5, 3] = np.inf
    VectorTable(ids, vectors_NA).write(folder / "endless.h5")
    says = refuses("endless.h5", "table.csv", "--label", "place")
    assert f"record '{ids[5]}'" in says and "not finite" in says
    strangers = VectorTable(["a", "b"], vectors_NA[:2])
    strangers.write(folder / "strangers.h5")
    options = ("--label", "place", "--missing", "drop")
    assert "none of the vectors has a label" in refuses("strangers.h5", "table.csv", *options)
