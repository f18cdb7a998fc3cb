"""Paired comparison against loops, scikit-learn's scores, scipy's permutation test, an ANOVA."""

import json
import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from protemb.analysis.estimates import Estimate
from protemb.analysis.paired import RunPredictions, compare_models
from protemb.analysis.resampling import part_scores
from protemb.analysis.significance import holm
from protemb.errors import ConfigError, InputError
from protemb.intervals import Interval, bootstrap_weights
from protemb.scores import classification_scores, weighted_scores

NAMES = ["avian", "human", "swine"]
C = len(NAMES)
METRICS = [
    *("accuracy", "balanced_accuracy", "macro_f1", "mcc", "log_loss", "calibration_error"),
    *("auroc", "recall/swine"),
]
QUICK = {"replicates": 200, "permutations": 200}


def made_runs(seed=0, models=("a", "b"), seeds=(1, 1), parts=("",), N=60, G=25):
    """Runs whose probabilities lean to the true class, with groups of different size."""
    rng = np.random.default_rng(seed)
    runs = []
    for part in parts:
        labels_N = np.concatenate([np.arange(C), rng.integers(0, C, N - C)])
        groups_N = np.concatenate([np.arange(G), rng.integers(0, G, N - G)])
        groups_N = np.char.add(f"{part}g", groups_N.astype(str))
        ids_N = np.char.mod(f"{part}r%03d", rng.permutation(N))
        for model, count in zip(models, seeds, strict=True):
            for s in range(count):
                rows_NC = rng.dirichlet(np.ones(C), N) + 0.4 * np.eye(C)[labels_N]
                rows_NC /= rows_NC.sum(1, keepdims=True)
                runs.append(RunPredictions(model, ids_N, labels_N, groups_N, rows_NC, s, part))
    return runs


def shuffled(run, seed):
    order = np.random.default_rng(seed).permutation(len(run.ids_N))
    arrays = ("ids_N", "labels_N", "groups_N", "probabilities_NC")
    return replace(run, **{name: getattr(run, name)[order] for name in arrays})


def score(run, metric, names=NAMES):
    ones = np.ones((1, len(run.labels_N)))
    return weighted_scores(run.labels_N, run.probabilities_NC, ones, names)[metric][0]


@pytest.fixture
def prepared():
    """Three runs on one part, with the groups' numbers."""
    runs = made_runs(seeds=(1, 2))
    group_of_N = np.unique(runs[0].groups_N, return_inverse=True)[1]
    rows = [run.probabilities_NC for run in runs]
    return (
        runs,
        group_of_N,
        {
            metric: part_scores(runs[0].labels_N, rows, group_of_N, NAMES, metric)
            for metric in METRICS
        },
    )


