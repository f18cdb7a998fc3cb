"""What makes small networks train fast changes no number: counts for tokens, logs by epoch."""

import time
from collections import Counter
from unittest.mock import patch

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from protemb.models import counts
from protemb.models.batches import TokenBatch
from protemb.models.checkpoint import build_classifier
from protemb.models.counts import CountBatch, residue_counts
from protemb.sequences.alphabet import AA21
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.partition import Split
from protemb.sequences.tokens import TokenStore
from protemb.training.data import SequenceData
from protemb.training.history import History
from protemb.training.module import ClassifierModule
from protemb.training.progress import Progress

ENCODERS = "protemb.models.encoders"
RECORDS, VALIDATION = 60, 12


def recipe(encoder="TableEncoder", pooling="MeanPooling", level="states", **head):
    return {
        "encoder": {"_target_": f"{ENCODERS}.{encoder}"},
        "pooling": {"_target_": f"protemb.models.pooling.{pooling}"},
        "level": level,
        "head": head,
        "labels": ["a", "b", "c"],
    }


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    texts = [AA21.decode(rng.integers(0, 21, n)) for n in rng.integers(1, 300, RECORDS)]
    texts[5] = texts[0]
    store = TokenStore.from_sequences((f"p{i}", text) for i, text in enumerate(texts))
    return LabelledSet.from_labels(store, [f"host_{n}" for n in rng.integers(0, 3, RECORDS)])


def batches_of(data, **options):
    records = np.arange(RECORDS)
    parts = records[:-VALIDATION], records[-VALIDATION:], records[:0]
    return SequenceData(data, Split(*parts, "all", {}), residues=2000, max_records=8, **options)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text("ACDXY", min_size=1, max_size=40), min_size=1, max_size=12), st.data())
def test_counts_are_those_of_the_letters(texts, drawn):
    store = TokenStore.from_sequences((str(i), text) for i, text in enumerate(texts))
    at_once = drawn.draw(st.integers(1, 200))
    with patch.object(counts, "_RESIDUES", at_once):
        counts_SV = residue_counts(store)
    for record, text in enumerate(texts):
        own = counts_SV[store.sequence_of_N[record]]
        found = {AA21.symbols[v]: int(n) for v, n in enumerate(own) if n}
        assert found == Counter(text)
    with patch.object(counts, "MOST_BYTES", counts_SV.nbytes - 1):
        assert residue_counts(store) is None


