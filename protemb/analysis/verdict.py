"""What the numbers say, in plain words: each sentence is chosen by a rule over an interval.

The rules know four outcomes of a comparison (`outcome`): `above` and `below` where the interval
leaves zero out, `equivalent` where it lies within plus or minus a margin, `unclear` otherwise.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from protemb.analysis.significance import judged, outcome
from protemb.intervals import Interval

METRIC = "balanced accuracy"

Judge = Callable[[Interval], str]


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
        other_classes: splits whose test parts lack some classes.
        dropped: networks that lack some test parts, and so were not compared.
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
    other_classes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    seeds: int = 1
    unfinished: int = 0
    margin: float = 0.02

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which has no NaN: None stands for it."""
        found: dict[str, Any] = _plain(asdict(self))
        return found


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _plain(value) for name, value in node.items()}
    if isinstance(node, list | tuple):
        return [_plain(value) for value in node]
    return None if isinstance(node, float) and math.isnan(node) else node


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
            f"{first} and {second} may differ ({difference}{unit}), but the tests over all pairs "
            "do not exclude chance"
        )
    return f"no difference between {first} and {second} is shown ({difference}{unit})"


def _turned(difference: Interval) -> Interval:
    """The same difference, seen from the other side."""
    return Interval(-difference.value, -difference.high, -difference.low)


def order_words(effect: OrderEffect, margin: float, judge: Judge | None = None) -> str:
    """What shuffling costs a model that can see order, as a clause.

    Args:
        effect: at least one score that shuffling changes.
        margin: differences within it are too small to matter.
        judge: gives the outcome of a difference; each on its own if not given.

    >>> order_words(OrderEffect("lstm", test=Interval(0.3, 0.2, 0.4)), 0.02)
    'lstm loses 0.300 [0.200, 0.400] when its test sequences are shuffled'
    """
    clauses = []
    if effect.test is not None:
        when = "when its test sequences are shuffled"
        clauses.append(_loss_words(effect.test, margin, when, judge))
    if effect.both is not None:
        when = "when it is trained and tested on shuffled sequences"
        clauses.append(_loss_words(effect.both, margin, when, judge))
    return f"{effect.model} {' and '.join(clauses)}"


def blind_words(models: Sequence[str]) -> str:
    """One clause about the models whose vectors do not change when residues are shuffled.

    >>> blind_words(["a", "b"])
    'a and b cannot see the order of residues: shuffling does not change their vectors'
    """
    whose = "their vectors" if len(models) > 1 else "its vectors"
    return f"{_listed(models)} cannot see the order of residues: shuffling does not change {whose}"


def table_words(tables: Sequence[Contrast], margin: float) -> list[str]:
    """Averaged table vectors against those of one network; like outcomes in one sentence.

    >>> table_words([Contrast("a", "b", Interval(0.0, -0.01, 0.01), "equivalent")], 0.02)
    ['Averaged table vectors of a are, within 0.02, worth those of b (0.000 [-0.010, 0.010])']
    """
    words = {
        "above": "are better than those of",
        "below": "are worse than those of",
        "equivalent": f"are, within {margin:g}, worth those of",
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


def _loss_words(lost: Interval, margin: float, when: str, judge: Judge | None) -> str:
    said = judge(lost) if judge else outcome(lost, margin)
    if said == "above":
        return f"loses {lost} {when}"
    if said == "below":
        return f"gains {_turned(lost)} {when}"
    if said == "equivalent":
        return f"keeps its score within {margin:g} {when} ({lost})"
    return f"does not clearly lose or gain {when} ({lost})"


def verdict(found: Findings) -> tuple[str, ...]:
    """The sentences, most important first; every number has its 95 % interval beside it.

    Comparisons bring their outcome. What shuffling and other splits change is judged here, as
    one family.
    """
    said: list[str] = []
    seeing = [each for each in found.order if not each.blind]
    changes = [lost for each in seeing for lost in (each.test, each.both) if lost is not None]
    changes += [gap for _, _, gap in found.gaps]
    outcomes = dict(zip(changes, judged(changes, found.margin), strict=True))
    where = f"On split={found.split}"
    if found.best is not None:
        said.append(f"{where}, {compare_words(found.best, found.margin, METRIC)}.")
    said += [f"{_capital(compare_words(each, found.margin))}." for each in found.question]
    said += [f"{order_words(each, found.margin, outcomes.__getitem__)}." for each in seeing]
    if blind := [each.model for each in found.order if each.blind]:
        said.append(f"{blind_words(blind)}.")
    said += [f"{words}." for words in table_words(found.tables, found.margin)]
    if found.metadata is not None:
        said.append(f"{_capital(compare_words(found.metadata, found.margin))}.")
    for model, split, gap in found.gaps:
        words = _gap_words(model, split, found.split, gap, found.margin, outcomes[gap])
        if split in found.other_classes:
            words += "; its test parts lack some classes, so that chance alone scores higher there"
        said.append(f"{words}.")
    if not said:
        said.append("Nothing was compared: a comparison needs two models on one split.")
    if found.rare:
        counts = _listed([_rare_words(name, groups) for name, groups in found.rare])
        said.append(
            f"Rare in the test part: {counts}. A rare class counts as much as any other, so "
            f"intervals of {METRIC} are wide."
        )
    if found.seeds < 2:
        said.append("One training seed each: another seed may give another answer.")
    elif seeing or found.tables:
        said.append(
            "Shuffled test sequences and table vectors are those of one training of each network; "
            "their intervals do not hold the luck of training."
        )
    if found.dropped:
        said.append(
            f"Not compared, as some of their test parts are missing: {_listed(found.dropped)}."
        )
    if found.unfinished:
        said.append(
            "1 run did not finish and is not part of this."
            if found.unfinished == 1
            else f"{found.unfinished} runs did not finish and are not part of this."
        )
    return tuple(said)


def _rare_words(name: str, groups: int) -> str:
    return f"{name} ({groups} independent group{'s' if groups > 1 else ''})"


def _gap_words(
    model: str, split: str, reference: str, gap: Interval, margin: float, said: str
) -> str:
    if said == "above":
        return f"With split={split} {model} scores {gap} higher than with split={reference}"
    if said == "below":
        return f"With split={split} {model} scores {_turned(gap)} lower than with split={reference}"
    if said == "equivalent":
        return (
            f"With split={split} {model} scores the same as with split={reference}, within "
            f"{margin:g} ({gap})"
        )
    return f"{model} shows no clear gap between split={split} and {reference} ({gap})"


def _capital(text: str) -> str:
    """First letter in upper case, unless the text begins with a model's name."""
    return text[0].upper() + text[1:] if text.startswith("no difference ") else text
