"""The three networks of the question: in protemb, and as one writes them in plain PyTorch.

Shape letters: B = sequences in the batch, L = longest of them, D = features, H = hidden units.
"""

from collections.abc import Iterable

import numpy as np
import torch
from _sets import BATCH, CLASSES, HA_LENGTHS
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from protemb.models.checkpoint import build_classifier
from protemb.models.classifier import SequenceClassifier
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.partition import Split
from protemb.training.data import SequenceData

RESIDUES = BATCH * HA_LENGTHS[1]  # the budget into which 64 of the HA set fit
VALIDATION = 16  # records, for what wants a validation part
DIM = 10
PADDING = 21


def recipe(network: str) -> dict:
    """What a checkpoint would say of one of the networks."""
    encoder, options, pooling = {
        "mean": ("TableEncoder", {}, "MeanPooling"),
        "LSTM(64)": ("RecurrentEncoder", {}, "LastPooling"),
        "BiLSTM(64)": ("RecurrentEncoder", {"bidirectional": True}, "EndsPooling"),
    }[network]
    return {
        "encoder": {"_target_": f"protemb.models.encoders.{encoder}", **options},
        "pooling": {"_target_": f"protemb.models.pooling.{pooling}"},
        "level": "states",
        "head": {"hidden": 64 if network == "mean" else None},
        "labels": [f"host_{host}" for host in range(CLASSES)],
    }


def batches(data: LabelledSet) -> SequenceData:
    """Batches of at most 64 records; all but the last few records train."""
    records = np.arange(len(data))
    split = Split(records[:-VALIDATION], records[-VALIDATION:], records[:0], "all", {})
    return SequenceData(data, split, residues=RESIDUES, max_records=BATCH)


class Training:
    """A bare loop: batches from the store, forward, backward, fused Adam."""

    def __init__(self, network: str, data: SequenceData) -> None:
        self.model: SequenceClassifier = build_classifier(recipe(network))
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True)
        self.data = data
        data.count_residues(self.model.embedder.counts_suffice)

    def epoch(self, number: int) -> int:
        """Train on every record once; return how many residues that were."""
        residues = 0
        for batch in self.data.plan(self.data.split.train, number):
            inputs, labels_B, weights_B = self.data.batch(batch)
            logits_BC = self.model.of(inputs)
            losses_B = F.cross_entropy(logits_BC, labels_B, reduction="none")
            self.optimizer.zero_grad()
            (losses_B * weights_B).sum().backward()
            self.optimizer.step()
            residues += int(inputs.lengths_B.sum())
        return residues


class Plain(nn.Module):
    """Embedding, network and softmax over a padded batch."""

    def __init__(self, network: str, packed: bool, hidden: int = 64) -> None:
        super().__init__()
        self.packed, self.hidden, both = packed, hidden, network == "BiLSTM(64)"
        self.table = nn.Embedding(PADDING + 1, DIM, padding_idx=PADDING)
        if network == "mean":
            self.rnn, self.dense = None, nn.Linear(DIM, hidden)
        else:
            self.rnn = nn.LSTM(DIM, hidden, batch_first=True, bidirectional=both)
        self.head = nn.Linear(hidden * (1 + both), CLASSES)

    def forward(self, tokens_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """Return logits. Unless packed, the right-to-left half reads the padding too."""
        states_BLD = self.table(tokens_BL)
        if self.rnn is None:
            mask_BL1 = (tokens_BL != PADDING)[..., None]
            mean_BD = (states_BLD * mask_BL1).sum(1) / lengths_B[:, None]
            return self.head(torch.relu(self.dense(mean_BD)))
        if self.packed:
            states_BLD = pack_padded_sequence(
                states_BLD, lengths_B, batch_first=True, enforce_sorted=False
            )
        states_BLH, (finals_1BH, _) = self.rnn(states_BLD)
        if not self.packed:
            lasts_BH = states_BLH[torch.arange(len(lengths_B)), lengths_B - 1, : self.hidden]
            finals_1BH = [lasts_BH, *finals_1BH[1:]]
        return self.head(torch.cat(list(finals_1BH), dim=1))


def random_batches(data: LabelledSet) -> Iterable[tuple[list[Tensor], Tensor]]:
    """Ready tokens and labels of 64 records drawn at random, without end."""
    labels_N = torch.from_numpy(np.array(data.labels_N))
    items = [torch.from_numpy(data.store.tokens(i).astype(np.int64)) for i in range(len(data))]
    while True:
        for batch in torch.randperm(len(items)).split(BATCH):
            yield [items[i] for i in batch], labels_N[batch]