@pytest.mark.parametrize("kind, bound", [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize(
    "encoder, level", [("TableEncoder", "states"), ("RecurrentEncoder", "table")]
)
def test_counts_give_what_tokens_give(data, encoder, level, kind, bound):
    torch.manual_seed(0)
    model = build_classifier(recipe(encoder, level=level, hidden=16)).to(kind)
    plain, counted = batches_of(data), batches_of(data)
    counted.count_residues(True)
    for rank in range(3):
        records = np.array([0, 7, 5, 40, 41])
        found = []
        for source, expected in ((plain, TokenBatch), (counted, CountBatch)):
            inputs, labels_B, weights_B = source.batch(records, rank, 3)
            assert isinstance(inputs, expected)
            logits_BC = model.of(inputs)
            trained = [p for p in model.parameters() if p.requires_grad]
            loss = torch.nn.functional.cross_entropy(logits_BC, labels_B, reduction="none")
            gradients = torch.autograd.grad(
                (loss * weights_B).sum(), trained, allow_unused=True, materialize_grads=True
            )
            found.append([logits_BC, labels_B, weights_B, inputs.lengths_B, *gradients])
        for tokens, by_counts in zip(*found, strict=True):
            torch.testing.assert_close(by_counts, tokens, rtol=bound, atol=bound)


class Watched(pl.Callback):
    """The loss of every step, and what kind of batch it had."""

    def __init__(self):
        self.losses, self.kinds = [[]], set()

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        self.losses[-1].append(float(outputs["loss"]))
        self.kinds.add(type(batch[0]))

    def on_train_epoch_end(self, trainer, module):
        self.losses.append([])


def fitted(data, recipe, folder, *callbacks, epochs=3, precision="32-true"):
    pl.seed_everything(0, verbose=False)
    watched = Watched()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        precision=precision,
        callbacks=[watched, *callbacks],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(c, Progress) for c in callbacks),
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    module = ClassifierModule(
        build_classifier(recipe),
        recipe,
        optimizer=lambda weights: torch.optim.Adam(weights, lr=0.01),
    )
    trainer.fit(module, batches_of(data))
    return module, watched, trainer


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-true"])
def test_a_training_by_counts_is_that_by_tokens(data, tmp_path, precision):
    fast, seen, trainer = fitted(data, recipe(hidden=8), tmp_path, precision=precision)
    assert seen.kinds == {CountBatch}
    with patch.object(counts, "MOST_BYTES", 0):
        plain, others, other_trainer = fitted(data, recipe(hidden=8), tmp_path, precision=precision)
    assert others.kinds == {TokenBatch}
    bound = {"32-true": 1e-5, "64-true": 1e-11, "bf16-true": 0.05}[precision]
    for name, weight in plain.state_dict().items():
        torch.testing.assert_close(fast.state_dict()[name], weight, rtol=bound, atol=bound)
    assert trainer.callback_metrics.keys() == other_trainer.callback_metrics.keys()
    for name, value in trainer.callback_metrics.items():
        assert float(value) == pytest.approx(float(other_trainer.callback_metrics[name]), rel=bound)


def test_batches_give_tokens_again_to_a_network_that_reads_order(data):
    batches = batches_of(data)
    for wanted, kind in ((True, CountBatch), (False, TokenBatch)):
        batches.count_residues(wanted)
        assert isinstance(batches.batch(np.arange(3))[0], kind)


@pytest.mark.parametrize("pooling", ["MaxPooling", "AttentionPooling"])
def test_other_networks_get_tokens(data, tmp_path, pooling):
    _, watched, _ = fitted(data, recipe(pooling=pooling), tmp_path, epochs=1)
    assert watched.kinds == {TokenBatch}
    with pytest.raises(AssertionError, match="counts_suffice"):
        build_classifier(recipe(pooling=pooling)).embedder.of_counts(
            torch.ones(1, 21), torch.ones(1)
        )


def test_the_logged_loss_is_the_mean_of_the_steps(data, tmp_path):
    history = History()
    _, watched, _ = fitted(data, recipe(), tmp_path, history)
    assert len(history.rows) == 3
    for row, losses in zip(history.rows, watched.losses, strict=False):
        assert row["train/loss"] == pytest.approx(np.mean(losses), rel=1e-6)
        assert "residues/s" not in row and row["residues_per_second"] > 0


class Drawn(Progress):
    """Keeps what the bar was told."""

    def __init__(self, **options):
        super().__init__(**options)
        self.told, self.done = [], []

    def get_metrics(self, trainer, pl_module):
        self.told.append(super().get_metrics(trainer, pl_module))
        return self.told[-1]

    def on_train_epoch_end(self, trainer, pl_module):
        self.done.append(self.train_progress_bar.completed)
        super().on_train_epoch_end(trainer, pl_module)


def test_the_bar_moves_when_it_is_time_and_reaches_the_end(data, tmp_path, capfd):
    bar, history = Drawn(refresh_rate=10), History()
    started = time.monotonic()
    _, watched, _ = fitted(data, recipe(), tmp_path, history, bar, epochs=4)
    steps = sum(map(len, watched.losses))
    assert bar.done == [len(losses) for losses in watched.losses[:4]]
    # Besides the time: an epoch's last step, and Lightning's own calls around an epoch.
    most = (time.monotonic() - started) * bar.refresh_rate + 4 * 4
    assert len(bar.told) <= min(most, 2 * steps)
    last = bar.told[-1]
    assert int(last["kres/s"]) >= 0 and {"kres/s", "train/loss", "val/loss"} <= last.keys()
