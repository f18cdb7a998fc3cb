"""A job from config to run folder: what it writes, that it repeats, that it resumes."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss
from torch.nn.modules.module import register_module_forward_hook

from protemb.apps.config import build
from protemb.errors import ConfigError, Diverged
from protemb.models.checkpoint import load_classifier
from protemb.targets import ForbiddenTarget
from protemb.training.history import History
from protemb.vectors.table import VectorTable


def _result(folder):
    return json.loads((folder / "result.json").read_text())


def _weights(folder):
    return load_classifier(folder).model.state_dict()


def _same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.fixture
def die_in_epoch(monkeypatch):
    """Make training die as the given epoch (from 0) starts."""
    original = History.on_train_epoch_start

    def arm(epoch, error):
        def start(self, trainer, module):
            if trainer.current_epoch == epoch:
                raise error
            original(self, trainer, module)

        monkeypatch.setattr(History, "on_train_epoch_start", start)

    yield arm


def test_all_of_a_run_is_computed_in_full_float32(train):
    seen = []

    def note(*_):
        seen.append(torch.backends.cudnn.allow_tf32)

    for encoder in ("bilstm", "cnn"):
        handle = register_module_forward_hook(note)
        train(f"encoder={encoder}", "trainer.max_epochs=1", name=encoder)
        handle.remove()
    assert seen and not any(seen)


def test_a_run_folder_holds_everything(train):
    folder = train("figures=true")
    record = _result(folder)
    assert record["status"] == "done"
    assert record["versions"]["torch"] == torch.__version__
    assert record["epochs"] == 3 and 1 <= record["best_epoch"] <= 3
    expected = {
        "split.tsv",
        "predictions.parquet",
        "history.csv",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "vectors/states-mean.h5",
        "vectors/table-mean.h5",
        "figures/confusion.png",
        "figures/learning.png",
        "figures/scores.png",
        "figures/tsne.png",
    }
    assert {name for name in expected if (folder / name).is_file()} == expected
    assert not list(folder.rglob(".part-*"))


def test_scores_are_those_of_the_stored_predictions(train):
    folder = train()
    record = _result(folder)
    table = pq.read_table(folder / "predictions.parquet", filters=[("part", "==", "test")])
    names = [name[2:-1] for name in table.column_names if name.startswith("p(")]
    probabilities_NC = np.column_stack([table[f"p({name})"].to_numpy() for name in names])
    labels = table["label"].to_pylist()
    predicted = table["predicted"].to_pylist()
    assert predicted == [names[c] for c in probabilities_NC.argmax(1)]
    scores = record["scores"][record["label"]]
    assert scores["balanced_accuracy"]["value"] == pytest.approx(
        balanced_accuracy_score(labels, predicted)
    )
    assert scores["macro_f1"]["value"] == pytest.approx(
        f1_score(labels, predicted, average="macro")
    )
    assert scores["log_loss"]["value"] == pytest.approx(
        log_loss(labels, probabilities_NC, labels=names)
    )
    parts = dict(
        line.split("\t") for line in (folder / "split.tsv").read_text().splitlines() if "\t" in line
    )
    assert {parts[record_id] for record_id in table["id"].to_pylist()} == {"test"}


def test_vectors_cover_all_records_and_come_from_the_checkpoint(train):
    folder = train()
    table = VectorTable.read(folder / "vectors" / "table-mean.h5")
    assert len(table) == 160
    trained = load_classifier(folder)
    assert table.attributes["checkpoint"] == trained.sha256
    rows = trained.model.embedder.encoder.table.rows.weight.detach()
    # Mean of rows lies in their span: the vectors are combinations with weights that add up to 1.
    assert table.vectors_ND.shape[1] == rows.shape[1]
    assert (table.vectors_ND <= rows.max(0).values.numpy() + 1e-6).all()
    assert (table.vectors_ND >= rows.min(0).values.numpy() - 1e-6).all()


def test_same_seed_same_bytes(train):
    first, second = train(name="first"), train(name="second")
    for name in ("predictions.parquet", "split.tsv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert _same(_weights(first), _weights(second))
    other = train("seed=1", name="other")
    assert (first / "split.tsv").read_bytes() == (other / "split.tsv").read_bytes()
    assert not _same(_weights(first), _weights(other))


@pytest.mark.parametrize("error", [RuntimeError("power cut"), KeyboardInterrupt()])
def test_resume_is_bit_equal(train, die_in_epoch, monkeypatch, error):
    options = ["task.dropout=0.3", "scheduler=cosine"]
    straight = train(*options, name="straight")
    with monkeypatch.context():
        die_in_epoch(2, error)
        with pytest.raises(Exception, match="power cut|SIGINT"):
            train(*options, name="broken")
        monkeypatch.undo()
    broken = straight.parent / "broken"
    stopped = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
    assert _result(broken)["status"] == stopped
    train(*options, name="broken")
    assert _result(broken)["status"] == "done"
    last = torch.load(straight / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    resumed = torch.load(broken / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert _same(last, resumed)
    for name in ("predictions.parquet",):
        assert (straight / name).read_bytes() == (broken / name).read_bytes()
    histories = [(f / "history.csv").read_text().splitlines() for f in (straight, broken)]
    assert len(histories[0]) == len(histories[1]) == 4


@pytest.mark.parametrize("options", [["callbacks.early_stopping.patience=1"], []])
def test_dying_after_training_does_not_train_again(train, monkeypatch, options):
    options = [*options, "trainer.max_epochs=6", "optimizer.lr=1e-6"]
    straight = train(*options, name="straight")
    with monkeypatch.context() as patch:
        patch.setattr("protemb.apps.classification.save_outcome", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(*options, name="broken")
    broken = train(*options, name="broken")
    assert _result(broken)["epochs"] == _result(straight)["epochs"]
    assert (_result(straight)["epochs"] < 6) == (len(options) == 3)
    assert _result(broken)["objective"] == _result(straight)["objective"]
    name = "predictions.parquet"
    assert (straight / name).read_bytes() == (broken / name).read_bytes()


def test_a_finished_run_is_shown_and_not_repeated(train, capsys):
    folder = train()
    written = (folder / "result.json").stat().st_mtime_ns
    train()
    assert "Done already" in capsys.readouterr().out
    assert (folder / "result.json").stat().st_mtime_ns == written
    train("resume=never")
    assert (folder / "result.json").stat().st_mtime_ns > written


def test_an_older_result_of_something_else_is_set_aside(train):
    folder = train()
    old_key = _result(folder)["key"]
    train("trainer.max_epochs=2")
    assert _result(folder)["epochs"] == 2
    (aside,) = (folder / "previous").iterdir()
    assert _result(aside)["key"] == old_key and _result(aside)["epochs"] == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("resume=maybe", "resume: got 'maybe', expected one of auto, never"),
        ("level=hidden", "level: got 'hidden', expected one of table, states"),
        ("encoder.table=frozen", "encoder.table: got 'frozen'"),
        ("objective=val/loss", "objective_mode: got 'max', expected min"),
        ("pooling=position", "pooling: got 'position', expected data with a position"),
        ("+encoder.depth=3", "encoder.depth: got 3, expected no such option"),
        ("task.class_weights=some", "task.class_weights: got 'some'"),
        ("split.fractions=[0.5,0.5]", "split.fractions: got"),
        ("task.residues=0", "residues: got 0"),
        ("replicates=1", "replicates: got 1"),
        ("task.max_records=0", "task.max_records: got 0, expected a whole number from 1 on"),
        ("task.residues=abc", "task.residues: got 'abc'"),
        ("task.dropout=2", "task.dropout: got 2, expected a share from 0 to below 1"),
        ("encoder.hidden_dim=0", "encoder.hidden_dim: got 0"),
        ("seed=-1", "seed: got -1"),
        ("optimizer.lr=0", "optimizer.lr: got 0, expected a number above 0"),
        ("vectors=[states]", "vectors: got 'states', expected own, or level/pooling"),
        ("+task.hiden=64", "task.hiden: got 64, expected no such option"),
        ("+paths.run=x", "paths.run: got 'x', expected no such option"),
    ],
)
def test_options_that_cannot_work_are_named(train, override, message):
    with pytest.raises(ConfigError) as caught:
        train(override)
    assert message in str(caught.value)


def test_a_config_from_a_stranger_runs_nothing(train, tmp_path):
    canary = tmp_path / "canary"
    with pytest.raises(ForbiddenTarget, match="not on the list"):
        train("+callbacks.evil._target_=os.mkdir", f"+callbacks.evil.path={canary}")
    assert not canary.exists()


def test_values_are_never_resolved_again():
    """An interpolation that survives composition must stay a text, not become an object."""
    node = {
        "_target_": "protemb.sequences.labels.Rule",
        "column": "${oc.create:{_target_:os.getcwd}}",
    }
    assert build(node).column == node["column"]


def test_training_leaves_subnormal_numbers_alone(train):
    train("baselines=false")
    assert np.float32(1e-40) * np.float32(1) > 0


def test_a_diverging_training_is_one_line(train):
    with pytest.raises(Diverged, match="diverged in epoch 1"):
        train("optimizer=sgd", "optimizer.lr=1e38", "trainer.gradient_clip_val=null")


def test_a_split_file_counts_by_its_content(train, tmp_path):
    first = train(name="first")
    written = tmp_path / "split.tsv"
    lines = (first / "split.tsv").read_text().splitlines()
    written.write_text("\n".join(lines) + "\n")
    options = ["split=predefined", f"split.file={written}"]
    folder = train(*options, name="again")
    assert (folder / "predictions.parquet").read_bytes() == (
        first / "predictions.parquet"
    ).read_bytes()
    key = _result(folder)["key"]
    moved = next(i for i, line in enumerate(lines) if line.endswith("\ttest"))
    lines[moved] = lines[moved].replace("\ttest", "\ttrain")
    written.write_text("\n".join(lines) + "\n")
    assert _result(train(*options, name="again"))["key"] != key


def test_a_finished_run_may_be_moved(train, capsys):
    folder = train(name="here")
    folder.rename(folder.parent / "there")
    train(name="there")
    assert "Done already" in capsys.readouterr().out


def test_random_frozen_table_stays_as_drawn(train):
    folder = train("encoder.table=random_frozen")
    rows = load_classifier(folder).model.embedder.encoder.table.rows.weight
    torch.manual_seed(0)
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(rows, last["classifier.embedder.encoder.table.rows.weight"])
    assert not rows.requires_grad
