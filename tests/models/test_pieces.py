"""States in pieces are the whole states, and long proteins need little memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from protemb.errors import ConfigError
from protemb.models.batches import collate
from protemb.models.embedder import LONG, Embedder
from protemb.models.encoders import ConvolutionEncoder, Encoder, RecurrentEncoder, TableEncoder
from protemb.models.pieces import PIECE
from protemb.models.pooling import POOLINGS, AttentionPooling, Pooling
from protemb.models.pretrained.recurrent import PublishedRecurrent
from protemb.models.pretrained.unirep import UniRep

TIED = {"embed_dim": 5, "hidden_dim": 6, "layers": 2, "tied": True}
UNTIED = TIED | {"layers": 3, "tied": False}
ABOVE = {"inner_dim": 7, "hidden_dim": 8, "layers": 3, "out_dim": 4}
ENCODERS = {
    "embedding": lambda: TableEncoder(),
    "lstm": lambda: RecurrentEncoder(hidden_dim=8, layers=2),
    "bilstm": lambda: RecurrentEncoder(hidden_dim=8, bidirectional=True),
    "bilstm of 3": lambda: RecurrentEncoder(hidden_dim=8, layers=3, bidirectional=True),
    "gru": lambda: RecurrentEncoder(cell="gru", hidden_dim=8),
    "bigru of 2": lambda: RecurrentEncoder(cell="gru", hidden_dim=8, layers=2, bidirectional=True),
    "cnn": lambda: ConvolutionEncoder(hidden_dim=8, layers=3, kernel=3),
    "ssa": lambda: PublishedRecurrent(lm=TIED, **ABOVE),
    "nolm": lambda: PublishedRecurrent(**ABOVE),
    "linear": lambda: PublishedRecurrent(lm=UNTIED, inner_dim=7, out_dim=4),
    "language model": lambda: PublishedRecurrent(lm=UNTIED),
    "prose": lambda: PublishedRecurrent(hidden_dim=8, layers=3, out_dim=4, skip=True),
    "prose without projection": lambda: PublishedRecurrent(hidden_dim=8, layers=2),
    "unirep": lambda: UniRep(hidden_dim=6, layers=3),
}
CHUNKS = {1: [1, 4], 2: [1, 2], 37: [1, 7, 37, 42], 200: [13, 199]}
"""Residues of a piece, by the length of the sequence."""


class MedianPooling(Pooling):
    """One that a user wrote, who knows nothing of pieces."""

    def forward(self, states_BLD, lengths_B, positions_B=None):
        rows = zip(states_BLD, lengths_B.tolist(), strict=True)
        return torch.stack([states_LD[:length].median(0).values for states_LD, length in rows])


class Whole(Encoder):
    """An encoder that a user wrote: a state has read everything."""

    levels = ("states",)
    alphabet_size = 21

    def dim(self, level):
        return 3

    def forward(self, tokens_BL, lengths_B, levels=("states",)):
        return {"states": tokens_BL.double().cumsum(1).flip(1)[..., None].expand(-1, -1, 3)}


def build(name):
    torch.manual_seed(0)
    encoder = ENCODERS[name]().eval()
    for parameter in encoder.parameters():
        # Large enough weights: what a state has read far away must show.
        nn.init.normal_(parameter, std=0.5)
    return encoder


def draw(encoder, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, encoder.alphabet_size, (1, length), generator=generator)


def close(found, expected):
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert (found - expected).abs().max() <= 1e-6 * expected.abs().max().clamp_min(1e-3)


@pytest.mark.parametrize("name", ENCODERS)
@torch.no_grad()
def test_side_by_side_pieces_are_the_states(name):
    encoder = build(name)
    for length, chunks in CHUNKS.items():
        tokens_1L, lengths_1 = draw(encoder, length), torch.tensor([length])
        for level in encoder.levels:
            whole_1LD = encoder(tokens_1L, lengths_1, (level,))[level]
            for chunk in chunks:
                close(torch.cat(list(encoder.pieces(tokens_1L, level, chunk)), 1), whole_1LD)


@pytest.mark.parametrize("name", ENCODERS)
@torch.no_grad()
def test_poolings_over_pieces(name):
    encoder, length = build(name), 50
    tokens_1L, lengths_1 = draw(encoder, length), torch.tensor([length])
    for level in encoder.levels:
        states_1LD = encoder(tokens_1L, lengths_1, (level,))[level]
        for chunk in (1, 7, length):
            pieces = list(encoder.pieces(tokens_1L, level, chunk))
            for kind in (*POOLINGS.values(), MedianPooling):
                pooling = kind(encoder.dim(level), encoder.backward_dim(level))
                if kind is AttentionPooling:
                    nn.init.normal_(pooling.query, std=3)
                for place in (0, 6, 7, length - 1) if pooling.needs_positions else (0,):
                    positions_1 = torch.tensor([place])
                    vector_1D = pooling.over_pieces(iter(pieces), positions_1)
                    close(vector_1D, pooling(states_1LD, lengths_1, positions_1))


@torch.no_grad()
def test_attention_with_scores_beyond_exp():
    """The largest score comes first, last, and far below or above what float32's exp can hold."""
    pooling = AttentionPooling(1)
    nn.init.ones_(pooling.query)
    for values in ([900.0, 1.0, -900.0], [-900.0, 1.0, 900.0], [-200.0, -200.5, -203.0]):
        states_1LD = torch.tensor(values)[None, :, None]
        expected = pooling(states_1LD, torch.tensor([3]))
        close(pooling.over_pieces(states_1LD.split(1, 1)), expected)