@pytest.mark.parametrize("metric", METRICS)
def test_quick_replicates_equal_the_plain_path(prepared, metric):
    runs, group_of_N, scores = prepared
    _, weights_RG = bootstrap_weights(runs[0].groups_N, replicates=300, seed=3)
    weights_RG[0] = group_of_N[0] == np.arange(weights_RG.shape[1])  # a single group is left
    ours_VR = scores[metric].weighted(weights_RG)
    for run, ours_R in zip(runs, ours_VR, strict=True):
        plain = weighted_scores(
            run.labels_N, run.probabilities_NC, weights_RG[:, group_of_N], NAMES
        )
        np.testing.assert_allclose(ours_R, plain[metric], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_left_out_equals_dropping_the_groups_records(prepared, metric):
    runs, group_of_N, scores = prepared
    ours_VG = scores[metric].left_out()
    for run, g in product(range(3), (0, 7, 24)):
        kept = group_of_N != g
        rest = replace(
            runs[run],
            labels_N=runs[run].labels_N[kept],
            probabilities_NC=runs[run].probabilities_NC[kept],
        )
        assert ours_VG[run, g] == pytest.approx(score(rest, metric), abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_swapped_equals_trading_the_rows(prepared, metric):
    """One run of the first against two of the second: the one stands in twice."""
    runs, group_of_N, scores = prepared
    flips_RG = np.random.default_rng(0).integers(0, 2, (4, group_of_N.max() + 1), dtype=bool)
    ours_QR = scores[metric].swapped(flips_RG, [([0], [1, 2]), ([1], [2])])

    def traded(v, w, flips_G):
        mask = flips_G[group_of_N][:, None]
        one, other = runs[v].probabilities_NC, runs[w].probabilities_NC
        mine, theirs = np.where(mask, other, one), np.where(mask, one, other)
        return score(replace(runs[v], probabilities_NC=mine), metric) - score(
            replace(runs[w], probabilities_NC=theirs), metric
        )

    for r, flips_G in enumerate(flips_RG):
        mean = (traded(0, 1, flips_G) + traded(0, 2, flips_G)) / 2
        assert ours_QR[0, r] == pytest.approx(mean, abs=1e-12)
        assert ours_QR[1, r] == pytest.approx(traded(1, 2, flips_G), abs=1e-12)


@pytest.mark.parametrize(("metric", "G"), [("accuracy", 8), ("macro_f1", 9), ("log_loss", 7)])
def test_permutation_equals_scipys_when_all_swaps_are_tried(metric, G):
    runs = made_runs(seed=G, N=20, G=G)
    group_of_N = np.unique(runs[0].groups_N, return_inverse=True)[1]
    rows = np.stack([run.probabilities_NC for run in runs])

    def statistic(first_G, second_G):
        each = [
            score(replace(runs[0], probabilities_NC=rows[who_G[group_of_N], range(20)]), metric)
            for who_G in (first_G.astype(int), second_G.astype(int))
        ]
        return each[0] - each[1]

    expected = stats.permutation_test(
        (np.zeros(G), np.ones(G)), statistic, permutation_type="samples", n_resamples=np.inf
    )
    (exact,) = compare_models(runs, NAMES, metric=metric, permutations=2**G, replicates=2).pairs
    assert exact.difference.value == pytest.approx(expected.statistic)
    assert exact.p_permutation == pytest.approx(expected.pvalue)
    # Fewer swaps than there are: drawn at random, the same p within its error.
    (drawn,) = compare_models(
        runs * 1, NAMES, metric=metric, permutations=2**G - 1, replicates=2
    ).pairs
    spread = 4 * math.sqrt(expected.pvalue * (1 - expected.pvalue) / (2**G - 1)) + 1 / 2**G
    assert drawn.p_permutation == pytest.approx(expected.pvalue, abs=spread)


def test_permutation_goes_over_all_parts():
    runs = made_runs(parts=("x", "y"), N=12, G=5)
    (pair,) = compare_models(runs, NAMES, metric="accuracy", permutations=2**10).pairs
    # A swap turns the sign of a group's contribution, here found by hand.
    contributions = []
    for part in ("x", "y"):
        one, other = (run for run in runs if run.part == part)
        gain_N = (one.probabilities_NC.argmax(1) == one.labels_N).astype(float)
        gain_N -= other.probabilities_NC.argmax(1) == other.labels_N
        contributions += [gain_N[one.groups_N == g].sum() / 12 / 2 for g in np.unique(one.groups_N)]
    totals = np.array([np.dot(signs, contributions) for signs in product((-1, 1), repeat=10)])
    expected = np.mean(np.abs(totals) >= abs(sum(contributions)) - 1e-9)
    assert (pair.groups, pair.p_permutation) == (10, pytest.approx(expected))


@given(st.lists(st.floats(0, 1) | st.just(math.nan), max_size=8))
def test_holm_is_its_definition(p_values):
    defined = sorted(p for p in p_values if not math.isnan(p))
    m = len(defined)
    for p, corrected in zip(p_values, holm(np.array(p_values)), strict=True):
        if math.isnan(p):
            assert math.isnan(corrected)
        else:
            steps = [(m - j) * defined[j] for j in range(m) if defined[j] <= p]
            assert corrected == pytest.approx(min(1, max(steps)))


@pytest.mark.parametrize(
    ("parts", "seeds", "train_share", "ratio"),
    [
        (("x", "y", "z"), (1, 1), None, 0.5),
        (("x", "y", "z"), (2, 2), None, 0.5),
        (("x", "y", "z"), (1, 2), 0.5, 1),
    ],
)
def test_corrected_t_is_scipys_with_another_variance(parts, seeds, train_share, ratio):
    runs = made_runs(parts=parts, seeds=seeds)
    (pair,) = compare_models(runs, NAMES, train_share=train_share, **QUICK).pairs
    differences = []
    for part in parts:
        first, second = (
            [score(run, "balanced_accuracy") for run in runs if (run.model, run.part) == (m, part)]
            for m in "ab"
        )
        if len(first) != len(second):
            first, second = [np.mean(first)], [np.mean(second)]
        differences += [x - y for x, y in zip(first, second, strict=True)]
    J = len(differences)
    plain = stats.ttest_1samp(differences, 0).statistic
    t = plain * math.sqrt((1 / J) / (1 / J + ratio))
    assert pair.p_corrected_t == pytest.approx(2 * stats.t.sf(abs(t), J - 1))
    assert pair.p_corrected_t_holm == pair.p_corrected_t


@pytest.mark.parametrize(
    ("seeds", "train_share"), [((1, 1), 0.8), ((1, 3), 0.8), ((3, 3), None), ((3, 3), 0.8)]
)
def test_no_corrected_t_without_trainings_to_compare(seeds, train_share):
    (pair,) = compare_models(made_runs(seeds=seeds), NAMES, train_share=train_share, **QUICK).pairs
    assert pair.p_corrected_t is None and pair.p_corrected_t_holm is None
    assert pair.runs == seeds


def test_variance_is_that_of_a_crossed_anova():
    """Runs x groups with one number each: the variance of the mean in mean squares."""
    rng = np.random.default_rng(0)
    S, G = 4, 30
    y_SG = rng.normal(size=(S, 1)) + rng.normal(size=(1, G)) + rng.normal(size=(S, G))
    left_SG = (y_SG.sum(1, keepdims=True) - y_SG) / (G - 1)
    estimate = Estimate.of_runs(y_SG.mean(1), np.zeros((S, 5)), left_SG)
    runs_S, groups_G = y_SG.mean(1), y_SG.mean(0)
    ms_runs = G * runs_S.var(ddof=1)
    ms_groups = S * groups_G.var(ddof=1)
    rest_SG = y_SG - runs_S[:, None] - groups_G + y_SG.mean()
    ms_rest = (rest_SG**2).sum() / ((S - 1) * (G - 1))
    assert estimate.interaction == pytest.approx(ms_rest / (S * G))
    ((between, df),) = estimate.runs
    assert (between, df) == (pytest.approx(ms_runs / (S * G)), S - 1)
    groups = (ms_groups - ms_rest) / (S * G)
    squares_G = (groups_G - groups_G.mean()) ** 2
    groups_df = min(2 / ((squares_G**2).sum() / squares_G.sum() ** 2 - 1 / G), G - 1)
    # Four in ten estimates with df degrees of freedom are further below the truth than this.
    careful = between / (stats.chi2.ppf(0.4, df) / df)
    total_df = (groups + careful) ** 2 / (groups**2 / groups_df + careful**2 / df)
    reach = stats.t.ppf(0.975, total_df) * math.sqrt(groups + between)
    interval, p = estimate.interval(0.95)
    assert (interval.low, interval.high) == pytest.approx(
        (y_SG.mean() - reach, y_SG.mean() + reach)
    )
    t = abs(y_SG.mean()) / math.sqrt(groups + between)
    assert p == pytest.approx(2 * stats.t.sf(t, total_df))


def test_estimates_of_parts_and_models_combine_linearly():
    """Equal parts: half the variance of each; a difference adds the variances of both sides."""
    runs = made_runs(parts=("x", "y"), seeds=(3, 2))
    one = compare_models(runs, NAMES, **QUICK)
    for model, count in (("a", 3), ("b", 2)):
        values = [score(run, "balanced_accuracy") for run in runs if run.model == model]
        assert len(values) == 2 * count
        assert one.scores[model].value == pytest.approx(np.mean(values))
    difference = one.scores["a"].value - one.scores["b"].value
    assert one.pairs[0].difference.value == pytest.approx(difference)
    first, second = (
        Estimate(v, np.full(3, v), np.full(4, v), ((s, 2),), 0.5)
        for v, s in ((1.0, 8.0), (2.0, 3.0))
    )
    both = (first - second) * 0.5
    assert (both.value, both.interaction) == (-0.5, 0.25)
    assert both.runs == ((2.0, 2), (0.75, 2))


@pytest.mark.parametrize("seed", range(5))
def test_p_is_below_the_level_exactly_when_zero_is_outside(seed):
    rng = np.random.default_rng(seed)
    for value in np.linspace(-3, 3, 25):
        left_G = value + rng.normal(size=40) / 39
        replicates_R = value + rng.exponential(size=500) - 1
        estimate = Estimate(value, replicates_R, left_G, ((0.1, 2),))
        interval, p = estimate.interval(0.9)
        assert (p < 0.1) == (interval.low > 0 or interval.high < 0)
        assert interval.low < value < interval.high
        # The bootstrap is skewed to the right, and so is the interval.
        assert interval.high - value > value - interval.low


def test_luck_of_trainings_widens_the_interval():
    runs = made_runs(seeds=(3, 3), N=300, G=200)
    steady = [
        replace(run, probabilities_NC=runs[3 * (run.model == "b")].probabilities_NC) for run in runs
    ]
    single = compare_models([steady[0], steady[3]], NAMES, **QUICK).pairs[0].difference
    same = compare_models(steady, NAMES, **QUICK).pairs[0].difference
    assert (same.low, same.high) == pytest.approx((single.low, single.high))
    # Two more runs of b that got worse: the mean moves and is known less well.
    worse = np.roll(steady[0].probabilities_NC, 1, axis=0)
    lucky = [*steady[:4], *(replace(run, probabilities_NC=worse) for run in steady[4:])]
    wide = compare_models(lucky, NAMES, **QUICK).pairs[0].difference
    assert wide.high - wide.low > 2 * (single.high - single.low)


def test_order_of_files_and_records_does_not_matter():
    runs = made_runs(seeds=(2, 3), parts=("x", "y"))
    mixed = [shuffled(run, i) for i, run in enumerate(runs)]
    mixed = mixed[:2] + mixed[:1:-1]
    expected = compare_models(runs, NAMES, train_share=0.7, **QUICK).as_dict()
    ours = compare_models(mixed, NAMES, train_share=0.7, **QUICK).as_dict()
    assert json.dumps(ours, sort_keys=True, allow_nan=False) == json.dumps(expected, sort_keys=True)


def test_turning_a_pair_turns_the_sign():
    runs = made_runs(seeds=(1, 3), N=200, G=90)
    there, back = compare_models(
        runs, NAMES, pairs=[("a", "b"), ("b", "a")], train_share=0.8, **QUICK
    ).pairs
    expected = (-there.difference.value, -there.difference.high, -there.difference.low)
    mirrored = (back.difference.value, back.difference.low, back.difference.high)
    assert mirrored == pytest.approx(expected)
    assert back.p_interval == pytest.approx(there.p_interval)
    assert back.p_permutation == there.p_permutation
    assert back.runs == there.runs[::-1]


def test_scores_are_those_of_the_run():
    """One run each: the values of classification_scores, and intervals near to its own."""
    runs = made_runs(N=900, G=800)
    result = compare_models(runs, NAMES, replicates=4000, permutations=2)
    for run in runs:
        ours = result.scores[run.model]
        plain = classification_scores(
            run.labels_N, run.probabilities_NC, run.groups_N, NAMES, replicates=4000
        )["balanced_accuracy"]
        assert ours.value == pytest.approx(plain.value)
        width = plain.high - plain.low
        assert (ours.low, ours.high) == pytest.approx((plain.low, plain.high), abs=0.1 * width)


def test_the_same_model_twice_is_equivalent():
    runs = made_runs()[:1]
    runs.append(replace(runs[0], model="copy"))
    (pair,) = compare_models(runs, NAMES, **QUICK).pairs
    assert pair.difference == Interval(0, 0, 0)
    assert (pair.p_interval, pair.p_permutation, pair.p_holm) == (1, 1, 1)
    assert pair.outcome == "equivalent"


def perfect_and(wrong, N=200):
    """A model without errors, and one that errs on the first records."""
    labels_N = np.arange(N) % C
    ids_N = np.char.mod("r%d", np.arange(N))
    good_NC, bad_NC = np.eye(C)[labels_N], np.eye(C)[(labels_N + (np.arange(N) < wrong)) % C]
    return [
        RunPredictions("good", ids_N, labels_N, ids_N, good_NC),
        RunPredictions("bad", ids_N, labels_N, ids_N, bad_NC),
    ]


@pytest.mark.parametrize(
    ("wrong", "margin", "outcomes"),
    [
        (50, 0.02, ("above", "below")),
        (50, 0.5, ("equivalent", "equivalent")),
        (3, 0.0, ("unclear", "unclear")),
    ],
)
def test_outcomes(wrong, margin, outcomes):
    pairs = [("good", "bad"), ("bad", "good")]
    result = compare_models(perfect_and(wrong), NAMES, pairs=pairs, margin=margin)
    assert tuple(pair.outcome for pair in result.pairs) == outcomes
    first = result.pairs[0]
    assert first.difference.value == pytest.approx(wrong / 200, abs=0.01)
    larger = max(first.p_interval, first.p_permutation)
    assert first.p_holm == pytest.approx(min(1, 2 * larger))


def test_pairs_share_the_evidence():
    """A difference that one pair alone would show is not claimed among many that show nothing."""
    runs = perfect_and(8)
    (alone,) = compare_models(runs, NAMES).pairs
    assert alone.outcome == "above" and alone.p_holm < 0.05
    runs += [replace(runs[0], model=f"copy {i}") for i in range(9)]
    among = compare_models(runs, NAMES).pairs
    assert len(among) == 55 and among[0].difference == alone.difference
    assert {pair.outcome for pair in among} <= {"unclear", "equivalent"}


def test_one_group_allows_no_interval():
    runs = [replace(run, groups_N=np.zeros(60)) for run in made_runs()]
    (pair,) = compare_models(runs, NAMES, **QUICK).pairs
    assert math.isnan(pair.difference.low) and not math.isnan(pair.difference.value)
    assert (pair.p_interval, pair.p_holm, pair.outcome) == (None, None, "unclear")
    assert json.loads(json.dumps(pair.as_dict(), allow_nan=False))["difference"]["low"] is None


def test_a_class_that_is_missing_is_undefined():
    runs = [replace(run, labels_N=run.labels_N % 2) for run in made_runs()]
    (pair,) = compare_models(runs, NAMES, metric="recall/swine", **QUICK).pairs
    assert pair.as_dict()["difference"] == {"value": None, "low": None, "high": None}
    assert (pair.p_permutation, pair.p_holm, pair.outcome) == (None, None, "unclear")


def test_one_model_has_a_score_and_no_pairs():
    result = compare_models(made_runs()[:1], NAMES, **QUICK)
    assert result.pairs == () and set(result.scores) == {"a"}


def changed(run, name, index, value):
    array = getattr(run, name).copy()
    array[index] = value
    return replace(run, **{name: array})


@pytest.mark.parametrize(
    ("break_", "words"),
    [
        (lambda run: changed(run, "ids_N", 0, "new"), ["'b'", "'new'", "'a'"]),
        (lambda run: changed(run, "ids_N", 0, run.ids_N[1]), ["'b'", "twice"]),
        (lambda run: changed(run, "labels_N", 0, (run.labels_N[0] + 1) % C), ["'b'", "label"]),
        (lambda run: changed(run, "groups_N", 0, "zz"), ["'b'", "group zz"]),
        (lambda run: changed(run, "probabilities_NC", 0, np.nan), ["'b'", "probabilities"]),
        (lambda run: changed(run, "probabilities_NC", 0, 0.9), ["'b'", "probabilities"]),
        (lambda run: replace(run, part="z"), ["none on part"]),
        (lambda run: replace(run, model="a"), ["'a'", "given twice"]),
    ],
)
def test_runs_that_do_not_fit_are_named(break_, words):
    first, second = made_runs()
    with pytest.raises(InputError) as caught:
        compare_models([first, break_(second)], NAMES, **QUICK)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    if any(word in str(caught.value) for word in ("label", "group ", "probab")):
        assert repr(str(first.ids_N[0])) in str(caught.value)


def test_a_record_that_only_one_model_lacks_is_named():
    first, second = made_runs()
    arrays = ("ids_N", "labels_N", "groups_N", "probabilities_NC")
    cut = replace(second, **{name: getattr(second, name)[1:] for name in arrays})
    with pytest.raises(InputError, match=f"'b'.*{second.ids_N[0]}.*missing"):
        compare_models([first, cut], NAMES, **QUICK)


def test_no_runs_is_an_error():
    with pytest.raises(InputError, match="no runs"):
        compare_models([], NAMES)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("metric", "precision"),
        ("metric", "recall/cat"),
        ("pairs", [("a", "c")]),
        ("pairs", [("a", "a")]),
        ("replicates", 0),
        ("permutations", 1),
        ("margin", -0.1),
        ("margin", math.nan),
        ("level", 95),
        ("train_share", 1.0),
    ],
)
def test_bad_options_are_named(option, value):
    with pytest.raises(ConfigError, match=option):
        compare_models(made_runs(), NAMES, **{option: value})


def test_arrays_that_do_not_fit_are_programming_errors():
    first, second = made_runs()
    with pytest.raises(ValueError, match="shapes"):
        compare_models([first, replace(second, labels_N=second.labels_N[1:])], NAMES)
    with pytest.raises(ValueError, match="labels 0 to 2"):
        rows_NC = np.full((60, 2), 0.5)
        compare_models(
            [replace(run, probabilities_NC=rows_NC) for run in (first, second)], NAMES[:2]
        )
