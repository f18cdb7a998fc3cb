"""Rows of the same protein and mutation: several measurements of one variant."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from protemb.variants.rows import EXAMPLES, Row

Policy = Literal["error", "mean", "first", "keep"]


def settle_duplicates(
    rows: Sequence[Row], policy: Policy, *, weighted: bool
) -> tuple[list[Row], dict[str, object]]:
    """Make one row of those that measure the same variant, or keep them all.

    Under `mean`, values are averaged by weight, numeric covariates too (over the rows that have
    one); a categorical covariate is the first row's. A merged row stands where its first one stood.

    Args:
        rows: With their mutations in place.
        policy: "error", "mean", "first" or "keep".
        weighted: Weights come from the file: a mean weighs as much as its rows together. Without,
            every row weighs 1 and so does a mean.

    Returns:
        rows: Those left.
        report: Plain values: how many variants and rows, examples, covariates that differed.

    Raises:
        InputError: Naming both lines: a duplicate under `error`; labels or groups that differ
            under `mean`.
    """
    variants: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        key = (row.place.protein, row.mutation.substitutions)
        variants.setdefault(key, []).append(row)
    several = [own for own in variants.values() if len(own) > 1]
    report: dict[str, object] = {
        "policy": policy,
        "variants": len(several),
        "rows": sum(map(len, several)),
        "differing_categories": sum(_categories_differ(own) for own in several),
        "examples": [
            first.place.example(f"{len(others) + 1} rows") for first, *others in several[:EXAMPLES]
        ],
    }
    if policy == "keep":
        return list(rows), report
    if policy == "error" and several:
        first, second, *_ = several[0]
        problem = f"the same variant as in {first.place.where}; duplicates=mean, first or keep"
        raise second.place.error(f"{problem} would take it")
    if policy == "first":
        return [own[0] for own in variants.values()], report
    return [_mean(own, weighted) for own in variants.values()], report


def _categories_differ(rows: Sequence[Row]) -> bool:
    texts = {tuple(value for value in row.covariates if isinstance(value, str)) for row in rows}
    return len(texts) > 1


def _mean(rows: Sequence[Row], weighted: bool) -> Row:
    first, *others = rows
    if not others:
        return first
    for row in others:
        for what, one, other in (
            ("label", first.label, row.label),
            ("group", first.group, row.group),
        ):
            if one != other:
                problem = f"the {what} is {other!r}, but {one!r} in {first.place.where}"
                raise row.place.error(f"{problem}, for the same variant")
    weights = [row.weight for row in rows]
    columns = zip(*(row.covariates for row in rows), strict=True)
    return replace(
        first,
        value=_average([row.value for row in rows], weights),
        weight=math.fsum(weights) if weighted else first.weight,
        covariates=tuple(
            own[0] if isinstance(own[0], str) else _average(own, weights) for own in columns
        ),
    )


def _average(values: Sequence[float | str], weights: Sequence[float]) -> float:
    """Weighted mean of the values that are there; NaN when none is."""
    there = [
        (float(value), weight)
        for value, weight in zip(values, weights, strict=True)
        if not math.isnan(float(value))
    ]
    total = math.fsum(weight for _, weight in there)
    return math.fsum(value * weight for value, weight in there) / total if there else math.nan
