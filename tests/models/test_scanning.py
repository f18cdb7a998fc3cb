"""Vectors of many variants at once are those of each variant alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from protemb.errors import ConfigError
from protemb.models.batches import padding_mask
from protemb.models.encoders import ConvolutionEncoder, Encoder, RecurrentEncoder, TableEncoder
from protemb.models.loading import make_embedder
from protemb.models.pretrained.recurrent import PublishedRecurrent
from protemb.models.pretrained.unirep import UniRep
from protemb.models.scanning import NOTHING, scan_vectors, shares
from protemb.models.scanning_streams import every_state, streams_of


class Neighbours(Encoder):
    """A user's encoder: the residue before in one direction, the one behind in the other."""

    levels = ("states",)
    alphabet_size = 21

    def dim(self, level):
        return 2

    def backward_dim(self, level):
        return 1

    def reach(self, level):
        return 1

    def forward(self, tokens_BL, lengths_B, levels=("states",)):
        mask_BL = padding_mask(lengths_B, tokens_BL.shape[1], tokens_BL.device)
        apart_BL = nn.functional.pad((tokens_BL + 1) * mask_BL, (1, 1)).float()
        states_BL2 = torch.stack([apart_BL[:, :-2], apart_BL[:, 2:]], 2)
        return {"states": states_BL2 * mask_BL[..., None]}


LM = {"embed_dim": 5, "hidden_dim": 6, "layers": 2, "tied": True}
ENCODERS = {
    "embedding": lambda: TableEncoder(),
    "lstm": lambda: RecurrentEncoder(hidden_dim=8),
    "lstm of 3": lambda: RecurrentEncoder(hidden_dim=8, layers=3),
    "bilstm": lambda: RecurrentEncoder(hidden_dim=8, bidirectional=True),
    "bilstm of 2": lambda: RecurrentEncoder(hidden_dim=8, layers=2, bidirectional=True),
    "gru": lambda: RecurrentEncoder(cell="gru", hidden_dim=8),
    "gru of 2": lambda: RecurrentEncoder(cell="gru", hidden_dim=8, layers=2),
    "bigru": lambda: RecurrentEncoder(cell="gru", hidden_dim=8, bidirectional=True),
    "cnn": lambda: ConvolutionEncoder(hidden_dim=8, layers=3, kernel=3),
    "neighbours": Neighbours,
    "ssa": lambda: PublishedRecurrent(lm=LM, inner_dim=7, hidden_dim=8, layers=2, out_dim=4),
    "nolm": lambda: PublishedRecurrent(inner_dim=7, hidden_dim=8, layers=1, out_dim=4),
    "prose": lambda: PublishedRecurrent(hidden_dim=8, layers=2, out_dim=4, skip=True),
    "unirep": lambda: UniRep(hidden_dim=6, layers=1),
    "unirep of 3": lambda: UniRep(hidden_dim=6, layers=3),
}
WORDS = ("mean", "max", "last", "ends", "position", "window(0)", "window(2)", "window(40)")
ONE_WAY = ("lstm", "lstm of 3", "gru", "gru of 2", "unirep", "unirep of 3")
BOTH_WAYS = ("bilstm", "bigru")


def build(name, std=0.5):
    torch.manual_seed(0)
    encoder = ENCODERS[name]().eval()
    for parameter in encoder.parameters() if std else ():
        # Large enough weights: what a state has read far away must show.
        nn.init.normal_(parameter, std=std)
    return encoder


def draw(encoder, length, count, seed=0):
    """A protein, and variants of it; both ends are among the places."""
    rng = np.random.default_rng(seed)
    tokens_L = rng.integers(0, 20, length)
    places_V = rng.permutation(np.r_[0, length - 1, rng.integers(0, length, count)])
    return tokens_L, places_V, rng.integers(0, 20, len(places_V))


def wanted_of(encoder, words=WORDS):
    return [
        (level, word)
        for level in encoder.levels
        for word in words
        if not (word == "ends" and level in encoder.mixed_levels)
    ]


