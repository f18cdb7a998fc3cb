"""Where a numbering begins: the offset that most mutations of a protein fit.

Tables number residues by a PDB entry or another isoform; the wild-type letters tell how far that
is from the sequence at hand. A place outside the chain fits nothing: no index wraps around.

Shape letters: O = offsets, from -max_offset to max_offset; L = residues.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from protemb.variants.mutations import Mutation
from protemb.variants.rows import Log, Row

AMBIGUOUS, UNFITTED = "ambiguous offset", "unfitted"


@dataclass(frozen=True)
class Offset:
    """What was found for one protein.

    Attributes:
        offset: Added to every position; 0 when nothing fits.
        fitted: Distinct mutations that fit with it.
        mutations: Distinct mutations looked at.
        rivals: All offsets that fit as many, when there are several and 0 is none of them.
    """

    offset: int
    fitted: int
    mutations: int
    rivals: tuple[int, ...] = ()


def find_offset(mutations: Iterable[Mutation], sequence: str, max_offset: int) -> Offset:
    """Find the offset that most distinct mutations fit with all their substitutions.

    Of offsets that fit equally many, 0 wins; else the smallest one by size is taken (of -3 and
    3, -3) and all of them are `rivals`.

    >>> find_offset([Mutation.parse("K12A"), Mutation.parse("L13A")], "MKLV", 20)
    Offset(offset=-10, fitted=2, mutations=2, rivals=())
    """
    distinct = {mutation.substitutions for mutation in mutations}
    # Many mutations differ in the new residue alone; each set of sites is looked at once.
    sites = Counter(tuple((one.position, one.wild) for one in several) for several in distinct)
    letters_L = np.frombuffer(sequence.encode("ascii"), np.uint8)
    offsets_O = np.arange(-max_offset, max_offset + 1)
    fitted_O = np.zeros(len(offsets_O), np.int64)
    for several, count in sites.items():
        fits_O = np.ones(len(offsets_O), bool)
        for position, wild in several:
            places_O = position + offsets_O
            inside_O = (places_O >= 0) & (places_O < len(letters_L))
            fits_O &= inside_O
            fits_O[inside_O] &= letters_L[places_O[inside_O]] == ord(wild)
        fitted_O += count * fits_O
    most = int(fitted_O.max())
    best = [int(offset) for offset in offsets_O[fitted_O == most]]
    if 0 in best:
        return Offset(0, most, len(distinct))
    rivals = tuple(best) if len(best) > 1 else ()
    return Offset(min(best, key=abs), most, len(distinct), rivals)


def place_rows(
    rows: Sequence[Row],
    wild_types: Mapping[str, str],
    max_offset: int,
    log: Log,
    *,
    ambiguous: Literal["error", "drop", "keep"],
    unfitted: Literal["error", "drop"],
) -> tuple[list[Row], dict[str, object]]:
    """Move each row's mutation to its place in the wild type; leave out those that have none.

    Args:
        rows: Of all proteins, with positions as the file has them.
        wild_types: Sequence of each protein.
        max_offset: Largest offset that is tried, in both directions.
        log: Hears of rows that are left out, and lists those of ambiguous proteins that are kept.
        ambiguous: Fate of proteins with several equally good offsets, 0 none of them.
        unfitted: Fate of rows whose wild-type residue does not stand at their place.

    Returns:
        rows: Those left, moved, in the same order.
        report: Plain values: offsets by protein (where not 0), counts, all rows of `log.listed`.

    Raises:
        InputError: A policy says so; with the file, the line and the row.
    """
    mutations: dict[str, list[Mutation]] = {}
    for row in rows:
        mutations.setdefault(row.place.protein, []).append(row.mutation)
    found = {
        protein: find_offset(own, wild_types[protein], max_offset)
        for protein, own in mutations.items()
    }
    placed = []
    for row in rows:
        protein = row.place.protein
        offset = found[protein]
        if offset.rivals:
            problem = _rivalry(offset)
            log.listed.append(row.place.example(problem))
            if ambiguous != "keep":
                log.leave_out(row.place, AMBIGUOUS, problem, ambiguous)
                continue
        moved = row.mutation.shifted(offset.offset) if offset.offset else row.mutation
        if problem := moved.misfit(wild_types[protein]) or "":
            problem += f" (offset {offset.offset:+d})" if offset.offset else ""
            log.listed.append(row.place.example(problem))
            log.leave_out(row.place, UNFITTED, problem, unfitted)
            continue
        placed.append(replace(row, mutation=moved))
    return placed, _report(found, max_offset, log.listed)


def _rivalry(found: Offset) -> str:
    several = ", ".join(f"{offset:+d}" for offset in sorted(found.rivals, key=abs)[:6])
    more = ", ..." if len(found.rivals) > 6 else ""
    fit = f"fit {found.fitted} of {found.mutations} mutations"
    return f"{len(found.rivals)} offsets ({several}{more}) each {fit}"


def _report(found: Mapping[str, Offset], max_offset: int, listed: list[str]) -> dict[str, object]:
    return {
        "max_offset": max_offset,
        "proteins": len(found),
        "chosen": {protein: one.offset for protein, one in found.items() if one.offset},
        "ambiguous": {protein: list(one.rivals) for protein, one in found.items() if one.rivals},
        "mutations": sum(one.mutations for one in found.values()),
        "fitted": sum(one.fitted for one in found.values()),
        "partly_fitted": {
            protein: [one.fitted, one.mutations]
            for protein, one in found.items()
            if one.fitted < one.mutations
        },
        "listed": listed,
    }
