"""What the numbers say, in plain words: each sentence is chosen by a rule over an interval.

The rules know four outcomes of a comparison (`outcome`): `above` and `below` where the interval
leaves zero out, `equivalent` where it lies within plus or minus a margin, `unclear` otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from protemb.analysis.significance import outcome
from protemb.intervals import Interval

METRIC = "balanced accuracy"


@dataclass(frozen=True)
class Contrast:
    """A difference between two things that were scored on the same records.

    Args:
        first: name.
        second: name.
        difference: score of the first minus that of the second.
        outcome: `above`, `below`, `equivalent` or `unclear`.
    """

    first: str
    second: str
    difference: Interval
    outcome: str


@dataclass(frozen=True)
class OrderEffect:
    """What happens to a model when its sequences are shuffled.

    Args:
        model: name.
        test: score lost when the test sequences alone are shuffled; None if not measured.
        both: score lost when training and test sequences are; None if not measured.
        blind: its vectors do not change at all under a shuffle.
    """

    model: str
    test: Interval | None = None
    both: Interval | None = None
    blind: bool = False


@dataclass(frozen=True)
class Findings:
    """What the verdict is about; whatever was not measured stays away.

    Args:
        split: the split of the comparisons.
        best: the network with the best validation score against the best baseline.
        question: further comparisons, in the order in which to tell them.
        order: what shuffling does to the networks.
        tables: mean vectors of two networks' tables, compared by a linear probe.
        gaps: score on another split minus that on `split`, by the other split's name.
        metadata: the network with the best validation score against metadata alone.
        rare: classes of few independent groups in the test part, and their groups.
        seeds: training seeds of each network.
        unfinished: runs that failed or are missing.
        margin: differences within it are too small to matter.
    """

    split: str
    best: Contrast | None = None
    question: tuple[Contrast, ...] = ()
    order: tuple[OrderEffect, ...] = ()
    tables: tuple[Contrast, ...] = ()
    gaps: tuple[tuple[str, str, Interval], ...] = ()
    metadata: Contrast | None = None
    rare: tuple[tuple[str, int], ...] = ()
    seeds: int = 1
    unfinished: int = 0
    margin: float = 0.02


def compare_words(contrast: Contrast, margin: float, unit: str = "") -> str:
    """One comparison as a clause.

    >>> compare_words(Contrast("lstm", "kmer3", Interval(-0.05, -0.08, -0.02), "below"), 0.02)
    'lstm is below kmer3 by 0.050 [0.020, 0.080]'
    >>> compare_words(Contrast("lstm", "bilstm", Interval(0.01, -0.04, 0.06), "unclear"), 0.02)
    'no difference between lstm and bilstm is shown (0.010 [-0.040, 0.060])'
    """
    first, second, difference = contrast.first, contrast.second, contrast.difference
    unit = f" {unit}" if unit else ""
    if contrast.outcome == "above":
        return f"{first} is above {second} by {difference}{unit}"
    if contrast.outcome == "below":
        return f"{first} is below {second} by {_turned(difference)}{unit}"
    if contrast.outcome == "equivalent":
        return f"{first} and {second} are the same within {margin:g} ({difference}{unit})"
    if outcome(difference, margin) in ("above", "below"):
        return (
            f"{first} and {second} may differ ({difference}{unit}), but among so many comparisons "
            "that can be chance"
        )
    return f"no difference between {first} and {second} is shown ({difference}{unit})"


def _turned(difference: Interval) -> Interval:
    """The same difference, seen from the other side."""
    return Interval(-difference.value, -difference.high, -difference.low)


def order_words(effect: OrderEffect, margin: float) -> str:
    """What shuffling costs a model that can see order, as a clause.

    >>> order_words(OrderEffect("lstm", test=Interval(0.3, 0.2, 0.4)), 0.02)
    'lstm loses 0.300 [0.200, 0.400] when its test sequences are shuffled'
    """
    clauses = []
    if effect.test is not None:
        clauses.append(_loss_words(effect.test, margin, "when its test sequences are shuffled"))
    if effect.both is not None:
        clauses.append(
            _loss_words(effect.both, margin, "when it is trained and tested on shuffled sequences")
        )
    return f"{effect.model} {' and '.join(clauses)}"


def blind_words(models: Sequence[str]) -> str:
    """One clause about the models whose vectors do not change when residues are shuffled.

    >>> blind_words(["a", "b"])
    'a and b cannot see the order of residues: shuffling does not change their vectors'
    """
    whose = "their vectors" if len(models) > 1 else "its vectors"
    return f"{_listed(models)} cannot see the order of residues: shuffling does not change {whose}"


def table_words(tables: Sequence[Contrast]) -> list[str]:
    """Averaged table vectors against those of one network; like outcomes in one sentence.

    >>> table_words([Contrast("lstm", "mean", Interval(0.0, -0.01, 0.01), "equivalent")])
    ['Averaged table vectors of lstm are worth the same as those of mean (0.000 [-0.010, 0.010])']
    """
    words = {
        "above": "are better than those of",
        "below": "are worse than those of",
        "equivalent": "are worth the same as those of",
        "unclear": "do not clearly differ from those of",
    }
    said = []
    for outcome_word, clause in words.items():
        kind = [each for each in tables if each.outcome == outcome_word]
        for second in dict.fromkeys(each.second for each in kind):
            against = [each for each in kind if each.second == second]
            numbers = "; ".join(str(each.difference) for each in against)
            names = _listed([each.first for each in against])
            said.append(f"Averaged table vectors of {names} {clause} {second} ({numbers})")
    return said


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _loss_words(lost: Interval, margin: float, when: str) -> str:
    said = outcome(lost, margin)
    if said == "above":
        return f"loses {lost} {when}"
    if said == "below":
        return f"gains {_turned(lost)} {when}"
    if said == "equivalent":
        return f"keeps its score within {margin:g} {when} ({lost})"
    return f"does not clearly lose or gain {when} ({lost})"


def verdict(found: Findings) -> tuple[str, ...]:
    """The sentences, most important first; every number has its 95 % interval beside it."""
    said: list[str] = []
    where = f"On split={found.split}"
    if found.best is not None:
        said.append(f"{where}, {compare_words(found.best, found.margin, METRIC)}.")
    said += [f"{_capital(compare_words(each, found.margin))}." for each in found.question]
    said += [
        f"{_capital(order_words(each, found.margin))}." for each in found.order if not each.blind
    ]
    if blind := [each.model for each in found.order if each.blind]:
        said.append(f"{_capital(blind_words(blind))}.")
    said += [f"{words}." for words in table_words(found.tables)]
    if found.metadata is not None:
        said.append(f"{_capital(compare_words(found.metadata, found.margin))}.")
    for model, split, gap in found.gaps:
        said.append(f"{_gap_words(model, split, found.split, gap, found.margin)}.")
    if not said:
        said.append("Nothing was compared: a comparison needs two models on one split.")
    if found.rare:
        counts = _listed([f"{name} ({groups} independent groups)" for name, groups in found.rare])
        said.append(
            f"Rare in the test part: {counts}. A rare class counts as much as any other, so "
            f"intervals of {METRIC} are wide."
        )
    if found.seeds < 2:
        said.append("One training seed each: another seed may give another answer.")
    if found.unfinished:
        said.append(f"{found.unfinished} runs did not finish and are not part of this.")
    return tuple(said)


def _gap_words(model: str, split: str, reference: str, gap: Interval, margin: float) -> str:
    said = outcome(gap, margin)
    if said == "above":
        return f"With split={split} {model} scores {gap} higher than with split={reference}"
    if said == "below":
        return f"With split={split} {model} scores {_turned(gap)} lower than with split={reference}"
    if said == "equivalent":
        return (
            f"With split={split} {model} scores the same as with split={reference}, within "
            f"{margin:g} ({gap})"
        )
    return f"{_capital(model)} shows no clear gap between split={split} and {reference} ({gap})"


def _capital(text: str) -> str:
    """First letter in upper case, unless it begins with a model's name."""
    first = text.split(" ", 1)[0]
    return text if "/" in first or not first.isalpha() else text[0].upper() + text[1:]
