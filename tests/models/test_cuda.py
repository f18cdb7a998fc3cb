"""What a GPU computes is what a CPU computes, and depends on batch mates no more than there."""

import numpy as np
import pytest
import torch

from protemb.models.batches import collate
from protemb.models.devices import full_float32, inference
from protemb.models.embedder import Embedder
from protemb.models.encoders import ConvolutionEncoder, RecurrentEncoder, TableEncoder
from protemb.models.pooling import AttentionPooling, EndsPooling, MaxPooling, MeanPooling
from protemb.models.recurrent import run_recurrent
from protemb.models.rounding import RoundedEncoder, deviation

pytestmark = pytest.mark.gpu
if not torch.cuda.is_available():
    pytest.skip("needs a CUDA device", allow_module_level=True)

DEVICE = "cuda"
ENCODERS = {
    "table": lambda: TableEncoder(),
    "lstm": lambda: RecurrentEncoder(hidden_dim=64),
    "bilstm": lambda: RecurrentEncoder(hidden_dim=64, layers=2, bidirectional=True),
    "bigru": lambda: RecurrentEncoder(cell="gru", hidden_dim=64, bidirectional=True),
    "cnn": lambda: ConvolutionEncoder(hidden_dim=64),
}
POOLINGS = [MeanPooling, MaxPooling, EndsPooling, AttentionPooling]
LENGTHS = [1, 2, 31, 200, 977, 3000]


@pytest.fixture(params=ENCODERS)
def encoder(request):
    torch.manual_seed(0)
    return ENCODERS[request.param]()


def batch_of(lengths):
    rng = np.random.default_rng(0)
    return collate([rng.integers(0, 21, n).astype(np.uint8) for n in lengths], padding=21)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_vectors_are_those_of_a_cpu_and_ignore_batch_mates(encoder, pooling):
    embedder = Embedder(encoder, pooling).eval()
    batch = batch_of(LENGTHS)
    with inference():
        reference_BD = embedder(batch.tokens_BL, batch.lengths_B)
        here = batch.to(torch.device(DEVICE))
        embedder = embedder.to(DEVICE)
        together_BD = embedder(here.tokens_BL, here.lengths_B).cpu()
        scale_B1 = reference_BD.abs().amax(1, keepdim=True).clamp_min(1e-3)
        assert ((together_BD - reference_BD).abs() <= 1e-5 * scale_B1).all()
        for row, length in enumerate(LENGTHS):
            alone_1D = embedder(here.tokens_BL[row : row + 1, :length], torch.tensor([length]))
            difference_D = (alone_1D[0].cpu() - together_BD[row]).abs()
            assert (difference_D <= 1e-6 * scale_B1[row]).all()


def test_gradients_are_those_of_a_cpu():
    torch.manual_seed(5)
    rnn = torch.nn.LSTM(10, 64, bidirectional=True, batch_first=True)
    inputs_BLD, lengths_B = torch.randn(3, 50, 10), torch.tensor([50, 7, 1])
    found = []
    for device in ("cpu", DEVICE):
        rnn = rnn.to(device)
        rnn.zero_grad()
        with full_float32():
            states_BLH = run_recurrent(rnn, inputs_BLD.to(device), lengths_B)
            states_BLH.square().sum().backward()
        found.append([states_BLH, *(weight.grad for weight in rnn.parameters())])
    (states_BLH, *gradients), (theirs_BLH, *others) = found
    torch.testing.assert_close(theirs_BLH.cpu(), states_BLH, rtol=0, atol=1e-5)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(other.cpu(), one.cpu(), rtol=1e-4, atol=1e-4)


# PyTorch does not lay out the weights of recurrent layers in bfloat16 for cuDNN.
@pytest.mark.filterwarnings("ignore:RNN module weights are not part of single contiguous chunk")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_sixteen_bits_are_near(encoder, precision):
    exact = Embedder(encoder.to(DEVICE), MeanPooling).eval()
    rounded = Embedder(RoundedEncoder(encoder, precision), MeanPooling).eval()
    batch = batch_of([3, 200, 977]).to(torch.device(DEVICE))
    rows = [row_L[:n] for row_L, n in zip(batch.tokens_BL, batch.lengths_B, strict=True)]
    assert deviation(exact, rounded, rows) < 0.02
