"""Order probes against loops, models of known blindness, and figures read back."""

import json
import math
from itertools import combinations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from protemb.analysis.changes import (
    CHANGES,
    YARDSTICK,
    changed,
    embed_callable,
    levels_callable,
    predict_callable,
)
from protemb.analysis.order import TOLERANCE, order_probe, order_probes
from protemb.analysis.order_figure import TITLES, drop_figure, order_figure
from protemb.analysis.shuffle_drop import ShuffleDrop, shuffle_drop
from protemb.errors import ConfigError
from protemb.intervals import Interval, percentile_interval
from protemb.models.classifier import SequenceClassifier
from protemb.models.embedder import Embedder
from protemb.models.encoders import ConvolutionEncoder, RecurrentEncoder
from protemb.models.pooling import LastPooling, MaxPooling, MeanPooling
from protemb.scores import bootstrap_scores, score_difference
from protemb.sequences.alphabet import AA21

ORDER = [name for name in CHANGES if name != YARDSTICK]
RNG = np.random.default_rng(3)
# Few letters, so that dipeptides come back and every change has more than one outcome.
SEQUENCES = [RNG.integers(0, 6, length).astype(np.uint8) for length in RNG.integers(15, 60, 24)]
GROUPS = np.repeat(np.arange(8), 3)
ROWS = RNG.normal(size=(21, 5))


def table_mean(tokens):
    """Sums in the order of the residues: other orders differ by rounding."""
    return np.array([sum(ROWS[t].astype(np.float32) for t in row) / len(row) for row in tokens])


def weighted_sum(tokens):
    """Every residue counts by its place: blind to nothing."""
    return np.array(
        [(ROWS[row] * np.sqrt(np.arange(1, len(row) + 1))[:, None]).sum(0) for row in tokens]
    )


def network(kind, pooling=MeanPooling, level="states"):
    torch.manual_seed(0)
    encoder = {
        "lstm": lambda: RecurrentEncoder(hidden_dim=6),
        "bilstm": lambda: RecurrentEncoder(hidden_dim=6, bidirectional=True),
        "cnn": lambda: ConvolutionEncoder(hidden_dim=6, layers=1),
    }[kind]()
    return Embedder(encoder, pooling, level)


def test_distances_are_those_of_a_loop():
    probe = order_probe(weighted_sum, SEQUENCES, GROUPS, draws=2, replicates=50, seed=4)
    vectors = weighted_sum(SEQUENCES)
    pairs = [np.sum((a - b) ** 2) for a, b in combinations(vectors, 2)]
    typical = math.sqrt(sum(pairs) / len(pairs))
    assert probe.typical == pytest.approx(typical)

    distances = {}
    for change in CHANGES:
        distances[change] = []
        drawn = changed(SEQUENCES, change, draws=2, seed=4)
        assert len(drawn) == (1 if change == "reversal" else 2)
        for n, sequence in enumerate(SEQUENCES):
            found = [
                np.linalg.norm(weighted_sum([copies[n]])[0] - vectors[n])
                for copies in drawn
                if copies[n].tolist() != sequence.tolist()
            ]
            distances[change].append(np.mean(found))
    for change, moves in probe.movements.items():
        mean = np.mean(distances[change])
        assert moves.distance.value == pytest.approx(mean / typical)
        assert moves.ratio.value == pytest.approx(mean / np.mean(distances[YARDSTICK]))
        assert (moves.moved, moves.sequences, moves.unchanged) == (1, 24, False)

        # Whole groups are drawn, and the same for both sides of the ratio.
        rng, means, ratios = np.random.default_rng(4), [], []
        for _ in range(50):
            rows = [3 * g + i for g in rng.integers(8, size=8) for i in range(3)]
            means.append(np.mean([distances[change][row] for row in rows]) / typical)
            yardstick = np.mean([distances[YARDSTICK][row] for row in rows]) / typical
            ratios.append(means[-1] / yardstick)
        for interval, values in ((moves.distance, means), (moves.ratio, ratios)):
            expected = percentile_interval(interval.value, np.array(values))
            assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert not probe.order_free
    assert probe.movements[YARDSTICK].ratio.value == pytest.approx(1)


