"""Task `similarity` from config to run folder, on planted families of sequences."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from protemb.apps.train import run
from protemb.errors import ConfigError, InputError
from protemb.models.pretrained.library import load_pretrained
from protemb.models.pretrained.similarity import Similarity
from protemb.training.history import History

SMALL = ("inner_dim=6", "hidden_dim=8", "out_dim=8")
LETTERS = "ARNDCQEGHILKMFPSTWYV"


def mutate(rng, sequence, share):
    drawn = rng.random(len(sequence)) < share
    return np.where(drawn, rng.integers(20, size=len(sequence)), sequence)


@pytest.fixture(scope="session")
def domains(tmp_path_factory):
    """Four classes of four folds of two superfamilies of two families of four domains.

    Each level descends from an ancestor of its own: the more is shared, the more alike.
    """
    rng, lines = np.random.default_rng(0), []
    for c in "abcd":
        whole = rng.integers(20, size=45)
        for f in range(1, 5):
            fold = mutate(rng, whole, 0.5)
            for s in range(1, 3):
                superfamily = mutate(rng, fold, 0.35)
                for m in range(1, 3):
                    family = mutate(rng, superfamily, 0.25)
                    for n in range(4):
                        own = mutate(rng, family, 0.2)
                        start, stop = rng.integers(0, 8), len(own) - rng.integers(0, 8)
                        text = "".join(LETTERS[i] for i in own[start:stop]).lower()
                        lines.append(f">d{c}{f}{s}{m}{n}_ {c}.{f}.{s}.{m} (A:) made up\n{text}\n")
    path = tmp_path_factory.mktemp("scope") / "astral.fa"
    path.write_text("".join(lines))
    return path


@pytest.fixture
def train(composed, domains, tmp_path):
    def start(*overrides, name="run"):
        folder = tmp_path / name
        stacked = ["encoder=stacked", *(f"encoder.{name}" for name in SMALL)]
        if any(item.startswith("encoder=") for item in overrides):
            stacked = []
        run(
            composed(
                "task=similarity",
                *stacked,
                f"data.source.path={domains}",
                "trainer=cpu",
                "trainer.max_epochs=3",
                "task.pairs_per_epoch=96",
                "task.pairs_per_batch=24",
                "task.validation_pairs=60",
                "task.test_pairs=150",
                "~callbacks.progress",
                "trainer.enable_progress_bar=false",
                "replicates=30",
                "figures=false",
                f"paths.root={tmp_path}",
                *overrides,
                out_dir=folder,
            )
        )
        return folder

    return start


def result(folder):
    return json.loads((folder / "result.json").read_text())


def test_a_run_folder_holds_everything(train, capsys):
    folder = train("figures=true", "task.alignment=true")
    record = result(folder)
    names = {"split.tsv", "audit.txt", "history.csv", "predictions.parquet", "model/recipe.json"}
    names |= {"figures/learning.png", "figures/scores.png"}
    assert all((folder / name).is_file() for name in names)
    own = record["label"]
    assert own == "stacked@projection/ssa"
    rows = {own, "before training", "length", "composition", "kmer3", "alignment"}
    assert set(record["scores"]) == rows and set(record["differences"]) == rows - {own}
    assert record["units"]["field"] == "fold" and record["best_epoch"] in (1, 2, 3)
    # The default split keeps folds apart, so nothing below a class was seen.
    assert record["seen_in_training"]["fold"] == record["seen_in_training"]["family"] == 0
    assert record["difference"]["metric"] == "spearman"
    told = capsys.readouterr().out
    assert "of rank correlation (paired, 95 %)" in told or "no difference shown" in told
    assert "AP superfamily" in told and "guessing" in told


def test_scores_are_those_of_the_stored_pairs(train):
    folder = train()
    record, table = result(folder), pq.read_table(folder / "predictions.parquet").to_pandas()
    scores = record["scores"]
    for name, column in (("kmer3", "kmer3"), (record["label"], "score")):
        expected = spearmanr(table[column], table["level"]).statistic
        assert scores[name]["spearman"]["value"] == pytest.approx(expected)
        found = scores[name]["average_precision/superfamily"]["value"]
        assert found == pytest.approx(average_precision_score(table["level"] >= 3, table[column]))
    chances_PK = table[[f"p{k}" for k in range(5)]].to_numpy()
    np.testing.assert_allclose(chances_PK.sum(1), 1)
    np.testing.assert_allclose(chances_PK @ np.arange(5), table["expected"])
    accuracy = (chances_PK.argmax(1) == table["level"]).mean()
    assert scores[record["label"]]["accuracy"]["value"] == pytest.approx(accuracy)
    fold = {c: c.split("_")[0][1:3] for c in {*table["id_a"], *table["id_b"]}}
    same = table["id_a"].map(fold) == table["id_b"].map(fold)
    assert (same == (table["level"] >= 2)).all()
    assert (same == (table["unit_a"] == table["unit_b"])).all()
    parts = dict(
        line.split("\t") for line in (folder / "split.tsv").read_text().splitlines() if "\t" in line
    )
    assert {parts[c] for c in fold} == {"test"}


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["task.method=ua", "task.norm=L2"],
        ["task.method=me"],
    ],
)
def test_the_exported_model_gives_the_stored_scores(train, domains, options):
    folder = train(*options)
    table = pq.read_table(folder / "predictions.parquet").to_pandas().head(12)
    model = load_pretrained(folder / "model")
    compare = Similarity.of(model.heads, model.recipe)

    assert model.recipe["level"] == "projection"
    records = domains.read_text().removeprefix(">").split(">")
    sequences = {text.split()[0]: text.split()[-1].upper() for text in records}
    for row in table.itertuples():
        states = []
        for name in (row.id_a, row.id_b):
            tokens = torch.tensor([[LETTERS.index(x) for x in sequences[name]]])
            with torch.no_grad():
                found = model.encoder(tokens, torch.tensor([tokens.shape[1]]), ("projection",))
            states.append(found["projection"][0])
        value = compare.score(*states)
        assert value.item() == pytest.approx(row.score, rel=1e-5)
        assert compare.expected_level(value) == pytest.approx(row.expected, abs=1e-4)


def test_resuming_is_bit_equal(train, monkeypatch):
    straight = train("scheduler=cosine", name="straight")
    original = History.on_train_epoch_start

    def dies(self, trainer, module):
        if trainer.current_epoch == 2:
            raise RuntimeError("power cut")
        original(self, trainer, module)

    with monkeypatch.context() as patch:
        patch.setattr(History, "on_train_epoch_start", dies)
        with pytest.raises(RuntimeError, match="power cut"):
            train("scheduler=cosine", name="broken")
    broken = train("scheduler=cosine", name="broken")
    for name in ("predictions.parquet", "model/model.safetensors"):
        assert (straight / name).read_bytes() == (broken / name).read_bytes()
    assert result(broken)["objective"] == result(straight)["objective"]


@pytest.mark.slow
def test_training_learns_planted_families(train):
    folder = train(
        "encoder.hidden_dim=16",
        "encoder.inner_dim=16",
        "encoder.out_dim=16",
        "trainer.max_epochs=5",
        "task.pairs_per_epoch=768",
        "task.pairs_per_batch=32",
        "task.test_pairs=600",
        "split=unique",
        "optimizer.lr=0.02",
        "replicates=200",
    )
    record = result(folder)
    gains = record["differences"]["before training"]
    assert gains["spearman"]["low"] > 0
    assert gains["average_precision/fold"]["low"] > 0
    assert record["seen_in_training"]["family"] > 0.8


def test_pairs_of_a_file_are_scored_and_their_domains_never_trained_on(train, tmp_path):
    path = tmp_path / "pairs.csv"
    rows = [f"da1110_,da{f}{s}21_,{int(f == 1)}" for f in range(1, 5) for s in (1, 2)]
    path.write_text("id_a,id_b,label\n" + "\n".join(rows) + "\n")
    folder = train(f"task.pairs_file={path}", "split=unique")
    record = result(folder)
    assert record["ready"]["pairs"] == 8
    assert set(record["ready"]["scores"]) == set(record["scores"])
    table = pq.read_table(folder / "ready.parquet").to_pandas()
    assert table["level"].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    own = record["ready"]["scores"][record["label"]]["average_precision/related"]["value"]
    assert own == pytest.approx(average_precision_score(table["level"], table["score"]))
    parts = dict(
        line.split("\t") for line in (folder / "split.tsv").read_text().splitlines() if "\t" in line
    )
    assert {parts[c] for c in {*table["id_a"], *table["id_b"]}} <= {"test", "none"}


def test_their_sequences_under_other_ids_are_not_trained_on_either(train, domains, tmp_path):
    records = domains.read_text().split(">")[1:]
    twice = tmp_path / "twice.fa"
    again = [f">again_{record}" for record in records if record.startswith(("da1", "db1"))]
    twice.write_text(domains.read_text() + "".join(again))
    path = tmp_path / "pairs.csv"
    path.write_text("id_a,id_b,label\nda1110_,da1111_,1\nda1110_,db1110_,0\n")
    folder = train(f"data.source.path={twice}", f"task.pairs_file={path}", "split=unique")
    lines = (folder / "split.tsv").read_text().splitlines()
    parts = dict(line.split("\t") for line in lines if "\t" in line)
    for name in ("da1110_", "da1111_", "db1110_"):
        assert {parts[name], parts[f"again_{name}"]} <= {"test", "none"}


def test_an_encoder_without_projection_gets_one(train):
    folder = train("encoder=bilstm", "encoder.hidden_dim=8", "task.level=states", "task.out_dim=5")
    assert result(folder)["label"] == "bilstm@projection/ssa"
    model = load_pretrained(folder / "model")
    assert model.recipe["level"] == "states" and not model.heads


def test_a_model_that_is_there_is_trained_further(train):
    first = train()
    weights = f"encoder.weights={first}"
    tuned = ["encoder=pretrained", "encoder.tune=all", weights, "trainer.max_epochs=1"]
    second = train(*tuned, name="second")
    models = [load_pretrained(folder / "model") for folder in (first, second)]
    assert models[0].recipe["encoder"] == models[1].recipe["encoder"]
    assert models[0].sha256 != models[1].sha256 and set(models[1].heads) == {"theta", "beta"}
    left_off, begun = result(first)["scores"], result(second)["scores"]
    assert begun["before training"]["spearman"]["value"] == pytest.approx(
        left_off["stacked@projection/ssa"]["spearman"]["value"]
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task.level=lm", "level: got 'lm', expected one of onehot, inner"),
        ("task.method=nw", r"task\.method: got 'nw'"),
        ("task.tau=2", r"task\.tau: got 2"),
        ("task.test_pairs=0", r"task\.test_pairs: got 0, expected a whole number from 1"),
        ("task.out_dim=0", r"task\.out_dim: got 0"),
        ("task.levels=[kingdom]", r"task\.levels: got 'kingdom'"),
        ("task.unit=kingdom", "got 'kingdom', expected one of group, class"),
        ("task.resample=1", r"task\.resample: got 1, expected a share from 0 to below 1"),
        ("task.resample=x", r"task\.resample: got 'x'"),
        ("task.tau=x", r"task\.tau: got 'x'"),
        ("objective=val/accuracy", "objective: got 'val/accuracy'"),
        ("+task.hidden=3", r"task\.hidden: got 3, expected no such option"),
    ],
)
def test_options_that_cannot_work_are_named(train, tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        train(override)
    assert not (tmp_path / "run").exists()


def test_missing_files_are_named_with_a_hint(train, tmp_path):
    with pytest.raises(InputError, match=r"no-such\.fa: .*ASTRAL headers"):
        train(f"data.source.path={tmp_path / 'no-such.fa'}")
    with pytest.raises(InputError, match=r"pairs\.csv"):
        train(f"task.pairs_file={tmp_path / 'pairs.csv'}")
