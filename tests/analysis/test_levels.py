"""Vectors of every level equal those embedded one by one; the figure shows what it was given."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from protemb.analysis.canvas import COLOURS
from protemb.analysis.level_figure import level_figure
from protemb.analysis.levels import CLASSIFIER_INPUT, FREE_POOLINGS, own_name, pooled_levels
from protemb.intervals import Interval
from protemb.models.classifier import SequenceClassifier
from protemb.models.embedder import Embedder
from protemb.models.encoders import ConvolutionEncoder, RecurrentEncoder, TableEncoder
from protemb.models.pooling import POOLINGS
from protemb.sequences.tokens import TokenStore
from protemb.vectors.embed import embed_records, predict_records

ENCODERS = {
    "table": lambda: TableEncoder(embed_dim=5),
    "lstm": lambda: RecurrentEncoder(hidden_dim=6),
    "bigru": lambda: RecurrentEncoder(cell="gru", hidden_dim=6, layers=2, bidirectional=True),
    "cnn": lambda: ConvolutionEncoder(hidden_dim=6, layers=2),
}
TABLE = ["table/mean", "table/max", "table/last"]
STATES = ["states/mean", "states/max", "states/last"]


@pytest.fixture(scope="module")
def store():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACDEFGHIKL"), rng.integers(1, 90))) for _ in range(30)]
    return TokenStore.from_sequences((f"P{i}", texts[i % 20]) for i in range(30))


def make(encoder, pooling="mean", level="states", **head):
    torch.manual_seed(0)
    classifier = SequenceClassifier(
        Embedder(ENCODERS[encoder](), POOLINGS[pooling], level), 3, dropout=0.5, **head
    )
    if pooling == "attention":
        torch.nn.init.normal_(classifier.embedder.pooling.query)
    return classifier.train()


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(
    ("pooling", "level"), [("mean", "table"), ("ends", "states"), ("attention", "states")]
)
def test_each_equals_its_own_embedding(encoder, pooling, level, store):
    classifier = make(encoder, pooling, level)
    own = classifier.embedder
    records = np.array([29, 3, 3, 11, 0, 15])
    found = pooled_levels(classifier, store, records, residues=150)
    for name, vectors_MD in found.items():
        at, word = name.split("/")
        alone = own if word == "attention" else Embedder(own.encoder, POOLINGS[word], at)
        expected = embed_records(alone, store, records, residues=150)
        np.testing.assert_array_equal(vectors_MD, expected)
        assert vectors_MD.dtype == np.float32 and vectors_MD.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(
        found[own_name(classifier)], embed_records(own, store, records, residues=150)
    )


@pytest.mark.parametrize(
    ("encoder", "pooling", "names"),
    [
        ("table", "mean", TABLE),
        ("table", "ends", TABLE),
        ("table", "attention", [*TABLE, "table/attention"]),
        ("lstm", "last", TABLE + STATES),
        ("lstm", "attention", [*TABLE, *STATES, "states/attention"]),
        ("cnn", "max", TABLE + STATES),
        ("bigru", "mean", [*TABLE, *STATES, "states/ends"]),
        ("bigru", "attention", [*TABLE, *STATES, "states/ends", "states/attention"]),
        ("bigru", "position", [*TABLE, *STATES, "states/ends"]),
    ],
)
def test_what_there_is(encoder, pooling, names, store):
    assert list(pooled_levels(make(encoder, pooling), store, [0, 1])) == names
    hidden = pooled_levels(make(encoder, pooling, hidden=4), store, [0, 1])
    assert list(hidden) == names + [CLASSIFIER_INPUT] * (pooling != "position")


def test_no_two_are_the_same(store):
    """Nothing is there twice under two names."""
    found = pooled_levels(make("bigru", "attention", hidden=4), store, range(len(store)))
    for one, other in combinations(found, 2):
        assert not np.array_equal(found[one], found[other]), (one, other)


def test_free_poolings_have_nothing_to_train():
    free = {
        name
        for name, kind in POOLINGS.items()
        if not kind.needs_positions and not list(kind(4, 2).parameters())
    }
    assert free == set(FREE_POOLINGS)


def test_the_classifier_input_makes_the_prediction(store):
    classifier = make("bigru", "attention", hidden=7)
    records = np.arange(len(store))
    found = pooled_levels(classifier, store, records, residues=200)[CLASSIFIER_INPUT]
    assert found.shape == (30, 7) and found.min() == 0
    with torch.no_grad():
        logits_MC = classifier.head[-1](torch.from_numpy(found)).double()
    expected = predict_records(classifier, store, records, residues=200)
    np.testing.assert_allclose(torch.softmax(logits_MC, 1).numpy(), expected, atol=1e-6)


def test_the_encoder_runs_once_per_batch(store):
    classifier = make("bigru", "attention", hidden=4)
    passes, batches = [], []
    classifier.embedder.encoder.register_forward_hook(lambda *call: passes.append(1))
    pooled_levels(classifier, store, range(30), residues=120, progress=batches.append)
    assert len(passes) == len(batches) > 5
    assert sum(batches) == store.lengths_S.sum()  # identical sequences once
    assert not classifier.training


@pytest.mark.parametrize("encoder", ENCODERS)
def test_vectors_do_not_depend_on_the_batch(encoder, store):
    classifier = make(encoder, "attention", hidden=4)
    together = pooled_levels(classifier, store, range(30), residues=10**6)
    for record in (0, 7, 19, 27):
        alone = pooled_levels(classifier, store, [record])
        assert list(alone) == list(together)
        for name, vectors_MD in alone.items():
            np.testing.assert_allclose(vectors_MD[0], together[name][record], atol=1e-6)


# ---- figure ----------------------------------------------------------------------------------

ROWS = {
    "lstm, mean of $states_1$": {
        "table/mean": Interval(0.62, 0.55, 0.72),
        "states/mean": Interval(0.85, 0.78, 0.9),
        CLASSIFIER_INPUT: Interval(0.8, 0.74, 0.85),
    },
    "bilstm" * 20: {
        "table/mean": Interval(0.6, math.nan, math.nan),
        "states/ends": Interval(math.nan, math.nan, math.nan),
    },
}


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, in order."""
    saved, save = [], Figure.savefig

    def keep(figure, *args, **options):
        saved.append(figure)
        return save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