@torch.no_grad()
def alone(encoder, tokens_L, place, new, wanted):
    """One variant embedded by itself, pooled by the embedder or a mean over a slice."""
    tokens_1L = torch.from_numpy(tokens_L.copy())[None]
    tokens_1L[0, place] = int(new)
    lengths_1 = torch.tensor([len(tokens_L)])
    states = encoder(tokens_1L, lengths_1, encoder.levels)
    vectors = {}
    for level, word in wanted:
        if word.startswith("window"):
            size = int(word[7:-1])
            near_1KD = states[level][:, max(0, place - size) : place + size + 1]
            vectors[level, word] = near_1KD.mean(1)[0].numpy()
        else:
            pooling = make_embedder(encoder, level, word).pooling
            vector_1D = pooling(states[level], lengths_1, torch.tensor([place]))
            vectors[level, word] = vector_1D[0].numpy()
    return vectors


def check(encoder, variants, wanted, **options):
    tokens_L, places_V, new_V = variants
    found = scan_vectors(encoder, tokens_L, places_V, new_V, wanted, **options)
    assert list(found) == list(dict.fromkeys(wanted))
    for row, (place, new) in enumerate(zip(places_V.tolist(), new_V, strict=True)):
        for pair, expected_D in alone(encoder, tokens_L, place, new, wanted).items():
            assert found[pair].dtype == np.float32
            assert found[pair].shape == (len(places_V), len(expected_D))
            error = np.abs(found[pair][row] - expected_D).max()
            assert error <= 1e-6 * max(np.abs(expected_D).max(), 1e-3), (pair, place, error)
    return found


@pytest.mark.parametrize("name", ENCODERS)
def test_as_each_variant_alone(name):
    encoder = build(name)
    for length, count in ((1, 1), (2, 3), (37, 12)):
        for chunk, residues in ((1, 5), (7, 30), (16, 32_768)):
            check(
                encoder,
                draw(encoder, length, count),
                wanted_of(encoder),
                chunk=chunk,
                residues=residues,
            )


@pytest.mark.parametrize("name", ENCODERS)
def test_as_the_embedder(name):
    """The whole way that one vector goes, with its own short cuts."""
    encoder = build(name)
    tokens_L, places_V, new_V = draw(encoder, 23, 4)
    wanted = wanted_of(encoder, ("mean", "position"))
    found = scan_vectors(encoder, tokens_L, places_V, new_V, wanted)
    for level, word in wanted:
        embedder = make_embedder(encoder, level, word)
        for row, (place, new) in enumerate(zip(places_V.tolist(), new_V, strict=True)):
            tokens_1L = torch.from_numpy(tokens_L.copy())[None]
            tokens_1L[0, place] = int(new)
            with torch.no_grad():
                expected_1D = embedder(tokens_1L, torch.tensor([23]), torch.tensor([place]))
            error = np.abs(found[level, word][row] - expected_1D[0].numpy()).max()
            assert error <= 1e-6 * float(expected_1D.abs().max())


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from([*ONE_WAY, *BOTH_WAYS, "cnn", "bilstm of 2"]),
    length=st.integers(1, 50),
    seed=st.integers(0, 99),
    count=st.integers(0, 9),
    words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3, unique=True),
    chunk=st.integers(1, 60),
    residues=st.integers(1, 400),
)
def test_any_length_any_places(name, length, seed, count, words, chunk, residues):
    encoder = build(name)
    variants = draw(encoder, length, count, seed)
    check(encoder, variants, wanted_of(encoder, words), chunk=chunk, residues=residues)


@pytest.mark.parametrize("name", ["bilstm", "unirep", "cnn", "bilstm of 2"])
def test_no_variants_and_the_wild_type_itself(name):
    encoder = build(name)
    tokens_L = draw(encoder, 20, 0)[0]
    none = np.zeros(0, np.int64)
    wanted = wanted_of(encoder)
    for pair, vectors_VD in scan_vectors(encoder, tokens_L, none, none, wanted).items():
        assert vectors_VD.shape == (0, encoder.dim(pair[0]))
    check(encoder, (tokens_L, np.arange(20), tokens_L), wanted)


