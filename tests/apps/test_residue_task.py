"""task=residue from config to run folder: scores, export, resuming, and what order can teach."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from protemb import cli
from protemb.apps.residues import load_residues
from protemb.errors import ConfigError, InputError
from protemb.models.loading import load_model
from protemb.models.residue_tagger import load_tagger
from protemb.sequences.tokens import TokenStore
from protemb.training.history import History
from protemb.vectors.tag import tag_records

CHARGED = "DEKRH"


def planted(rng, n, longest=40):
    """Labels that are a function of the left neighbour; the residue itself says nothing."""
    records = []
    for number in range(n):
        sequence = "".join(rng.choice(list("DEKRHAGLVS"), rng.integers(20, longest)))
        labels = "".join("HC"[left not in CHARGED] for left in "A" + sequence[:-1])
        hidden = rng.random(len(labels)) < 0.05
        text = "".join("U" if h else c for h, c in zip(hidden, labels, strict=True))
        records.append(f">p{number}|x\n{sequence}\n{text}\n")
    return records


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three folds of 40 proteins."""
    folder, rng = tmp_path_factory.mktemp("planted"), np.random.default_rng(0)
    records = planted(rng, 120)
    for fold in range(3):
        (folder / f"fold{fold}.txt").write_text("".join(records[40 * fold : 40 * fold + 40]))
    return [str(folder / f"fold{fold}.txt") for fold in range(3)]


@pytest.fixture
def train(composed, tmp_path, files):
    """Run a quick job on the planted rule; returns its folder."""
    from protemb.apps.train import run

    def start(*overrides, name="run"):
        folder = tmp_path / name
        own = not {"encoder=embedding", "encoder=pretrained"} & set(overrides)
        size = ["encoder.hidden_dim=16"] if own else []
        job = [
            "task=residue",
            "data=residues",
            "split=folds",
            f"data.source.path=[{','.join(files)}]",
            "data.source.unknown=U",
            "data.source.segments=H",
            "data.source.marks={helix: H}",
            "trainer=cpu",
            "trainer.max_epochs=3",
            "task.residues=400",
            "optimizer.lr=0.02",
            "~callbacks.progress",
            "trainer.enable_progress_bar=false",
            "replicates=50",
            "figures=false",
            f"paths.root={tmp_path}",
            *size,
            *overrides,
        ]
        run(composed(*job, out_dir=folder))
        return folder

    return start


def result(folder):
    return json.loads((folder / "result.json").read_text())


def test_a_run_folder_holds_everything(train, capsys):
    folder = train("figures=true", "encoder=lstm")
    record = result(folder)
    names = {
        "split.tsv",
        "audit.txt",
        "predictions.parquet",
        "history.csv",
        "checkpoints/best.ckpt",
        "figures/confusion.png",
        "figures/learning.png",
        "figures/accuracy.png",
        "figures/sov.png",
        "model/recipe.json",
        "model/model.safetensors",
    }
    assert {name for name in names if (folder / name).is_file()} == names
    assert not list(folder.rglob(".part-*"))
    assert record["status"] == "done" and record["label"] == "lstm"
    assert set(record["scores"]) == {"lstm", "majority", "residue", "window"}
    assert record["difference"] == record["differences"]["accuracy"]
    assert record["difference"]["against"] in ("majority", "residue", "window")
    assert {"sov", "macro_f1", "topology", "kind"} <= set(record["differences"])
    shown = capsys.readouterr().out
    assert "segment overlap (paired, 95 %)" in shown
    assert "residues by label: C" in shown and "residue accuracy and" in shown


def test_scores_are_those_of_the_stored_predictions(train):
    folder = train("encoder=lstm")
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    parts = dict(
        line.split("\t") for line in (folder / "split.tsv").read_text().splitlines() if "\t" in line
    )
    counted = correct = 0
    for row in rows:
        pairs = list(zip(row["labels"], row["predicted"], strict=True))
        assert parts[row["id"]] == row["part"] and len(pairs) == row["length"]
        assert row["counted"] == sum(true != "?" for true, _ in pairs)
        assert row["correct"] == sum(true == predicted for true, predicted in pairs)
        if row["part"] == "test":
            counted, correct = counted + row["counted"], correct + row["correct"]
    scores = result(folder)["scores"]["lstm"]
    assert scores["accuracy"]["value"] == pytest.approx(correct / counted)


def test_the_checkpoint_and_the_exported_encoder_are_the_best_epoch(train):
    folder = train("encoder=bilstm", "task.hidden=8", "task.dropout=0.1")
    tagger, exported = load_tagger(folder), load_model(folder)
    assert exported.alphabet.name == "aa21" and exported.level == "states"
    tokens_BL, lengths_B = torch.randint(0, 20, (2, 9)), torch.tensor([9, 9])
    for level in tagger.model.encoder.levels:
        own, kept = (
            encoder(tokens_BL, lengths_B, (level,))[level]
            for encoder in (tagger.model.encoder, exported.encoder)
        )
        assert torch.equal(own, kept)
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    assert tagger.recipe["letters"] == "CH" and len(rows) == 80


def test_a_trained_encoder_is_used_frozen_and_exported_as_it_was(train):
    first = train("encoder=lstm", name="first")
    options = ["encoder=pretrained", f"encoder.weights={first}", "encoder.tune=head"]
    second = train(*options, name="second")
    before, after = (load_model(folder).encoder.state_dict() for folder in (first, second))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert load_tagger(second).recipe["encoder"]["_target_"].endswith("TunedEncoder")