def test_figure_shows_the_scores(tmp_path, drawn):
    path = tmp_path / "levels.png"
    assert level_figure(ROWS, path, metric="balanced accuracy", chance=1 / 6) == path
    axes, scores = drawn[0].axes[0], [s for of in ROWS.values() for s in of.values()]
    places = [1, 2, 3, 5, 6]
    *marks, chance = [
        line
        for line in axes.lines
        if len(line.get_xdata()) and line.get_ls() != "-" or line.get_linewidth() != 0.6
    ]
    bars, dots = marks[::2], marks[1::2]
    for place, score, bar, dot in zip(places, scores, bars, dots, strict=True):
        np.testing.assert_allclose(dot.get_xydata(), [(score.value, place)])
        np.testing.assert_allclose(bar.get_xydata(), [(score.low, place), (score.high, place)])
    assert chance.get_xdata() == [1 / 6, 1 / 6]
    colours = [dot.get_color() for dot in dots]
    own = {"states": COLOURS[0], "table": COLOURS[1], "classifier input": COLOURS[2]}
    assert colours == [own[name.split("/")[0]] for of in ROWS.values() for name in of]
    labels = axes.get_yticklabels()
    bold = [label.get_text() for label in labels if label.get_fontweight() == "bold"]
    assert bold[0] == "lstm, mean of $states_1$" and len(bold) == 2 and "…" in bold[1]
    names = [label.get_text() for label in labels if label.get_fontweight() == "normal"]
    assert names == [name for of in ROWS.values() for name in of]
    (right,) = axes.child_axes
    shown = [label.get_text() for label in right.get_yticklabels()]
    assert shown == ["", *(str(score) for score in scores[:3]), "", "0.600", "undefined"]
    low, high = axes.get_ylim()
    assert low > high  # the first row on top
    (legend,) = drawn[0].legends
    entries = [text.get_text() for text in legend.get_texts()]
    assert entries == ["table", "states", CLASSIFIER_INPUT, "chance"]
    assert axes.get_xlabel() == "balanced accuracy"


@pytest.mark.parametrize("rows", [ROWS, {"one": {"states/mean": Interval(0.5, 0.4, 0.6)}}])
def test_figure_is_whole_and_labels_do_not_overlap(rows, tmp_path, drawn, monkeypatch):
    for name in "ab":
        level_figure(rows, tmp_path / f"{name}.png", metric="accuracy", chance=None)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    image = imread(tmp_path / "a.png")
    for edge in (image[:3], image[-3:], image[:, :3], image[:, -3:]):
        assert (edge == 1).all()
    renderer = FigureCanvasAgg(drawn[0]).get_renderer()
    boxes = {}
    monkeypatch.setattr(
        Text, "draw", lambda text, _: boxes.update({text: text.get_window_extent(renderer)})
    )
    drawn[0].draw(renderer)
    boxes = {text: box for text, box in boxes.items() if text.get_text() and text.get_visible()}
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        assert not a.overlaps(b), (one, other)
    assert not any(text.get_parse_math() for text in boxes)
