"""The scikit-learn transformer: its own checks, pipelines, cross-validation, clear errors."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import validate_data

from protemb.errors import CheckpointError, ConfigError, UnknownResidue
from protemb.models.loading import load_model
from protemb.models.pretrained.library import convert
from protemb.sequences.tokens import TokenStore
from protemb.vectors.embed import embed_records
from protemb.vectors.estimator import ProteinEmbedder

TEXTS = ["MKTAYIAKQR", "GAVL", "MKTAYIAKQR", "W", "HHHHHHPPGGA"]


@pytest.fixture(scope="module")
def folder(reference, tmp_path_factory):
    source = reference / "checkpoints" / "ssa.zip.sav"
    return convert(source, tmp_path_factory.mktemp("estimator") / "ssa")


@pytest.fixture
def model(folder):
    return load_model(folder)


class OfNumbers(ProteinEmbedder):
    """The embedder behind rows of numbers, so that scikit-learn's checks can feed it.

    Each number becomes five residues by a rule of its own; everything else is the embedder's.
    """

    def fit(self, X, y=None):
        return super().fit(self._letters(validate_data(self, X)), y)

    def transform(self, X):
        return super().transform(self._letters(validate_data(self, X, reset=False)))

    def fit_transform(self, X, y=None):
        return self.fit(X, y).transform(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.one_d_array = False
        return tags

    @staticmethod
    def _letters(X):
        digits = [["".join(f"{abs(value):.4e}"[:5]) for value in row] for row in X.tolist()]
        table = str.maketrans("0123456789.", "ARNDCQEGHIL")
        return ["".join(row).translate(table) for row in digits]


# What scikit-learn's checks feed is numbers; only text has a meaning as a sequence. Behind
# `OfNumbers` the same checks run and pass.
NUMBERS = "feeds numbers, and a number is refused by its index"
COLUMNS = "feeds columns of numbers, which the tags say are not taken"
EXPECTED = {
    "check_fit_score_takes_y": NUMBERS,
    "check_estimators_overwrite_params": NUMBERS,
    "check_dont_overwrite_parameters": COLUMNS,
    "check_estimators_fit_returns_self": NUMBERS,
    "check_readonly_memmap_input": NUMBERS,
    "check_n_features_in_after_fitting": NUMBERS,
    "check_positive_only_tag_during_fit": NUMBERS,
    "check_estimators_dtypes": NUMBERS,
    "check_complex_data": "complex numbers are refused, as every number, by a TypeError",
    "check_dtype_object": NUMBERS,
    "check_estimators_empty_data_messages": "text has no columns whose number could be 0",
    "check_pipeline_consistency": NUMBERS,
    "check_estimators_nan_inf": "NaN is refused, as every number, by a TypeError",
    "check_estimator_sparse_array": "makes a sparse array of one dimension, which scipy has not",
    "check_estimators_pickle": NUMBERS,
    "check_f_contiguous_array_estimator": COLUMNS,
    "check_transformer_data_not_an_array": COLUMNS,
    "check_transformer_general": COLUMNS,
    "check_transformers_unfitted_stateless": NUMBERS,
    "check_methods_sample_order_invariance": COLUMNS,
    "check_methods_subset_invariance": COLUMNS,
    "check_fit2d_1sample": COLUMNS,
    "check_fit2d_1feature": COLUMNS,
    "check_dict_unchanged": COLUMNS,
    "check_fit_idempotent": NUMBERS,
    "check_fit_check_is_fitted": NUMBERS,
    "check_n_features_in": "text has no columns to count",
    "check_fit1d": NUMBERS,
    "check_fit2d_predict1d": COLUMNS,
}
# Needs an environment variable of scipy before its first import.
SKIPPED = {"check_array_api_input"}


def outcomes(estimator, expected):
    results = check_estimator(
        estimator, expected_failed_checks=expected, on_skip=None, on_fail=None
    )
    assert len(results) > 40
    found = {}
    for result in results:
        if result["status"] != "passed":
            found[result["check_name"]] = (result["status"], repr(result["exception"]))
    return found


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_checks_of_scikit_learn_on_the_embedder(folder):
    """Every check passes, or fails for the reason that stands here; no reason is stale."""
    found = outcomes(ProteinEmbedder(str(folder)), EXPECTED)
    failed = {name: why for name, (status, why) in found.items() if status == "failed"}
    assert failed == {}
    assert {name for name, (status, _) in found.items() if status == "xfail"} == set(EXPECTED)
    assert {name for name, (status, _) in found.items() if status == "skipped"} <= SKIPPED


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_checks_of_scikit_learn_behind_numbers(folder):
    found = outcomes(OfNumbers(str(folder)), {})
    assert {name: why for name, why in found.items() if name not in SKIPPED} == {}


def alone(model, level, pooling, text):
    """The vector of one sequence by itself, through the other door."""
    store = TokenStore.from_sequences([("a", text)], model.alphabet)
    return embed_records(model.embedder(level, pooling), store, [0])[0]


@pytest.mark.parametrize("level, pooling", [(None, None), ("lm", "max"), ("states", "ends")])
def test_vectors_are_those_of_the_model(folder, model, level, pooling):
    embedder = ProteinEmbedder(str(folder), level=level, pooling=pooling, residues=20)
    found_ND = embedder.fit_transform(TEXTS)
    assert found_ND.dtype == np.float32
    expected = [alone(model, level, pooling, text) for text in TEXTS]
    np.testing.assert_allclose(found_ND, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found_ND[0], found_ND[2])
    for other in (ProteinEmbedder(model, level, pooling, residues=20), embedder):
        np.testing.assert_array_equal(other.transform(TEXTS), found_ND)
    names = embedder.get_feature_names_out()
    assert len(names) == found_ND.shape[1] and names[1] == "proteinembedder1"


def test_each_distinct_sequence_is_embedded_once(model):
    seen = []
    model.encoder.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    vectors_ND = ProteinEmbedder(model).transform([TEXTS[0]] * 50 + [TEXTS[1]] * 50)
    assert sum(seen) == 2
    assert len(np.unique(vectors_ND, axis=0)) == 2


def test_every_kind_of_list_will_do(model):
    embedder = ProteinEmbedder(model)
    expected_ND = embedder.fit_transform(TEXTS)
    frame = pd.DataFrame({"sequence": TEXTS, "other": range(5)})
    kinds = (
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, object)[:, None],
        frame["sequence"],
        frame[["sequence"]],
        frame["sequence"].astype("string"),
    )
    for kind in kinds:
        np.testing.assert_array_equal(embedder.transform(kind), expected_ND)
    columns = make_column_transformer((embedder, "sequence"), ("passthrough", ["other"]))
    np.testing.assert_array_equal(columns.fit_transform(frame)[:, :-1], expected_ND)


def test_clone_pickle_and_pandas_output(folder):
    embedder = ProteinEmbedder(str(folder), pooling="max").fit(TEXTS)
    assert set(vars(embedder)) == {*embedder.get_params(), "n_features_out_"}
    assert clone(embedder).get_params() == embedder.get_params()
    assert not hasattr(clone(embedder), "n_features_out_")
    again = pickle.loads(pickle.dumps(embedder))
    assert len(pickle.dumps(embedder)) < 1000
    np.testing.assert_array_equal(again.transform(TEXTS), embedder.transform(TEXTS))
    frame = embedder.set_output(transform="pandas").transform(pd.Series(TEXTS, index=list("abcde")))
    assert list(frame.columns) == list(embedder.get_feature_names_out())
    assert list(frame.index) == list("abcde")


@pytest.mark.slow
def test_pipeline_and_cross_validation_in_two_processes(folder):
    """Tryptophan or not: any encoder of residues can tell."""
    dice = np.random.default_rng(0)
    letters = np.array(list("ARNDCQEGHILKMFPSTYV"))
    texts, labels = [], []
    for number in range(40):
        text = "".join(dice.choice(letters, dice.integers(5, 20)))
        texts.append(text + "WWWW" * (number % 2))
        labels.append("with" if number % 2 else "without")
    pipeline = make_pipeline(
        ProteinEmbedder(str(folder), level="onehot"), LogisticRegression(C=1000)
    )
    scores = cross_val_score(pipeline, texts, labels, cv=4, n_jobs=2)
    assert scores.tolist() == cross_val_score(pipeline, texts, labels, cv=4).tolist()
    assert scores.mean() > 0.9
    grid = GridSearchCV(pipeline, {"proteinembedder__level": ["onehot", "projection"]}, cv=2)
    assert grid.fit(texts, labels).predict(["AAAWWWW"]) == ["with"]


def test_a_changed_model_is_loaded_anew(reference, tmp_path):
    path = convert(reference / "checkpoints" / "ssa.zip.sav", tmp_path / "model")
    before_ND = ProteinEmbedder(path).transform(TEXTS)
    path.rename(tmp_path / "old")
    convert(reference / "checkpoints" / "nolm.zip.sav", tmp_path / "model")
    assert ProteinEmbedder(path).transform(TEXTS).shape != before_ND.shape


@pytest.mark.parametrize(
    "texts, error, problem",
    [
        ("MKV", TypeError, "got str 'MKV', expected a list or array of sequences"),
        (3, TypeError, "got int 3, expected a list"),
        (None, TypeError, "got NoneType None, expected a list"),
        (["MKV", 3], TypeError, r"X\[1\]: got int 3, expected a sequence as text"),
        (["MKV", None], TypeError, r"X\[1\]: got NoneType None"),
        ([b"MKV"], TypeError, r"X\[0\]: got bytes b'MKV'"),
        (pd.Series(["MKV", np.nan]), TypeError, r"X\[1\]: got float nan"),
        (np.array([["MKV", "MK"]]), ValueError, r"got shape \(1, 2\), expected one column"),
        ([], ValueError, "got 0 sequences, expected at least one"),
        (["MKV", ""], ValueError, r"X\[1\]: got '', expected at least one residue"),
        (["*"], ValueError, r"X\[0\]: got '\*', expected at least one residue"),
        (["MK V"], UnknownResidue, r"record 'X\[0\]': residue 3 is ' '"),
        (["MKV", "MK\ud800"], UnknownResidue, r"record 'X\[1\]': residue 3 is '\?'"),
    ],
)
def test_what_is_no_list_of_sequences(model, texts, error, problem):
    embedder = ProteinEmbedder(model)
    for method in (embedder.fit, embedder.transform, embedder.fit_transform):
        with pytest.raises(error, match=problem):
            method(texts)


def test_unknown_letters(model):
    read_ND = ProteinEmbedder(model).transform(["MJV", "MXV", "mxv*"])
    np.testing.assert_array_equal(read_ND, read_ND[[0, 0, 0]])
    with pytest.raises(UnknownResidue, match=r"record 'X\[1\]': residue 2 is 'J'"):
        ProteinEmbedder(model, unknown="error").transform(["MKV", "MJV"])
    with pytest.raises(ConfigError, match="unknown: got 'drop', expected x or error"):
        ProteinEmbedder(model, unknown="drop").transform(["MKV"])


def test_what_cannot_be_opened(model, tmp_path):
    with pytest.raises(CheckpointError, match="nothing"):
        ProteinEmbedder(tmp_path / "nothing").fit(["MKV"])
    with pytest.raises(ConfigError, match="level: got 'table', expected one of"):
        ProteinEmbedder(model, level="table").fit(["MKV"])
    with pytest.raises(ConfigError, match="pooling: got 'median'"):
        ProteinEmbedder(model, pooling="median").fit(["MKV"])


def test_pandas_output_before_and_inside_a_pipeline(model):
    embedder = ProteinEmbedder(model).set_output(transform="pandas")
    texts = ["MKT", "MKA"]
    for frame in (embedder.transform(texts), clone(embedder).fit_transform(texts)):
        assert list(frame.columns) == list(embedder.get_feature_names_out())


def test_a_device_that_is_not_there_is_one_line(model):
    with pytest.raises(ConfigError, match="device: got 'foo', expected a device of this machine"):
        ProteinEmbedder(model, device="foo").fit(["MKT"])
