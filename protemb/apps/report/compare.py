"""Who is better, split by split: networks against each other and against what sees no order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from protemb.analysis.alignment import align
from protemb.analysis.paired import Comparison, PairResult, compare_models
from protemb.analysis.resampling import ScoredPart
from protemb.analysis.verdict import Contrast
from protemb.apps.report.gather import Gathered, Run, predictions
from protemb.errors import ConfigError
from protemb.intervals import Interval, bootstrap_weights

METRIC = "balanced_accuracy"
RIVALS = ("composition", "kmer3", "nearest")
"""Baselines worth a comparison; the others are floors."""


@dataclass(frozen=True, eq=False)
class SplitComparison:
    """What was found on one kind of split.

    Attributes:
        split: its name.
        comparison: scores of all models, and the pairs that were compared.
        networks: the trained models, best validation score first: chosen without the test part.
        runs: the runs behind it.
        dropped: networks that lack some test parts.
    """

    split: str
    comparison: Comparison
    networks: tuple[str, ...]
    runs: tuple[Run, ...]
    dropped: tuple[str, ...] = ()

    @property
    def best(self) -> str:
        """The network with the best validation score."""
        return self.networks[0]

    def contrast(self, first: str, second: str) -> Contrast | None:
        """A compared pair, whichever way round it was compared."""
        for pair in self.comparison.pairs:
            if (pair.first, pair.second) == (first, second):
                return contrast_of(pair)
            if (pair.second, pair.first) == (first, second):
                return _turned(pair)
        return None

    @property
    def rival(self) -> str | None:
        """The baseline with the best score."""
        scores = self.comparison.scores
        known = [name for name in RIVALS if name in scores]
        return max(known, key=lambda name: scores[name].value, default=None)


def contrast_of(pair: PairResult) -> Contrast:
    """The pair as the verdict takes it."""
    return Contrast(pair.first, pair.second, pair.difference, pair.outcome)


def _turned(pair: PairResult) -> Contrast:
    value, low, high = (
        -x for x in (pair.difference.value, pair.difference.high, pair.difference.low)
    )
    words = {"above": "below", "below": "above"}
    return Contrast(
        pair.second, pair.first, Interval(value, low, high), words.get(pair.outcome, pair.outcome)
    )


def compare_splits(
    gathered: Gathered, *, margin: float, replicates: int, seed: int = 0
) -> dict[str, SplitComparison]:
    """Compare the models on every split, on all of the training data."""
    found = {}
    for split in gathered.splits:
        every = gathered.select(split=split, plain=True)
        if runs := complete(every):
            compared = compare_runs(
                runs, gathered.names, split, margin=margin, replicates=replicates, seed=seed
            )
            lost = dict.fromkeys(run.model for run in every if run not in runs)
            found[split] = replace(compared, dropped=tuple(lost))
    return found


def compare_runs(
    runs: Sequence[Run],
    names: Sequence[str],
    split: str,
    *,
    margin: float,
    replicates: int,
    seed: int = 0,
) -> SplitComparison:
    """Compare the models of some runs; every pair of networks, and each with the rivals."""
    networks = tuple(dict.fromkeys(run.model for run in sorted_by_validation(runs)))
    made = predictions(runs)
    rivals = [name for name in RIVALS if any(each.model == name for each in made)]
    pairs = [*combinations(networks, 2), *((one, rival) for rival in rivals for one in networks)]
    if len(pairs) > 0.05 * (replicates + 1):
        expected = f"{20 * len(pairs)} or more, for {len(pairs)} pairs"
        raise ConfigError("--replicates", replicates, expected)
    comparison = compare_models(
        made,
        names,
        pairs=pairs,
        margin=margin,
        replicates=replicates,
        permutations=replicates,
        seed=seed,
        train_share=_train_share(runs),
    )
    return SplitComparison(split, comparison, networks, tuple(runs))


def _train_share(runs: Sequence[Run]) -> float:
    """Records trained on, of those trained on and tested on; the mean over the runs."""
    shares = []
    for run in runs:
        parts = run.record["split"]["parts"]
        trained, tested = (int(parts[part]["records"]) for part in ("train", "test"))
        shares.append(trained / (trained + tested))
    return float(np.mean(shares))


def replicated(
    runs: Sequence[Run], names: Sequence[str], *, replicates: int, seed: int = 0
) -> dict[tuple[str, float, int], tuple[float, np.ndarray]]:
    """Balanced accuracy of each run and its bootstrap replicates, by (model, train share, seed).

    The runs share their kind of split. Where that has several parts, a run is the mean over them.
    """
    by_name = {f"{run.model}|{run.train_share}": (run.model, run.train_share) for run in runs}
    made = [
        replace(each, model=f"{run.model}|{run.train_share}")
        for run, each in zip(runs, predictions(runs, baselines=False), strict=True)
    ]
    found: dict[tuple[str, float, int], list[tuple[float, np.ndarray]]] = {}
    for number, part in enumerate(align(made, names)):
        scored = ScoredPart(part, names, METRIC)
        _, weights_RG = bootstrap_weights(part.groups_G, replicates=replicates, seed=seed + number)
        scores_VR = scored.scores.weighted(weights_RG)
        for name, rows in part.rows.items():
            for order, v in enumerate(rows):
                # Rows of a model are ordered by seed.
                key = (*by_name[name], order)
                found.setdefault(key, []).append((float(scored.values_V[v]), scores_VR[v]))
    return {key: _mean(each) for key, each in found.items()}


def _mean(scored: Sequence[tuple[float, np.ndarray]]) -> tuple[float, np.ndarray]:
    """The mean over parts; without replicates where a part has a single group."""
    value = float(np.mean([value for value, _ in scored]))
    replicates = [replicates_R for _, replicates_R in scored]
    return value, np.mean(replicates, axis=0) if all(map(len, replicates)) else np.empty(0)


def retrained(
    gathered: Gathered, split: str, *, margin: float, replicates: int
) -> list[tuple[str, Contrast]]:
    """What models lose when they are trained and tested on shuffled sequences, by kind."""
    found = []
    whole = complete(gathered.select(split=split, plain=True))
    kinds = dict.fromkeys(run.shuffle for run in gathered.runs if run.shuffle != "none")
    for kind in kinds:
        every = gathered.select(split=split, shuffle=kind, train_share=1.0)
        parts = {run.part for run in whole}
        models = {
            model
            for model in {run.model for run in whole}
            if {run.part for run in every if run.model == model} == parts
        }
        shuffled = [run for run in every if run.model in models]
        intact = predictions([run for run in whole if run.model in models], baselines=False)
        # Shuffled sequences are no longer alike; the units stay those of the intact ones.
        units = {
            (run.part, record): unit
            for run in intact
            for record, unit in zip(run.ids_N, run.groups_N, strict=True)
        }
        changed = [
            replace(
                each,
                model=f"{each.model}, {kind} shuffled",
                groups_N=np.array([units[each.part, record] for record in each.ids_N]),
            )
            for each in predictions(shuffled, baselines=False)
        ]
        pairs = [(model, f"{model}, {kind} shuffled") for model in sorted(models)]
        if pairs:
            comparison = compare_models(
                [*intact, *changed],
                gathered.names,
                pairs=pairs,
                margin=margin,
                replicates=replicates,
                permutations=replicates,
            )
            found += [
                (
                    f"{kind} shuffled",
                    Contrast(pair.first, pair.second, pair.difference, pair.outcome),
                )
                for pair in comparison.pairs
            ]
    return found


def complete(runs: Sequence[Run]) -> list[Run]:
    """The runs of models that have every test part (fold, left-out value) of the split."""
    parts = {run.part for run in runs}
    whole = {
        model
        for model in {run.model for run in runs}
        if {run.part for run in runs if run.model == model} == parts
    }
    return [run for run in runs if run.model in whole]


def sorted_by_validation(runs: Sequence[Run]) -> list[Run]:
    """Runs of the model with the best mean validation score first."""
    values: dict[str, list[float]] = {}
    for run in runs:
        sign = 1 if run.values["objective_mode"] == "max" else -1
        values.setdefault(run.model, []).append(sign * float(run.record["objective"]))
    means: Mapping[str, float] = {model: float(np.mean(found)) for model, found in values.items()}
    return sorted(runs, key=lambda run: (-means[run.model], run.model, run.seed))