def test_groups_are_resampled_and_not_rows():
    # Within a group all is equal, so groups of 8 leave 3 outcomes to draw from, and one none.
    repeated = [SEQUENCES[n // 8] for n in range(24)]
    probes = {
        G: order_probe(weighted_sum, repeated, np.arange(24) // (24 // G), replicates=200)
        for G in (1, 3, 24)
    }
    widths = {}
    for G, probe in probes.items():
        distance = probe.movements["residues"].distance
        assert distance.value == pytest.approx(probes[24].movements["residues"].distance.value)
        widths[G] = distance.high - distance.low
    assert math.isnan(widths[1]) and widths[3] > 1.5 * widths[24] > 0
    pairs = [np.sum((a - b) ** 2) for a, b in combinations(weighted_sum(repeated[::8]), 2)]
    assert probes[3].typical == pytest.approx(math.sqrt(np.mean(pairs)))  # of distinct sequences


@pytest.mark.parametrize(
    "embed", [table_mean, embed_callable(network("lstm", level="table"), AA21)]
)
def test_a_mean_of_table_rows_is_blind_to_order_and_not_to_residues(embed):
    probe = order_probe(embed, SEQUENCES, GROUPS, replicates=50)
    assert probe.order_free
    for change in ORDER:
        moves = probe.movements[change]
        assert moves.unchanged and moves.moved == 0 and moves.sequences == 24
        assert moves.distance == moves.ratio == Interval(0, 0, 0)
    assert probe.movements[YARDSTICK].moved == 1
    assert probe.movements[YARDSTICK].distance.low > 0.01


@pytest.mark.parametrize("kind", ["lstm", "bilstm", "cnn"])
def test_networks_see_order(kind):
    probe = order_probe(embed_callable(network(kind), AA21), SEQUENCES, GROUPS, replicates=50)
    assert not probe.order_free
    for moves in probe.movements.values():
        assert moves.moved == 1 and moves.distance.low > 1e-4


def test_the_last_row_sees_what_takes_the_last_place():
    embed = embed_callable(network("lstm", LastPooling, "table"), AA21)
    probe = order_probe(embed, SEQUENCES, GROUPS)
    moved = {change: moves.moved for change, moves in probe.movements.items()}
    assert moved["dipeptides"] == 0 and 0 < moved["substitution"] < 0.5 < moved["reversal"]
    assert not probe.order_free


def test_rounding_is_no_movement_and_more_is():
    def shifted(share):
        rng = np.random.default_rng(0)

        def embed(tokens):
            sums = np.array([[100, 0]] * len(tokens)) + table_mean(tokens)[:, :2]
            return sums + share * 100 * rng.choice([-0.5, 0.5], size=(len(tokens), 1))

        return order_probe(embed, SEQUENCES, GROUPS)

    assert shifted(0.5 * TOLERANCE).order_free
    assert not shifted(5 * TOLERANCE).order_free


def test_what_cannot_be_changed_is_not_counted():
    alike = [np.full(9, 3, np.uint8), np.array([5], np.uint8)]
    palindrome = np.array([1, 2, 3, 2, 1], np.uint8)
    probe = order_probe(weighted_sum, [*alike, palindrome], np.arange(3), replicates=20)
    counts = {change: moves.sequences for change, moves in probe.movements.items()}
    only = {"reversal": 0, "dipeptides": 0, "substitution": 3}
    assert counts == {change: only.get(change, 1) for change in CHANGES}
    nothing = probe.movements["reversal"]
    assert math.isnan(nothing.moved) and not nothing.unchanged

    blind = order_probe(table_mean, alike, np.arange(2))
    assert not blind.order_free  # nothing was seen


@pytest.mark.parametrize("rounding", [0, 1e-8])
def test_vectors_that_are_all_the_same_have_no_scale(rounding):
    def embed(tokens):
        return 1 + rounding * np.random.default_rng(len(tokens)).normal(size=(len(tokens), 2))

    constant = order_probe(embed, SEQUENCES, GROUPS)
    assert constant.typical is None
    for moves in constant.movements.values():
        assert moves.unchanged and math.isnan(moves.distance.value)
        assert math.isnan(moves.ratio.value)
    single = order_probe(weighted_sum, SEQUENCES[:1] * 2, np.arange(2))
    assert single.typical is None and single.movements["reversal"].moved == 1
    # These two differ in a residue whose token is 0.
    pair = [np.array([4, 2], np.uint8), np.array([4, 2, 0], np.uint8)]
    assert order_probe(weighted_sum, pair, np.arange(2)).typical is not None


def test_the_probe_is_a_function_of_its_arguments():
    def probe(**options):
        return order_probe(weighted_sum, SEQUENCES, GROUPS, replicates=20, **options)

    assert probe().as_dict() == probe().as_dict() != probe(seed=1).as_dict()
    alone, among = (
        changed(tokens, "residues", draws=2, seed=0) for tokens in (SEQUENCES[3:4], SEQUENCES)
    )
    assert [copies[0].tolist() for copies in alone] == [copies[3].tolist() for copies in among]
    other = changed(SEQUENCES, "residues", draws=1, seed=1)
    assert len({copies[3].tobytes() for copies in among + other}) == 3
    for change in ("rotation", "segments", "residues"):
        copies = changed([np.arange(20, dtype=np.uint8)] * 2, change, draws=9, seed=0)
        assert len({tuple(tokens) for pair in copies for tokens in pair}) > 1
        assert all(np.array_equal(*pair) for pair in copies)  # equal sequences stay equal
        assert all(pair[0].tolist() != list(range(20)) for pair in copies)


def test_levels_are_probed_together():
    torch.manual_seed(0)
    classifier = SequenceClassifier(network("bilstm"), classes=2, hidden=3)
    probes = order_probes(levels_callable(classifier, AA21), SEQUENCES, GROUPS, replicates=20)
    own = order_probe(embed_callable(network("bilstm"), AA21), SEQUENCES, GROUPS, replicates=20)
    assert {name for name, probe in probes.items() if probe.order_free} == {
        "table/mean",
        "table/max",
    }
    assert "classifier input" in probes
    found, expected = probes["states/mean"].movements, own.movements
    assert [m.moved for m in found.values()] == [m.moved for m in expected.values()]


@pytest.mark.parametrize(
    ("sequences", "groups", "options"),
    [([], [], {}), (SEQUENCES[:2], [0], {}), (SEQUENCES[:2], [0, 1], {"draws": 0})],
)
def test_arrays_that_do_not_fit_are_refused(sequences, groups, options):
    with pytest.raises(ValueError, match="expected a group for each"):
        order_probe(weighted_sum, sequences, np.array(groups), **options)


def test_vectors_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"got shape \(1, 2\), expected 24 rows"):
        order_probe(lambda tokens: np.ones((1, 2)), SEQUENCES, GROUPS)
    with pytest.raises(ValueError, match="NaN"):
        order_probe(lambda tokens: np.full((len(tokens), 2), np.nan), SEQUENCES, GROUPS)


NAMES = ["a", "b"]
# Class b is where the first residue is below the last: order decides, and a reversal inverts it.
LABELS = np.array([int(tokens[0] < tokens[-1]) for tokens in SEQUENCES])
LABELS[::7] ^= 1  # else the score without changes had no spread


def by_ends(tokens):
    return np.array([[0.1, 0.9] if row[0] < row[-1] else [0.9, 0.1] for row in tokens])


def by_composition(tokens):
    return np.array([[0.2, 0.8] if np.mean(row) < 2.5 else [0.8, 0.2] for row in tokens])


def test_the_drop_is_that_of_a_loop():
    kinds = ("residues", "dipeptides", "reversal")
    drops = shuffle_drop(by_ends, SEQUENCES, LABELS, GROUPS, NAMES, replicates=99, seed=2)
    assert tuple(drops) == kinds

    def score(tokens):
        values, found = bootstrap_scores(
            LABELS, by_ends(tokens), GROUPS, NAMES, replicates=99, seed=2
        )
        return values["balanced_accuracy"], found["balanced_accuracy"]

    intact, intact_R = score(SEQUENCES)
    for kind in kinds:
        scores = [score(copies) for copies in changed(SEQUENCES, kind, draws=3, seed=2)]
        assert len(scores) == (1 if kind == "reversal" else 3)
        mean = sum(value for value, _ in scores) / len(scores)
        mean_R = sum(replicates for _, replicates in scores) / len(scores)
        expected = ShuffleDrop(
            percentile_interval(intact, intact_R),
            percentile_interval(mean, mean_R),
            percentile_interval(intact - mean, intact_R - mean_R),
        )
        for name in ("intact", "shuffled", "drop"):
            found, known = getattr(drops[kind], name), getattr(expected, name)
            assert (found.value, found.low, found.high) == pytest.approx(
                (known.value, known.low, known.high)
            )
    reversed_NC = by_ends([tokens[::-1] for tokens in SEQUENCES])
    single = score_difference(
        LABELS, by_ends(SEQUENCES), reversed_NC, GROUPS, NAMES, replicates=99, seed=2
    )
    assert drops["reversal"].drop == single and single.value > 0.5
    assert drops["dipeptides"].drop == Interval(0, 0, 0)  # the ends stay
    assert drops["residues"].drop.low > 0.1


def test_what_sees_no_order_loses_nothing():
    drops = shuffle_drop(
        by_composition, SEQUENCES, LABELS, GROUPS, NAMES, kinds=ORDER, metric="auroc", replicates=50
    )
    assert set(drops) == set(ORDER)
    assert all(drop.drop == Interval(0, 0, 0) for drop in drops.values())


def test_a_classifier_is_a_function_of_token_arrays():
    torch.manual_seed(0)
    predict = predict_callable(SequenceClassifier(network("lstm"), classes=2), AA21)
    probabilities = predict(SEQUENCES)
    assert probabilities.shape == (24, 2) and np.allclose(probabilities.sum(1), 1)
    assert np.allclose(predict(SEQUENCES[5:7]), probabilities[5:7], atol=1e-6)


def test_unknown_kinds_and_metrics_are_refused():
    with pytest.raises(ConfigError, match="shuffle: got 'codons', expected one of substitution, "):
        shuffle_drop(by_ends, SEQUENCES, LABELS, GROUPS, NAMES, kinds=["codons"])
    with pytest.raises(ConfigError, match="metric: got 'luck', expected one of accuracy, "):
        shuffle_drop(by_ends, SEQUENCES, LABELS, GROUPS, NAMES, metric="luck")


@pytest.fixture(scope="module")
def probes():
    torch.manual_seed(0)
    classifier = SequenceClassifier(network("lstm", MaxPooling), classes=2)
    found = order_probes(levels_callable(classifier, AA21), SEQUENCES, GROUPS, replicates=20)
    palindromes = [np.array([1, 2, 1], np.uint8), np.array([3], np.uint8)]
    same = [np.array([1, 2, 3, 5], np.uint8)] * 2
    return found | {
        "$x_1$ " + "y" * 90: order_probe(weighted_sum, palindromes, np.arange(2), replicates=5),
        "no scale": order_probe(weighted_sum, same, np.arange(2)),
        "constant": order_probe(lambda tokens: np.ones((len(tokens), 1)), SEQUENCES, GROUPS),
    }


DROPS = {
    "lstm": shuffle_drop(by_ends, SEQUENCES, LABELS, GROUPS, NAMES, replicates=20),
    "x" * 90: {
        "rotation": ShuffleDrop(
            Interval(0.5, math.nan, math.nan), *[Interval(math.nan, math.nan, math.nan)] * 2
        )
    },
}


def test_results_go_into_json(probes):
    for result in [*probes.values(), *DROPS["lstm"].values(), *DROPS["x" * 90].values()]:
        payload = result.as_dict()
        assert json.loads(json.dumps(payload, allow_nan=False)) == payload
    payload = probes["table/mean"].as_dict()
    assert payload["order_free"] is True and payload["tolerance"] == TOLERANCE
    assert payload["movements"]["rotation"] == {
        "distance": {"value": 0, "low": 0, "high": 0},
        "ratio": {"value": 0, "low": 0, "high": 0},
        "moved": 0,
        "sequences": 24,
        "unchanged": True,
    }
    assert probes["constant"].as_dict()["typical"] is None


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, in order."""
    saved, save = [], Figure.savefig

    def keep(figure, *args, **options):
        saved.append(figure)
        return save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


def marks(axes, shape):
    """{row: place on the axis} of the dots or squares of a panel."""
    found = (line for line in axes.lines if line.get_marker() == shape)
    return {round(line.get_ydata()[0]): line.get_xdata()[0] for line in found}


def test_the_order_figure_shows_every_movement(probes, drawn, tmp_path):
    path = order_figure(probes, tmp_path / "order.png")
    assert imread(path).shape[0] > 100
    assert set(TITLES) == set(CHANGES)
    panels = drawn[0].axes
    assert [axes.get_title() for axes in panels] == list(TITLES.values())
    names = [label.get_text() for label in panels[0].get_yticklabels()]
    assert len(names) == len(probes) and names[0] == "table/mean" and len(max(names, key=len)) == 40
    for axes, change in zip(panels, TITLES, strict=True):
        moves = [probe.movements[change] for probe in probes.values()]
        assert set(marks(axes, "s")) == {n for n, m in enumerate(moves) if m.unchanged}
        places = {n: m.distance.value for n, m in enumerate(moves) if m.distance.value > 0}
        assert marks(axes, "o") == pytest.approx(places)
        strip = axes.patches[0].get_extents().transformed(axes.transData.inverted())
        assert all(strip.x0 < zero < strip.x1 for zero in marks(axes, "s").values())
        assert all(strip.x1 <= place < axes.get_xlim()[1] for place in places.values())
        words = {round(text.get_position()[1]): text.get_text() for text in axes.texts}
        others = {n: m for n, m in enumerate(moves) if n not in places and not m.unchanged}
        expected = {
            n: "moves, no scale" if m.sequences else "cannot change" for n, m in others.items()
        }
        assert words == expected
    assert {"cannot change", "moves, no scale"} <= {t.get_text() for t in drawn[0].findobj(Text)}


@pytest.mark.parametrize("name", ["table/mean", "constant"])
def test_a_single_row_is_drawn(probes, name, tmp_path):
    assert order_figure({name: probes[name]}, tmp_path / "one.svg").stat().st_size > 1000


def test_the_drop_figure_shows_scores_and_losses(drawn, tmp_path):
    path = drop_figure(DROPS, tmp_path / "drop.png", metric="balanced accuracy", chance=0.5)
    assert imread(path).shape[0] > 100
    axes = drawn[0].axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[:5] == [
        "lstm",
        "as they are",
        "shuffled",
        "shuffled, neighbour pairs kept",
        "reversed",
    ]
    shown = marks(axes, "o")
    drops = DROPS["lstm"]
    assert shown[1] == drops["residues"].intact.value
    for row, kind in enumerate(drops, 2):
        assert shown[row] == drops[kind].shuffled.value
    words = {text.get_text() for text in drawn[0].findobj(Text)}
    assert f"loses {drops['residues'].drop}" in words and "loses undefined" in words
    assert {"intact sequences", "changed sequences", "chance", "balanced accuracy"} <= words