@torch.no_grad()
def test_an_encoder_that_knows_nothing_of_pieces_gives_one():
    tokens_1L = draw(Whole(), 50)
    (whole_1LD,) = Whole().pieces(tokens_1L, "states", 7)
    assert torch.equal(whole_1LD, Whole()(tokens_1L, torch.tensor([50]))["states"])


def test_pieces_have_the_size_that_was_asked_for():
    for name in ENCODERS:
        encoder = build(name)
        with torch.no_grad():
            for level in set(encoder.levels):
                widths = [s.shape[1] for s in encoder.pieces(draw(encoder, 100), level, 30)]
                assert widths == [30, 30, 30, 10], (name, level)


@torch.no_grad()
def test_a_convolution_reaches_as_far_as_it_says():
    encoder = build("cnn")
    tokens_1L, reach = draw(encoder, 60), encoder.reach("states")
    other_1L = tokens_1L.clone()
    other_1L[0, 30] = (other_1L[0, 30] + 1) % 21
    states, others = (encoder(t, torch.tensor([60]))["states"][0] for t in (tokens_1L, other_1L))
    changed = torch.nonzero((states != others).any(1))[:, 0]
    assert (changed[0], changed[-1]) == (30 - reach, 30 + reach)


@torch.no_grad()
def test_what_a_position_does_not_need_is_not_computed():
    encoder, read = build("lstm"), []
    encoder.table.register_forward_hook(lambda *_: read.append(1))
    pooling = POOLINGS["position"](8)
    pooling.over_pieces(encoder.pieces(draw(encoder, 100), "states", 10), torch.tensor([25]))
    assert len(read) == 3
    with pytest.raises(ConfigError, match="a position for every record"):
        pooling.over_pieces([torch.zeros(1, 3, 8)])
    with pytest.raises(IndexError, match="position 3: behind the end"):
        pooling.over_pieces([torch.zeros(1, 2, 8), torch.zeros(1, 1, 8)], torch.tensor([3]))


@pytest.mark.parametrize("name", ["bilstm", "ssa", "unirep"])
def test_unknown_levels_are_named(name):
    with pytest.raises(ConfigError, match="got 'other', expected one of"):
        next(build(name).pieces(torch.zeros(1, 5, dtype=torch.int64), "other"))


