"""A ΔΔG of A to B is the negative of that of B to A; does a model know?

Usmanova et al. (2018), Bioinformatics 34:3653; Pucci, Bernaerts, Kwasigroch and Rooman (2018),
Bioinformatics 34:3659, whose bias is the mean of direct plus reverse prediction; here it is half
of that, in units of the value.

Shape letters: N = rows of the table, S = seeds.
"""

from dataclasses import dataclass, fields

import numpy as np

from protemb.analysis.estimates import mean_estimate
from protemb.apps.variants.scoring import LEVEL, Scorer, interval
from protemb.intervals import Interval


@dataclass(frozen=True)
class Antisymmetry:
    """What the reverse mutations show.

    Attributes:
        direct: Pearson's r of predicted and measured values.
        reverse: the same of the reverse mutations, whose values are the negatives.
        between: r of direct and reverse predictions; -1 for a model that knows.
        bias: mean of direct plus reverse prediction, halved; 0 for a model that knows.
    """

    direct: Interval
    reverse: Interval
    between: Interval
    bias: Interval

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {each.name: getattr(self, each.name).as_dict() for each in fields(self)}


def antisymmetry(direct_SN: np.ndarray, reverse_SN: np.ndarray, scorer: Scorer) -> Antisymmetry:
    """Compare predictions of mutations and of their reverses, both of held-out proteins."""
    values_N = scorer.table.values_N
    assert values_N is not None
    between = [
        scorer.correlate(direct_N, reverse_N[None], "pearson")
        for direct_N, reverse_N in zip(direct_SN, reverse_SN, strict=True)
    ]
    return Antisymmetry(
        interval(scorer.correlate(values_N, direct_SN, "pearson"), "pearson"),
        interval(scorer.correlate(-values_N, reverse_SN, "pearson"), "pearson"),
        interval(mean_estimate(between), "pearson"),
        scorer.mean((direct_SN + reverse_SN) / 2).interval(LEVEL)[0],
    )
