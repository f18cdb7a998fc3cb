"""Any model from its path, and what can be asked of it."""

import pytest

from protemb.errors import CheckpointError, ConfigError
from protemb.models.checkpoint import TrainedClassifier
from protemb.models.classifier import SequenceClassifier
from protemb.models.embedder import Embedder
from protemb.models.encoders import RecurrentEncoder
from protemb.models.loading import embedding_model, load_model
from protemb.models.pooling import AttentionPooling, LastPooling, MeanPooling
from protemb.sequences.alphabet import AA21


def embedding_part(pooling):
    """What is loaded from a run that trained a small LSTM with this pooling."""
    recipe = {"alphabet": "aa21", "alphabet_fingerprint": AA21.fingerprint, "label": "lstm"}
    recipe["encoder"] = {"_target_": "protemb.models.encoders.RecurrentEncoder", "hidden_dim": 4}
    classifier = SequenceClassifier(Embedder(RecurrentEncoder(hidden_dim=4), pooling), 2)
    return embedding_model(TrainedClassifier(classifier.eval(), recipe, ""), "runs/lstm")


def test_another_level_or_pooling_shares_the_encoder():
    model = embedding_part(MeanPooling)
    assert model.embedder() is model.own
    last = model.embedder(pooling="last")
    assert isinstance(last.pooling, LastPooling) and last.encoder is model.encoder
    assert model.embedder("table", "mean").out_dim == 10


@pytest.mark.parametrize(
    ("level", "pooling", "message"),
    [
        ("lm", None, "level: got 'lm', expected one of table, states"),
        (None, "median", "pooling: got 'median', expected one of mean, max"),
        (None, "attention", "expected one that needs no training at level 'states'"),
    ],
)
def test_what_cannot_be_had_is_named(level, pooling, message):
    with pytest.raises(ConfigError) as caught:
        embedding_part(MeanPooling).embedder(level, pooling)
    assert message in str(caught.value)


def test_a_trained_attention_is_kept():
    model = embedding_part(AttentionPooling)
    assert model.embedder("states", "attention") is model.own


def test_another_alphabet_is_refused():
    recipe = {"alphabet": "aa21", "alphabet_fingerprint": "another", "label": "lstm"}
    classifier = SequenceClassifier(Embedder(RecurrentEncoder(hidden_dim=4), MeanPooling), 2)
    with pytest.raises(CheckpointError, match="runs/lstm.*'aa21' is not known here"):
        embedding_model(TrainedClassifier(classifier, recipe, ""), "runs/lstm")


def test_a_path_without_a_model_is_one_line(tmp_path):
    with pytest.raises(CheckpointError, match="best.ckpt"):
        load_model(tmp_path)