def embed(embedder, rows):
    positions = np.array([len(row) // 2 for row in rows])
    batch = collate(rows, embedder.encoder.alphabet_size, positions)
    with torch.inference_mode():
        return embedder(batch.tokens_BL, batch.lengths_B, batch.positions_B)


@pytest.mark.parametrize(
    ("name", "pooling"),
    [
        *[("bilstm of 3", pooling) for pooling in POOLINGS],
        *[(name, "mean") for name in ("embedding", "cnn", "ssa", "gru")],
        ("embedding", "last"),
        ("ssa", "position"),
    ],
)
def test_long_alone_equals_long_in_company(name, pooling, monkeypatch):
    encoder = build(name)
    calls = []
    pieces = type(encoder).pieces

    def counted(self, *options):
        calls.append(options)
        return pieces(self, *options)

    monkeypatch.setattr(type(encoder), "pieces", counted)
    embedder = Embedder(encoder, POOLINGS[pooling]).eval()
    row = draw(encoder, LONG + 1)[0].numpy().astype(np.uint8)
    expected = embed(embedder, [row, row[:100]])
    assert embed(embedder, [row[:-1]]).shape == (1, embedder.out_dim)
    assert calls == []
    close(embed(embedder, [row]), expected[:1])
    # The mean of a table is made from counts, which is leaner still.
    assert bool(calls) == ((name, pooling) != ("embedding", "mean"))


def test_gradients_and_dropout_go_the_plain_way(monkeypatch):
    def refuse(*_):
        raise AssertionError("pieces are for embedding")

    monkeypatch.setattr(RecurrentEncoder, "pieces", refuse)
    embedder = Embedder(build("lstm"), POOLINGS["last"]).eval()
    tokens_1L, lengths_1 = draw(embedder.encoder, LONG + 1), torch.tensor([LONG + 1])
    embedder(tokens_1L, lengths_1).sum().backward()
    assert embedder.encoder.rnn.weight_hh_l0.grad.abs().max() > 0
    with torch.no_grad():
        embedder.train()(tokens_1L, lengths_1)


@torch.no_grad()
def test_titin_is_exact():
    """34,350 residues in both directions against the whole way and against one dense call."""
    torch.manual_seed(0)
    encoder = RecurrentEncoder(bidirectional=True).eval()
    tokens_1L = draw(encoder, 34_350)
    pieces = list(encoder.pieces(tokens_1L, "states"))
    assert [states.shape[1] for states in pieces] == [*[PIECE] * 33, 34_350 - 33 * PIECE]
    joined_1LD = torch.cat(pieces, 1)
    close(joined_1LD, encoder(tokens_1L, torch.tensor([34_350]))["states"])
    close(joined_1LD, encoder.rnn(encoder.table(tokens_1L))[0])


PROBE = """
import torch
import protemb.models.embedder as embedder
from protemb.models.encoders import ConvolutionEncoder, RecurrentEncoder
from protemb.models.pooling import POOLINGS
from protemb.models.pretrained.recurrent import PublishedRecurrent
from protemb.models.pretrained.unirep import UniRep

def peak():
    # Not ru_maxrss, which begins at the memory of the process that started this one.
    with open("/proc/self/status") as status:
        (kilobytes,) = [line.split()[1] for line in status if line.startswith("VmHWM")]
    return int(kilobytes) / 1024

torch.set_num_threads(1)
model = embedder.Embedder({network}, POOLINGS["{pooling}"], "{level}").eval()
tokens_1L = torch.randint(0, 20, (1, 34_350))
with torch.inference_mode():
    model(tokens_1L[:, :64], torch.tensor([64]))
    before = peak()
    model(tokens_1L, torch.tensor([34_350]))
    print(peak() - before)
    embedder.LONG = 10**9
    model(tokens_1L, torch.tensor([34_350]))
    print(peak() - before)
"""
LM = "lm=dict(embed_dim=21, hidden_dim=256, layers=2, tied=True)"
BOUNDS = {
    # Megabytes that pieces may add.
    "bilstm": ("RecurrentEncoder(bidirectional=True)", "states", "mean", 16),
    "bilstm, attention": ("RecurrentEncoder(bidirectional=True)", "states", "attention", 16),
    # One lower layer whole: 34,350 * 128 * 4 bytes are 17 MB.
    "bilstm of 3": ("RecurrentEncoder(layers=3, bidirectional=True)", "states", "ends", 33),
    "gru of 2": ("RecurrentEncoder(cell='gru', layers=2)", "states", "max", 10),
    "cnn": ("ConvolutionEncoder()", "states", "last", 25),
    "language model": (f"PublishedRecurrent({LM})", "lm", "mean", 60),
    "linear": (f"PublishedRecurrent({LM}, inner_dim=64, out_dim=8)", "projection", "mean", 60),
    "unirep": ("UniRep(hidden_dim=64, layers=1)", "average", "mean", 20),
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux counts peak memory there")
@pytest.mark.parametrize("case", BOUNDS)
def test_a_long_protein_needs_little_memory(case):
    """One of 34,350 residues, in a fresh process; the whole way would break the bound."""
    network, level, pooling, bound = BOUNDS[case]
    program = PROBE.replace("{network}", network).replace("{level}", level)
    program = program.replace("{pooling}", pooling)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pieces, whole = map(float, done.stdout.split())
    assert pieces < bound < whole / 1.8, (pieces, whole)