def test_long_proteins_go_piece_by_piece(monkeypatch):
    monkeypatch.setattr("protemb.models.embedder.LONG", 20)
    encoder = build("bilstm of 2")
    check(encoder, draw(encoder, 30, 5), wanted_of(encoder), residues=1)


def test_progress_counts_variants():
    encoder, counts = build("bilstm"), []
    variants = draw(encoder, 30, 50)
    scan_vectors(
        encoder, *variants, [("states", "mean")], residues=64, chunk=16, progress=counts.append
    )
    assert sum(counts) == 52 and max(counts) == 4


@pytest.mark.parametrize("name", [*ONE_WAY, *BOTH_WAYS])
@torch.no_grad()
def test_every_state_of_a_stream(name):
    encoder = build(name)
    level = encoder.levels[-1]
    for length in (1, 2, 3, 4, 10, 16, 17):
        tokens_L = torch.from_numpy(draw(encoder, length, 0)[0])
        whole_LD = encoder(tokens_L[None], torch.tensor([length]), (level,))[level][0]
        found = []
        for stream in streams_of(encoder, [level], length):
            turned_L = tokens_L.flip(0) if stream.backwards else tokens_L
            states, carried = every_state(stream, turned_L)
            found.append(states[level].flip(0) if stream.backwards else states[level])
            for part_LH, start_1H in zip(carried, stream.start, strict=True):
                assert len(part_LH) == length + 1 and torch.equal(part_LH[:1], start_1H)
            if level == "states":  # the last layer carries what it gives
                parts = 2 if len(carried) % 2 == 0 and "gru" not in name else 1
                torch.testing.assert_close(carried[-parts][1:], states[level])
        torch.testing.assert_close(torch.cat(found, 1), whole_LD, rtol=1e-6, atol=1e-6)


def residues_read(encoder, variants, wanted, **options):
    """How many residues the residue table was asked for."""
    counts = []
    hook = encoder.table.register_forward_hook(lambda _, args, __: counts.append(args[0].numel()))
    scan_vectors(encoder, *variants, wanted, **options)
    hook.remove()
    return sum(counts)


def all_variants(length):
    tokens_L = np.random.default_rng(0).integers(0, 20, length)
    new_V = np.concatenate([np.delete(np.arange(20), token) for token in tokens_L])
    return tokens_L, np.repeat(np.arange(length), 19), new_V


def test_half_of_the_work_and_almost_none():
    encoder, length = build("bilstm"), 90
    variants = all_variants(length)
    count = len(variants[1])
    wild = 2 * 2 * (length + 10)  # two directions, two passes, and the filler of the last piece
    for word, steps, slack in (
        ("mean", (length + 1) / 2, 4),
        ("position", 1, 0),
        ("window(3)", 4, 0),
    ):
        read = residues_read(encoder, variants, [("states", word)], chunk=4)
        assert read <= 2 * count * (steps + slack) + wild, word


@pytest.mark.parametrize("name", ["lstm", "lstm of 3", "bilstm", "gru", "bigru"])
def test_a_tolerance_saves_work_and_bounds_the_error(name):
    encoder, variants = build(name, std=None), all_variants(60)
    wanted = wanted_of(encoder, ("mean", "max", "last", "ends", "window(30)"))
    exact = scan_vectors(encoder, *variants, wanted)
    reads = [residues_read(encoder, variants, wanted, chunk=4)]
    for tolerance in (1e-6, 1e-4, 1e-2):
        found = scan_vectors(encoder, *variants, wanted, tolerance=tolerance, chunk=4)
        reads.append(residues_read(encoder, variants, wanted, tolerance=tolerance, chunk=4))
        for pair, vectors_VD in found.items():
            # Rounding comes on top.
            bound = (tolerance + 1e-6) * np.abs(exact[pair]).max()
            assert np.abs(vectors_VD - exact[pair]).max() <= bound, (pair, tolerance)
    assert reads == sorted(reads, reverse=True) and reads[-1] < 0.4 * reads[0]
    assert any((found[pair] != exact[pair]).any() for pair in wanted)