def test_a_chain_is_trained_kept_and_loaded(train):
    folder = train("encoder=bilstm", "task.crf=true")
    record, tagger = result(folder), load_tagger(folder)
    assert record["label"] == "bilstm+crf"
    row = pq.read_table(folder / "predictions.parquet").to_pylist()[0]
    store = TokenStore.from_sequences([("x", "DAVLEK" * 5)])
    assert tagger.model.chain is not None and set(row["predicted"]) <= set("CH")
    assert len(tag_records(tagger.model, store, [0])) == 30


@pytest.mark.slow
def test_order_is_learned_where_it_can_be(train):
    """The label is decided by the left neighbour: the residue alone knows nothing of it."""
    found = {}
    for encoder in ("lstm", "embedding"):
        folder = train(f"encoder={encoder}", "trainer.max_epochs=12", name=encoder)
        found[encoder] = result(folder)["scores"]
    assert found["lstm"]["lstm"]["accuracy"]["value"] > 0.97
    assert found["lstm"]["lstm"]["sov"]["value"] > 0.95
    assert found["lstm"]["window"]["accuracy"]["value"] > 0.95
    for name in ("embedding", "residue", "majority"):
        assert found["embedding"][name]["accuracy"]["value"] < 0.6


def test_same_seed_same_bytes(train):
    first, second = (train("encoder=cnn", name=name) for name in ("first", "second"))
    other = train("encoder=cnn", "seed=1", name="other")
    read = [(f / "predictions.parquet").read_bytes() for f in (first, second, other)]
    assert read[0] == read[1] != read[2]
    assert (first / "split.tsv").read_bytes() == (other / "split.tsv").read_bytes()


def test_a_resumed_run_ends_with_the_same_bits(train, monkeypatch):
    options = ["encoder=bilstm", "task.dropout=0.3", "task.class_weights=balanced"]
    straight = train(*options, name="straight")
    original = History.on_train_epoch_start

    def die(self, trainer, module):
        if trainer.current_epoch == 2:
            raise RuntimeError("power cut")
        original(self, trainer, module)

    with monkeypatch.context() as patched:
        patched.setattr(History, "on_train_epoch_start", die)
        with pytest.raises(RuntimeError, match="power cut"):
            train(*options, name="broken")
    broken = straight.parent / "broken"
    assert result(broken)["status"] == "failed"
    train(*options, name="broken")
    last = [
        torch.load(f / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for f in (straight, broken)
    ]
    assert last[0].keys() == last[1].keys()
    assert all(torch.equal(last[0][name], last[1][name]) for name in last[0])
    first, second = ((f / "predictions.parquet").read_bytes() for f in (straight, broken))
    assert first == second


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["shuffle=residues"], "shuffle: got 'residues', expected none"),
        (["objective=val/balanced_accuracy"], "objective: got"),
        (["task.class_weights=some"], r"task\.class_weights"),
        (["task.crf=1"], r"task\.crf: got 1, expected true or false"),
        (["task.crf=true", "task.class_weights=balanced"], "none with task.crf=true"),
        (["level=gone"], "level: got 'gone'"),
        (["split.fold=3"], r"split\.fold: got 3, expected 0 to 2"),
        (["+task.label_smoothing=0.1"], r"task\.label_smoothing"),
    ],
)
def test_options_that_cannot_work(train, overrides, message):
    with pytest.raises(ConfigError, match=message):
        train("encoder=lstm", *overrides)


def test_data_without_residue_labels_are_refused(train, composed):
    from protemb.apps.train import run

    with pytest.raises(ConfigError, match="data with residue labels: tmbed, flip_ss"):
        run(composed("task=residue", "data=demo"))


def test_files_that_are_not_there_are_explained(composed, tmp_path):
    from protemb.apps.config import plain

    for name, words in (("tmbed", "BernhoferM/TMbed"), ("flip_ss", "J-SNACKKB/FLIP")):
        cfg = composed("task=residue", f"data={name}", f"paths.root={tmp_path}")
        with pytest.raises(InputError, match=words):
            load_residues(plain(cfg))


def test_real_configs_read_real_data(composed, real_data, tmp_path):
    from protemb.apps.config import check, plain
    from protemb.apps.records import load_split

    for name, letters, test in (("tmbed", "12BHS", 1304), ("flip_ss", "CEH", 364)):
        options = ["split.fold=1", "sweep=folds"] if name == "tmbed" else []
        cfg = composed(
            "task=residue",
            f"data={name}",
            f"paths.root={tmp_path}",
            f"paths.data={real_data}",
            *options,
        )
        values = plain(cfg)
        check(values)
        data = load_residues(values)
        assert data.letters == letters
        assert len(load_split(values, data.labelled).test) == test


def test_new_proteins_get_three_lines(train, tmp_path, capsys):
    folder = train("encoder=lstm")
    fasta = tmp_path / "new.fasta"
    fasta.write_text(">a b\nMKVLA\n>c\nW\n")
    capsys.readouterr()
    cli.main(["predict", str(folder), str(fasta)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0::3] == [">a b", ">c"] and lines[1::3] == ["MKVLA", "W"]
    letters = load_tagger(folder).recipe["letters"]
    assert [len(row) for row in lines[2::3]] == [5, 1] and set("".join(lines[2::3])) <= set(letters)


@pytest.mark.parametrize("option", ["segments=HZ", "marks.helix=Q"])
def test_segments_of_labels_that_cannot_be_are_refused(train, option):
    with pytest.raises(ConfigError, match="expected labels among CH"):
        train("encoder=lstm", "data.source.known=CH", f"data.source.{option}")


def test_a_level_that_is_not_there_is_refused_before_the_data(train, capsys):
    with pytest.raises(ConfigError, match="level: got 'none'"):
        train("encoder=lstm", "level=none", "data.source.path=[nowhere.txt]")
