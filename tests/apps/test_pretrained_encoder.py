"""`train.py encoder=pretrained`: a head on a model that is there, or that model trained further."""

import json
import shutil

import numpy as np
import pytest
import torch

from protemb import cli
from protemb.apps.config import build
from protemb.errors import CheckpointError, ConfigError
from protemb.models.checkpoint import load_classifier
from protemb.models.classifier import SequenceClassifier, Standardise
from protemb.models.loading import load_model
from protemb.models.pretrained.library import convert, load_pretrained
from protemb.sequences.partition import Split
from protemb.vectors.embed import embed_records
from protemb.vectors.table import VectorTable


@pytest.fixture
def model(reference, tmp_path):
    return convert(reference / "checkpoints" / "ssa.legacy.sav", tmp_path / "ssa")


@pytest.fixture
def tuned(train, model):
    """Run a job on the converted model, with these options."""

    def run(*options, name="run"):
        # The quick options name sizes that this encoder does not have.
        own = ["encoder=pretrained", f"encoder.weights={model}", "level=projection"]
        return train(*own, *options, name=name)

    return run


@pytest.fixture
def train(composed, tmp_path):
    from protemb.apps.train import run

    def start(*overrides, name="run"):
        folder = tmp_path / name
        quick = [
            "data.source.sequences_per_host=40",
            "trainer=cpu",
            "trainer.max_epochs=3",
            "task.residues=4000",
            "~callbacks.progress",
            "trainer.enable_progress_bar=false",
            "replicates=50",
            "baselines=false",
            f"paths.root={tmp_path}",
            "figures=false",
        ]
        run(composed(*quick, *overrides, out_dir=folder))
        return folder

    return start


def inner_weights(folder):
    return load_classifier(folder).model.embedder.encoder.encoder.state_dict()


def test_a_head_leaves_the_model_as_it_is(tuned, model):
    folder = tuned()
    original = load_pretrained(model).encoder.state_dict()
    for name, tensor in inner_weights(folder).items():
        assert torch.equal(tensor, original[name]), name
    record = json.loads((folder / "result.json").read_text())
    assert record["label"] == "ssa@projection/mean"


@pytest.mark.parametrize("tune", ["last", "all"])
def test_tuning_moves_what_it_says(tuned, model, tune):
    folder = tuned(f"encoder.tune={tune}")
    original = load_pretrained(model).encoder.state_dict()
    moved = {n for n, t in inner_weights(folder).items() if not torch.equal(t, original[n])}
    last = {name for name in moved if name.startswith(("layers.2.", "project."))}
    assert last and (moved == last) == (tune == "last")


def test_the_run_lives_on_without_the_model(tuned, model, tmp_path):
    folder = tuned()
    fasta = tmp_path / "new.fasta"
    fasta.write_text(">a\nMKVLA\n>b\nACDEF\n")
    before = tmp_path / "before.npz"
    cli.main(["embed", str(model), str(fasta), "-o", str(before)])
    shutil.rmtree(model)
    after = tmp_path / "after.npz"
    cli.main(["embed", str(folder), str(fasta), "-o", str(after)])
    np.testing.assert_allclose(
        VectorTable.read(after).vectors_ND, VectorTable.read(before).vectors_ND, rtol=1e-5
    )
    assert str(tmp_path) not in repr(load_classifier(folder).recipe)


def test_known_vectors_change_nothing(tuned, monkeypatch):
    """The same training, with and without looking vectors up."""
    looked_up = load_classifier(tuned(name="known")).model.head.state_dict()

    def forward(self, tokens_BL, lengths_B, positions_B=None):
        return self.head(self.embedder(tokens_BL, lengths_B, positions_B))

    monkeypatch.setattr(SequenceClassifier, "forward", forward)
    computed = load_classifier(tuned("seed=0", name="computed")).model.head.state_dict()
    for name, tensor in looked_up.items():
        torch.testing.assert_close(tensor, computed[name], rtol=1e-4, atol=1e-6)


def test_frozen_vectors_are_standardised_by_the_training_part(tuned, model):
    folder = tuned()
    trained = load_classifier(folder).model
    record = json.loads((folder / "result.json").read_text())
    data = build(record["config"]["data"]["source"]).load()
    split = Split.read(folder / "split.tsv", data.store)
    embedder = load_model(model).embedder("projection", "mean")
    vectors = embed_records(embedder, data.store, split.train)
    scale = trained.head[0]
    np.testing.assert_allclose(scale.mean_D, vectors.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scale.scale_D, vectors.std(0), rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        scaled = scale(torch.from_numpy(vectors))
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-4)
    tuned_head = load_classifier(tuned("encoder.tune=all", name="all")).model.head
    assert not isinstance(tuned_head[0], Standardise)


def test_a_constant_feature_is_left_alone():
    scale = Standardise(2)
    scale.fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    assert scale(torch.tensor([[2.0, 6.0]])).tolist() == [[0.0, 1.0]]


def test_a_run_is_a_model_to_begin_with(train, tuned, tmp_path):
    first = train("encoder=bilstm", "encoder.hidden_dim=4", name="first")
    second = train("encoder=pretrained", f"encoder.weights={first}", name="second")
    trained = load_classifier(first).model.embedder.encoder.state_dict()
    for name, tensor in inner_weights(second).items():
        assert torch.equal(tensor, trained[name])


def test_a_tuned_run_can_be_tuned_again(tuned, train):
    first = tuned("encoder.tune=all", name="first")
    again = train(
        "encoder=pretrained", f"encoder.weights={first}", "level=projection", name="again"
    )
    trained = inner_weights(first)
    assert all(torch.equal(tensor, trained[name]) for name, tensor in inner_weights(again).items())


def test_other_weights_are_another_run(tuned, model, reference, tmp_path):
    folder = tuned()
    first = json.loads((folder / "result.json").read_text())["key"]
    moved = tmp_path / "elsewhere"
    shutil.move(model, moved)
    tuned(f"encoder.weights={moved}")
    assert json.loads((folder / "result.json").read_text())["key"] == first
    convert(reference / "checkpoints" / "ua.torch1_0.sav", model)
    tuned()
    assert json.loads((folder / "result.json").read_text())["key"] != first


def test_bad_weights_leave_no_run(tuned, train, tmp_path):
    with pytest.raises(ConfigError, match="encoder.weights: got .* expected a converted model"):
        train("encoder=pretrained")
    with pytest.raises(CheckpointError):
        tuned(f"encoder.weights={tmp_path / 'none'}")
    with pytest.raises(ConfigError, match="encoder.tune: got 'last', expected head or all"):
        tuned("encoder.tune=last", "level=lm")
    with pytest.raises(ConfigError, match="level: got 'states2'"):
        tuned("level=states2")
    with pytest.raises(ConfigError, match="level: got 'table'"):
        tuned("vectors=[table/mean]")