def counting_lstm(forget=30.0):
    """One unit whose cell adds 1 for residue 0 and takes 1 away for residue 1."""
    encoder = RecurrentEncoder(embed_dim=1, hidden_dim=1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            nn.init.zeros_(parameter)
        encoder.table.rows.weight[0], encoder.table.rows.weight[1] = 20.0, -20.0
        encoder.rnn.weight_ih_l0[2] = 1.0
        # Input and output gates are open; of what is remembered, the forget gate keeps its share.
        encoder.rnn.bias_ih_l0.copy_(torch.tensor([30.0, forget, 0.0, 30.0]))
    return encoder


def test_a_memory_behind_a_saturated_output_is_not_forgotten():
    """The outputs agree for a while, the cells never do; later the outputs show it again."""
    encoder = counting_lstm()
    tokens_L = np.array([0] * 16 + [1] * 16)
    wanted = [("states", word) for word in ("mean", "last")]
    check(encoder, (tokens_L, np.array([0, 3]), np.array([1, 1])), wanted, chunk=4, tolerance=1e-5)


def test_an_output_that_has_not_come_back_yet_is_not_cut_off():
    """One step later the cell agrees to half of a percent, which is more than the tolerance."""
    encoder = counting_lstm(forget=-5.0)
    variants = np.array([0] * 8), np.array([2]), np.array([1])
    check(encoder, variants, [("states", "mean")], chunk=1, tolerance=1e-6)


def test_a_tolerance_where_nothing_runs_changes_nothing():
    for name in ("cnn", "embedding", "bilstm of 2"):
        encoder = build(name)
        check(encoder, draw(encoder, 20, 5), wanted_of(encoder), tolerance=0.5)


@pytest.mark.parametrize(
    ("name", "level", "words"),
    [
        ("bilstm", "states", "prefix and suffix"),
        ("bigru", "states", "prefix and suffix"),
        ("lstm of 3", "states", "prefix"),
        ("unirep of 3", "layer1", "prefix"),
        ("unirep", "average", "prefix"),
        ("cnn", "states", "window of ±7"),
        ("bilstm", "table", "window of ±0"),
        ("prose", "onehot", "window of ±0"),
        ("bilstm of 2", "states", NOTHING),
        ("ssa", "projection", NOTHING),
    ],
)
def test_what_is_shared_is_said(name, level, words):
    assert shares(build(name), level) == words


@pytest.mark.parametrize(
    ("wanted", "options", "message"),
    [
        ([("inner", "mean")], {}, "level"),
        ([("states", "attention")], {}, "pooling"),
        ([("states", "window(x)")], {}, "pooling"),
        ([("states", "mean")], {"tolerance": -1e-6}, "tolerance"),
        ([("states", "mean")], {"tolerance": 1.0}, "tolerance"),
        ([("states", "mean")], {"tolerance": float("nan")}, "tolerance"),
    ],
)
def test_words_that_nothing_has(wanted, options, message):
    encoder = build("bilstm")
    with pytest.raises(ConfigError, match=message):
        scan_vectors(encoder, *draw(encoder, 9, 1), wanted, **options)


def test_ends_of_mixed_levels_are_refused():
    encoder = build("ssa")
    with pytest.raises(ConfigError, match="directions"):
        scan_vectors(encoder, *draw(encoder, 9, 1), [("projection", "ends")])


@pytest.mark.parametrize(
    ("tokens", "places", "new", "message"),
    [
        ([1, 2], [2], [1], "places_V"),
        ([1, 2], [-1], [1], "places_V"),
        ([1, 2], [1], [21], "new_V"),
        ([1, 99], [1], [1], "tokens_L"),
        ([], [], [], "sequence"),
        ([1, 2], [0, 1], [1], "token for every place"),
    ],
)
def test_arrays_that_do_not_fit(tokens, places, new, message):
    arrays = (np.array(values, np.int64) for values in (tokens, places, new))
    with pytest.raises(ValueError, match=message):
        scan_vectors(build("bilstm"), *arrays, [("states", "mean")])
