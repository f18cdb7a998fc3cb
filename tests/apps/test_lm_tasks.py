"""Pretraining from config to model: what a run learns, keeps, repeats and refuses."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from started import Started

from protemb.cli import main
from protemb.errors import ConfigError, InputError
from protemb.models.loading import load_model
from protemb.models.pretrained.library import load_pretrained
from protemb.training.history import History
from protemb.training.language import PREFIX, read_weights
from protemb.vectors.table import VectorTable

ROOT = Path(__file__).parents[2]
LETTERS = "ARNDCQEGHILKMFPSTWYV"
QUICK = [
    "data=sequences",
    "data.source.letters.unknown=x",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "trainer.enable_progress_bar=false",
    "task.residues=2000",
    "optimizer.lr=0.01",
    "replicates=50",
    "figures=false",
]
LM = ["task=lm", "encoder.lm.hidden_dim=8", "encoder.lm.embed_dim=6"]
MASKED = ["task=masked_lm", "encoder=bilstm", "encoder.hidden_dim=8", "encoder.embed_dim=6"]
BOTH = pytest.mark.parametrize("task", [LM, MASKED], ids=["lm", "masked_lm"])


def _write(path, sequences):
    path.write_text("".join(f">r{i}\n{text}\n" for i, text in enumerate(sequences)))
    return path


def _markov(transitions_VV, lengths, seed):
    rng, rows = np.random.default_rng(seed), []
    for length in lengths:
        here, text = int(rng.integers(20)), []
        for _ in range(length):
            text.append(LETTERS[here])
            here = int(rng.choice(20, p=transitions_VV[here]))
        rows.append("".join(text))
    return rows


@pytest.fixture(scope="module")
def chain():
    """A first-order Markov chain over the residues, and sequences from it.

    Two residues in three are followed by a residue of their own, the third by any.
    """
    cycle = np.random.default_rng(7).permutation(20)
    transitions_VV = np.full((20, 20), 1 / 60)
    transitions_VV[cycle, np.roll(cycle, -1)] += 2 / 3
    return transitions_VV, _markov(transitions_VV, [60] * 320, seed=1)


@pytest.fixture
def fasta(tmp_path):
    """Some records of many lengths; one is read as X in places, one is X alone."""
    rng = np.random.default_rng(0)
    rows = ["".join(rng.choice(list(LETTERS), rng.integers(4, 40))) for _ in range(58)]
    return _write(tmp_path / "my.fasta", [*rows, "MKXXJV", "XX"])


@pytest.fixture
def pretrain(composed, tmp_path, fasta):
    """Run a job in this process; returns its folder."""
    from protemb.apps.train import run

    def start(*overrides, name="run", path=fasta):
        folder = tmp_path / name
        job = [*QUICK, f"data.source.path={path}", f"paths.root={tmp_path}", *overrides]
        cfg = composed(*job, out_dir=folder)
        if "task=lm" in overrides and not any(item.startswith("encoder=") for item in overrides):
            cfg.choices.encoder = "bilm"  # as Hydra says it
        run(cfg)
        return folder

    return start


def _result(folder):
    return json.loads((folder / "result.json").read_text())


def _predictions(folder, part=None):
    """Columns of the stored predictions, of one part or of all."""
    filters = None if part is None else [("part", "==", part)]
    table = pq.read_table(folder / "predictions.parquet", filters=filters)
    return {name: table[name].to_numpy() for name in table.column_names}


def _same_weights(first, second):
    one, two = (read_weights(f / "checkpoints" / "last.ckpt") for f in (first, second))
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@BOTH
def test_a_run_folder_holds_everything(pretrain, task, capsys):
    folder = pretrain(*task, "figures=true")
    record = _result(folder)
    assert record["status"] == "done" and record["label"] in ("bilm", "bilstm")
    assert record["reading"]["letters"] == {"unknown_residues": 1}
    expected = {
        "split.tsv",
        "audit.txt",
        "predictions.parquet",
        "history.csv",
        "checkpoints/best.ckpt",
        "model/recipe.json",
        "model/model.safetensors",
        "figures/learning.png",
    }
    assert {name for name in expected if (folder / name).is_file()} == expected
    assert not list(folder.rglob(".part-*"))
    out = capsys.readouterr().out
    assert record["label"] in out and "nats per residue (paired, 95 %)." in out
    # The scores are those of the stored predictions.
    test, label = _predictions(folder, "test"), record["label"]
    names = {label: "", **{n: f"({n})" for n in ("uniform", "unigram", "bigram", "neighbours")}}
    assert record["scores"].keys() == names.keys()
    for name, behind in names.items():
        scores = record["scores"][name]
        nats = test[f"loss{behind}"].sum() / test["residues"].sum()
        assert scores["cross_entropy"]["value"] == pytest.approx(nats)
        assert scores["perplexity"]["value"] == pytest.approx(math.exp(nats))
        accuracy = test[f"correct{behind}"].sum() / test["residues"].sum()
        assert scores["accuracy"]["value"] == pytest.approx(accuracy)
        interval = scores["cross_entropy"]
        assert interval["low"] <= interval["value"] <= interval["high"]
    assert record["scores"]["uniform"]["cross_entropy"]["value"] == pytest.approx(math.log(20))
    rival = record["difference"]["against"]
    assert rival == min(
        set(names) - {label}, key=lambda n: record["scores"][n]["cross_entropy"]["value"]
    )
    gain = (
        record["scores"][rival]["cross_entropy"]["value"]
        - record["scores"][label]["cross_entropy"]["value"]
    )
    assert record["difference"]["value"] == pytest.approx(gain)
    # The validation part is what the objective saw.
    validation = _predictions(folder, "validation")
    loss = validation["loss"].sum() / validation["residues"].sum()
    assert record["objective"] == pytest.approx(loss, rel=1e-5)
    assert (validation["unit"] == -1).all() and (test["unit"] >= 0).all()


@BOTH
def test_the_kept_model_is_the_best_checkpoint_and_embeds(pretrain, task, tmp_path, capsys):
    folder = pretrain(*task)
    model = load_pretrained(folder / "model")
    weights = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, weights[f"{PREFIX}encoder.{name}"])
    level = "lm" if task is LM else "states"
    assert load_model(folder).level == level
    new = _write(tmp_path / "new.fasta", ["MKV", "ACDEFGHIKLMNPQRSTVWYX"])
    output = tmp_path / "v.h5"
    options = ["--level", level, "--pooling", "mean", "-o", str(output)]
    assert not main(["embed", str(folder), str(new), *options])
    table = VectorTable.read(output)
    assert list(table.ids) == ["r0", "r1"]
    tokens = torch.tensor([[LETTERS.index(letter) for letter in "MKV"]])
    with torch.inference_mode():
        states_1LD = model.encoder(tokens, torch.tensor([3]), (level,))[level]
    np.testing.assert_allclose(table.vectors_ND[0], states_1LD[0].mean(0), rtol=1e-5, atol=1e-6)


@BOTH
@pytest.mark.parametrize("error", [RuntimeError("power cut"), KeyboardInterrupt()])
def test_resume_is_bit_equal(pretrain, task, monkeypatch, error):
    options = [*task, "trainer.max_epochs=3"]
    straight = pretrain(*options, name="straight")
    original = History.on_train_epoch_start

    def start(self, trainer, module):
        if trainer.current_epoch == 2:
            raise error
        original(self, trainer, module)

    with monkeypatch.context() as patch:
        patch.setattr(History, "on_train_epoch_start", start)
        with pytest.raises(Exception, match="power cut|SIGINT"):
            pretrain(*options, name="broken")
    broken = straight.parent / "broken"
    assert _result(broken)["status"] in ("failed", "interrupted")
    assert not (broken / "model").exists()
    pretrain(*options, name="broken")
    assert _result(broken)["status"] == "done" and _result(broken)["epochs"] == 3
    assert _same_weights(straight, broken)
    for name in ("predictions.parquet", "split.tsv", "model/model.safetensors"):
        assert (straight / name).read_bytes() == (broken / name).read_bytes(), name


def test_dying_while_results_are_written_keeps_the_model_of_the_checkpoint(pretrain, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("protemb.apps.language.mirror_results", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pretrain(*LM)
    folder = pretrain(*LM)
    assert _result(folder)["status"] == "done"
    weights = read_weights(folder / "checkpoints" / "best.ckpt")
    for name, value in load_pretrained(folder / "model").encoder.state_dict().items():
        assert torch.equal(value, weights[f"encoder.{name}"])


def test_masks_change_with_the_epoch_and_the_seed_changes_the_weights(pretrain):
    one, again = pretrain(*MASKED, name="one"), pretrain(*MASKED, name="again")
    assert _same_weights(one, again)
    other = pretrain(*MASKED, "seed=1", name="other")
    assert not _same_weights(one, other)
    # The same residues are scored, so that seeds can be compared.
    columns = ["id", "part", "residues", "loss(unigram)", "loss(neighbours)"]
    tables = [pq.read_table(f / "predictions.parquet", columns=columns) for f in (one, other)]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("encoder", ["cnn", "gru", "lstm", "embedding", "bilm"])
def test_any_encoder_learns_from_masks(pretrain, encoder):
    options = ["task=masked_lm", f"encoder={encoder}", "trainer.max_epochs=1"]
    if encoder == "bilm":
        options += ["level=lm", "encoder.lm.hidden_dim=8"]
    elif encoder != "embedding":
        options += ["encoder.hidden_dim=8"]
    folder = pretrain(*options)
    assert _result(folder)["status"] == "done"
    heads = load_pretrained(folder / "model").heads
    assert heads["masked_lm.weight"].shape[0] == 20


def test_a_model_that_is_there_is_trained_further(pretrain):
    first = pretrain(*LM, name="first")
    options = ["encoder=pretrained", f"encoder.weights={first}", "encoder.tune=all", "level=lm"]
    second = pretrain("task=masked_lm", *options, "trainer.max_epochs=1", name="second")
    one, two = (load_pretrained(folder / "model").encoder for folder in (first, second))
    assert type(one) is type(two) and one.options == two.options
    assert not torch.equal(one.lm.embed.weight, two.lm.embed.weight)
    torch.testing.assert_close(one.lm.embed.weight, two.lm.embed.weight, rtol=0, atol=0.1)
    with pytest.raises(ConfigError, match="encoder: got 'TunedEncoder', expected a language model"):
        pretrain("task=lm", *options, name="third")


def test_labels_are_not_needed_and_do_no_harm(composed, tmp_path):
    from protemb.apps.train import run

    job = [*QUICK[2:], *LM, "data.source.sequences_per_host=20", f"paths.root={tmp_path}"]
    run(composed(*job, out_dir=tmp_path / "run"))
    assert _result(tmp_path / "run")["status"] == "done"


# What is learned


@pytest.mark.slow
@BOTH
def test_a_tiny_set_is_learned_by_heart(pretrain, tmp_path, task):
    rng = np.random.default_rng(5)
    motifs = ["".join(rng.permutation(list(LETTERS))) for _ in range(2)]
    # The same two sequences in all parts: what is learned by heart is then found again.
    path = _write(tmp_path / "few.fasta", motifs * 12)
    options = ["split=random", "trainer.max_epochs=60", "scheduler=constant", "baselines=false"]
    options += ["callbacks.early_stopping.patience=60", "unit_identity=1", "task.max_records=8"]
    width = ["encoder.lm.hidden_dim=32"] if task is LM else ["encoder.hidden_dim=32"]
    folder = pretrain(*task, *options, *width, path=path)
    record = _result(folder)
    scores = record["scores"][record["label"]]
    assert scores["cross_entropy"]["value"] < 0.5 and scores["accuracy"]["value"] > 0.9
    assert record["difference"] is None


def _entropy(transitions_VV, sequences):
    """Nats per residue that are left when the chain and both neighbours are known."""
    total, count = 0.0, 0
    # Beyond the ends stands nothing, so nothing is known from there.
    ends = np.pad(transitions_VV, ((0, 1), (0, 1)), constant_values=1.0)
    for text in sequences:
        tokens = [20, *(LETTERS.index(letter) for letter in text), 20]
        for left, x, right in zip(tokens[:-2], tokens[1:-1], tokens[2:], strict=True):
            p_V = ends[left, :20] * ends[:20, right]
            total -= math.log(p_V[x] / p_V.sum())
            count += 1
    return total / count


# The chain runs differently from right to left, which weights for both directions learn late.
ORDER = [*LM, "encoder.lm.tied=false", "encoder.lm.hidden_dim=24", "encoder.lm.layers=1"]
ORDER += ["task.max_records=8", "trainer.max_epochs=10"]


@pytest.mark.slow
def test_the_order_of_a_markov_chain_is_learned(pretrain, chain, tmp_path):
    transitions_VV, sequences = chain
    path = _write(tmp_path / "chain.fasta", sequences)
    folder = pretrain(*ORDER, "optimizer.lr=0.02", path=path)
    record = _result(folder)
    scores = {name: row["cross_entropy"] for name, row in record["scores"].items()}
    assert scores["bilm"]["high"] < scores["unigram"]["low"] - 0.5
    assert scores["bilm"]["high"] < scores["bigram"]["low"]
    # Nothing can be below the chain's entropy but by chance; the network comes near it.
    tested = [sequences[int(name[1:])] for name in _predictions(folder, "test")["id"]]
    entropy = _entropy(transitions_VV, tested)
    assert entropy - 0.02 < scores["bilm"]["value"] < entropy + 0.1


@pytest.mark.slow
def test_no_order_is_found_in_shuffled_sequences(pretrain, chain, tmp_path, capsys):
    path = _write(tmp_path / "chain.fasta", chain[1])
    record = _result(pretrain(*ORDER, "shuffle=residues", path=path))
    scores = {name: row["cross_entropy"] for name, row in record["scores"].items()}
    # A shuffled sequence still has the composition of its own, which is worth a little.
    assert scores["bilm"]["value"] > scores["unigram"]["value"] - 0.05
    assert scores["neighbours"]["value"] > scores["unigram"]["value"] - 0.02


# What cannot work


def test_bad_input_is_one_line(pretrain, fasta, tmp_path):
    cases = [
        (["task=lm", "encoder=bilstm"], r"encoder: got 'RecurrentEncoder'.*task=masked_lm"),
        (["task=lm", "level=onehot"], "level: got 'onehot', expected lm"),
        ([*MASKED, "level=lm"], "level: got 'lm', expected one of table, states"),
        ([*MASKED, "task.masked=0"], "task.masked: got 0, expected a share above 0"),
        ([*MASKED, "task.masked=much"], "task.masked: got 'much'"),
        ([*MASKED, "encoder.alphabet_size=25"], "no such option|encoder.alphabet_size: got 25"),
        ([*LM, "encoder.lm.layers=0"], "encoder.lm.layers: got 0, expected a whole number"),
        ([*LM, "+encoder.lm.width=3"], "encoder: got .*options that it has"),
        ([*LM, "+task.masked=0.2"], "task.masked: got 0.2, expected no such option"),
        ([*LM, "objective=val/balanced_accuracy"], "objective: got 'val/balanced_accuracy'"),
        ([*LM, "objective=val/accuracy"], "objective_mode: got 'min'"),
    ]
    for overrides, message in cases:
        if any("alphabet_size" in item for item in overrides):
            overrides = [item.replace("encoder.alpha", "+encoder.alpha") for item in overrides]
        with pytest.raises(ConfigError, match=message) as caught:
            pretrain(*overrides)
        assert len(str(caught.value).splitlines()) == 1
        assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="gone.fasta: cannot be read"):
        pretrain(*LM, path=tmp_path / "gone.fasta")
    nothing = _write(tmp_path / "x.fasta", ["X" * n for n in range(1, 12)])
    with pytest.raises(ConfigError, match="a residue that is not unknown in the train part"):
        pretrain(*LM, path=nothing)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_command_prints_one_line_for_the_wrong_encoder(tmp_path, fasta):
    options = ["task=lm", "encoder=cnn", "data=sequences", f"data.source.path={fasta}"]
    process = Started("train.py", *options, f"paths.root={tmp_path}")
    _, err = process.communicate()
    assert process.returncode == 2 and err.count("\n") == 1
    assert "encoder: got 'ConvolutionEncoder'" in err
    assert not list(tmp_path.glob("runs/**/result.json"))


@pytest.mark.slow
@pytest.mark.parametrize("task", [MASKED], ids=["masked_lm"])
def test_two_processes_give_the_result_of_one(pretrain, tmp_path, fasta, task):
    options = [*QUICK, f"data.source.path={fasta}", *task, "optimizer.lr=0.001"]
    one = pretrain(*task, "optimizer.lr=0.001")
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    options = [item for item in options if item != "trainer=cpu"]
    process = Started("train.py", *options, *ddp, f"paths.root={tmp_path / 'ddp'}")
    _, err = process.communicate(timeout=170)
    assert process.returncode == 0, err
    (two,) = [path.parent for path in (tmp_path / "ddp").glob("runs/**/result.json")]
    first, second = _predictions(one), _predictions(two)
    for name in ("id", "residues", "loss(unigram)"):
        assert (first[name] == second[name]).all()
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("masked", ["null", "true", "0", "1.5"])
def test_nothing_masked_is_no_task(pretrain, masked):
    with pytest.raises(ConfigError, match="task.masked: got .* expected a share"):
        pretrain(*MASKED, f"task.masked={masked}")
