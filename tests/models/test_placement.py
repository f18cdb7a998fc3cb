"""What runs on a GPU never mixes tensors of both places, and gives what a CPU gives."""

import copy
import itertools

import numpy as np
import pytest
import torch
from elsewhere import CUDA, Elsewhere, MixedDevices, Placing, move
from torch.nn.utils.rnn import pack_padded_sequence

from protemb.models.batches import collate, padding_mask
from protemb.models.embedder import Embedder
from protemb.models.encoders import ConvolutionEncoder, RecurrentEncoder, TableEncoder
from protemb.models.language import MaskedResidue, NextResidue
from protemb.models.pair_scorer import PairScorer
from protemb.models.pooling import POOLINGS
from protemb.models.pretrained.recurrent import PublishedRecurrent
from protemb.models.pretrained.unirep import UniRep
from protemb.models.residue_tagger import ResidueTagger

# Said by torch.nn.LSTM, which believes them.
pytestmark = pytest.mark.filterwarnings("ignore:PyTorch was compiled without cuDNN")

ENCODERS = {
    "table": TableEncoder,
    "lstm": lambda: RecurrentEncoder(hidden_dim=6),
    "bigru": lambda: RecurrentEncoder(cell="gru", hidden_dim=6, layers=2, bidirectional=True),
    "cnn": lambda: ConvolutionEncoder(hidden_dim=6),
    "ssa": lambda: PublishedRecurrent(**SSA),
    "unirep": lambda: UniRep(hidden_dim=6, layers=2, embed_dim=4),
}
LM = {"embed_dim": 6, "hidden_dim": 5, "layers": 2, "tied": True}
SSA = {"lm": LM, "inner_dim": 4, "hidden_dim": 5, "layers": 2, "out_dim": 7}
LENGTHS = [1, 2, 17]


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 20, length).astype(np.uint8) for length in LENGTHS]
    return collate(rows, padding=21, positions=np.array([length // 2 for length in LENGTHS]))


def assert_same_in_both_places(network, compute):
    """Results and gradients.

    Args:
        network: has not been moved.
        compute: of the network and a function that moves its inputs; gives a tensor.
    """
    found = []
    for there in (False, True):
        own = move(copy.deepcopy(network)) if there else copy.deepcopy(network)
        with Placing():
            result = compute(own, lambda x, there=there: x.to(CUDA) if there else x)
            assert isinstance(result, Elsewhere) == there
            result.float().square().sum().backward()
            gradients = [weight.grad for weight in own.parameters() if weight.grad is not None]
            found.append([each.cpu() for each in (result.detach(), *gradients)])
    assert len(found[0]) == len(found[1])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("encoder", "pooling"),
    # The two directions of ssa do not stand apart.
    [pair for pair in itertools.product(ENCODERS, POOLINGS) if pair != ("ssa", "ends")],
)
def test_vectors(encoder, pooling, batch):
    torch.manual_seed(0)
    embedder = Embedder(ENCODERS[encoder](), POOLINGS[pooling])

    def compute(network, placed):
        here = placed(batch)
        return network(here.tokens_BL, here.lengths_B, here.positions_B)

    assert_same_in_both_places(embedder, compute)


@pytest.mark.parametrize("crf", [False, True])
def test_labels_of_residues(crf, batch):
    torch.manual_seed(0)
    tagger = ResidueTagger(RecurrentEncoder(hidden_dim=6), "states", 3, hidden=4, crf=crf)
    targets_BL = torch.randint(0, 3, batch.tokens_BL.shape)

    def compute(tagger, placed):
        here = placed(batch)
        logits_BLC = tagger(here.tokens_BL, here.lengths_B)
        decoded_BL = tagger.decode(logits_BLC, here.lengths_B)
        assert decoded_BL.device == logits_BLC.device
        if tagger.chain is None:
            return logits_BLC
        counted_BL = placed(padding_mask(batch.lengths_B, targets_BL.shape[1], "cpu"))
        labels_BL = placed(targets_BL)
        return tagger.chain.log_likelihood(logits_BLC, labels_BL, counted_BL, here.lengths_B)

    assert_same_in_both_places(tagger, compute)


@pytest.mark.parametrize("task", ["lm", "masked_lm"])
def test_language_models(task, batch):
    torch.manual_seed(0)
    network = (
        NextResidue(PublishedRecurrent(lm=LM))
        if task == "lm"
        else MaskedResidue(RecurrentEncoder(hidden_dim=6), "states")
    )

    def compute(network, placed):
        here = placed(batch)
        return network(here.tokens_BL, here.lengths_B)

    assert_same_in_both_places(network, compute)


@pytest.mark.parametrize("method", ["ssa", "ua", "me"])
def test_pairs(method, batch):
    torch.manual_seed(0)
    scorer = PairScorer(RecurrentEncoder(hidden_dim=6), "states", 4, method=method)
    pairs_P2, levels_P = torch.tensor([[0, 1], [2, 1], [2, 0]]), torch.tensor([0, 2, 4])

    def compute(scorer, placed):
        here = placed(batch)
        scores_P = scorer(here.tokens_BL, here.lengths_B, placed(pairs_P2))
        return scorer.losses(scores_P, placed(levels_P))

    assert_same_in_both_places(scorer, compute)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_recurrent_layers_are_rounded_to_what_was_asked_for_or_not_at_all(dtype, batch):
    """For them autocast has float16 alone; that it would take it for bfloat16 goes unsaid."""
    encoder, seen = move(RecurrentEncoder(hidden_dim=6)), []
    encoder.rnn.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cuda")))
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", dtype)
    try:
        with Placing():
            here = batch.to(CUDA)
            encoder(here.tokens_BL, here.lengths_B)
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])
    assert seen == [dtype is torch.float16]


def test_what_a_gpu_refuses_is_refused():
    """Else the tests above could not fail."""
    with Placing():
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        assert there.is_cuda and not here.is_cuda
        for refused in (
            lambda: there + here,
            lambda: here[there.long()],
            lambda: there.numpy(),
            lambda: torch.cat([there, here]),
            lambda: torch.arange(3) == there,
            lambda: torch.stack([there[0], here[0]]),
            lambda: there.index_put((torch.tensor([0]),), here[:1]),
            lambda: here.index_put((there[:1].long(),), here[:1]),
            lambda: pack_padded_sequence(there[:, None, None], there.long()),
        ):
            with pytest.raises(MixedDevices):
                refused()
        torch.testing.assert_close((there * 2).cpu(), here * 2)
        assert there[torch.tensor([0])].is_cuda and float(there.sum()) == 3
