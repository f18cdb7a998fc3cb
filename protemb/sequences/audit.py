"""What is in a data set, and what a split lets through: plain facts, fit for JSON.

Shape letters: N = records, S = distinct sequences, C = classes, V = values of a field,
E = (value, class) pairs that occur, R = test records.
"""

from typing import Any, NamedTuple

import numpy as np

from protemb.sequences.dataset import LabelledSet
from protemb.sequences.neighbours import nearest_identity
from protemb.sequences.partition import PARTS, Split
from protemb.sequences.tokens import TokenStore

Facts = dict[str, Any]

# A field's cross table is given when it has at most so many cells.
TABLE_CELLS = 500
QUANTILES = {"min": 0, "q1": 0.25, "median": 0.5, "q3": 0.75, "max": 1}
# Edges of the identity bands, lower edge included; the last band is 1 alone.
BANDS = (0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
# Parts that a sequence should not be shared by: (later, earlier).
PAIRS = (("validation", "train"), ("test", "train"), ("test", "validation"))
# Neighbours are searched for at most so many test records (a seeded sample of them), and not at
# all in data of more distinct residues: minutes and about 50 bytes of memory per residue.
TEST_RECORDS = 2_000
SEARCHED_RESIDUES = 20_000_000


def audit(data: LabelledSet) -> Facts:
    """Return the facts of a data set.

    - lengths: quantiles over records; letters: residues of all records.
    - conflicts: distinct sequences under more than one label; `accuracy_ceiling` is what the
      best constant answer per sequence reaches on all records.
    - fields: how much each column tells about the label, see `_confounding`.
    - reading: what reading the files counted.
    """
    return {
        "records": len(data),
        "sequences": data.store.n_sequences,
        "repeats": len(data) - data.store.n_sequences,
        "lengths": _quantiles(data.store.lengths_N),
        "letters": _letters(data.store),
        "classes": _classes(data, np.arange(len(data))),
        "conflicts": _conflicts(data),
        # A position is a place in the sequence: nothing to guess labels from.
        "fields": {name: _confounding(data, name) for name in data.fields if name != "position"},
        "reading": dict(data.report),
    }


def audit_split(data: LabelledSet, split: Split) -> Facts:
    """Return the facts of a split.

    - parts: size and class balance of each.
    - identical: records of the later part whose very sequence stands in the earlier one.
    - nearest: identity (see `neighbours`) of test records to their nearest training sequence.
    """
    parts = split.parts
    return {
        "method": split.method,
        "parameters": dict(split.parameters),
        "parts": {
            name: {
                "records": len(records),
                "sequences": len(np.unique(data.sequences_N[records])),
                "classes": _classes(data, records),
            }
            for name, records in parts.items()
        },
        "left_out": len(data) - sum(map(len, parts.values())),
        "identical": {
            f"{late} in {early}": int(
                np.isin(data.sequences_N[parts[late]], data.sequences_N[parts[early]]).sum()
            )
            for late, early in PAIRS
        },
        "nearest": _nearest(data, split),
    }


def audit_lines(facts: Facts) -> list[str]:
    """Say what `audit` found, a line for each thing."""
    records, conflicts = facts["records"], facts["conflicts"]
    lengths, letters = facts["lengths"], facts["letters"]
    residues = sum(letters.values())
    unused = "".join(sorted(letter for letter, count in letters.items() if not count)) or "none"
    lines = [
        f"records: {records:,}, distinct sequences: {facts['sequences']:,}, "
        f"repeats: {facts['repeats']:,}",
        f"length: {lengths['min']:,} to {lengths['max']:,} residues, half of them "
        f"{lengths['q1']:,} to {lengths['q3']:,}, median {lengths['median']:,}",
        f"letters: {residues:,} residues, X {letters.get('X', 0) / residues:.2%}, unused: {unused}",
        f"sequences under more than one label: {conflicts['sequences']:,} "
        f"({conflicts['records']:,} records); no model of the sequence alone can be right on more "
        f"than {conflicts['accuracy_ceiling']:.2%} of the records",
    ]
    for name, size in facts["classes"].items():
        lines.append(
            f"  {name}: {size['records']:,} records ({size['records'] / records:.1%}), "
            f"{size['sequences']:,} sequences"
        )
    for name, field in facts["fields"].items():
        lines.append(
            f"field {name}: {field['values']:,} values; the label guessed from it alone is right "
            f"for {field['guess_accuracy']:.1%} (without it {field['majority']:.1%}), "
            f"Cramer's V {field['cramers_v']:.2f}"
        )
    return lines


def audit_split_lines(facts: Facts) -> list[str]:
    """Say what `audit_split` found, a line for each thing."""
    parts = [facts["parts"][name] for name in PARTS]
    options = "; ".join(f"{name} {value}" for name, value in facts["parameters"].items())
    lines = [f"split {facts['method']}: {options}"]
    for name, part in zip(PARTS, parts, strict=True):
        lines.append(f"{name}: {part['records']:,} records, {part['sequences']:,} sequences")
    lines.append(f"records in no part: {facts['left_out']:,}")
    lines.append(f"records of each label in {', '.join(PARTS)}:")
    for label in parts[0]["classes"]:
        counts = [f"{part['classes'][label]['records']:,}" for part in parts]
        lines.append(f"  {label}: {', '.join(counts)}")
    for late, early in PAIRS:
        records = facts["identical"][f"{late} in {early}"]
        lines.append(f"{late} records whose very sequence is in {early}: {records:,}")
    nearest = facts["nearest"]
    if "skipped" in nearest:
        return [*lines, f"nearest training sequences: not searched ({nearest['skipped']})"]
    identity = nearest["identity"]
    lines.append(
        f"identity of {nearest['test_records']:,} test records to the nearest training sequence: "
        f"median {identity['median']:.3f}, from {identity['min']:.3f} to {identity['max']:.3f}"
    )
    for low, high, count in zip(BANDS, (*BANDS[1:], None), nearest["bands"].values(), strict=True):
        if count:
            band = "identical" if high is None else f"{low} to below {high}"
            lines.append(f"  {band}: {count:,} ({count / nearest['test_records']:.1%})")
    return lines


def _quantiles(values: np.ndarray) -> Facts:
    """Return quantiles that are values themselves, by name."""
    found = np.quantile(values, list(QUANTILES.values()), method="inverted_cdf").tolist()
    return dict(zip(QUANTILES, found, strict=True))


def _letters(store: TokenStore, chunk: int = 4096) -> Facts:
    """Count the residues of all records by letter, repeats included."""
    records_S = np.bincount(store.sequence_of_N)
    counts = np.zeros(store.alphabet.size)
    for start in range(0, store.n_sequences, chunk):
        here = slice(start, start + chunk)
        first, stop = store.offsets_S1[start], store.offsets_S1[start + len(records_S[here])]
        weights = np.repeat(records_S[here], store.lengths_S[here])
        counts += np.bincount(store.tokens_T[first:stop], weights, len(counts))
    return dict(zip(store.alphabet.symbols, counts.astype(int).tolist(), strict=True))


def _classes(data: LabelledSet, records: np.ndarray) -> Facts:
    """Count records and distinct sequences of each class."""
    C = len(data.label_names)
    records_C = np.bincount(data.labels_N[records], minlength=C)
    pairs = _pairs(data.sequences_N[records], data.labels_N[records], C)
    sequences_C = np.bincount(pairs.class_E, minlength=C)
    return {
        name: {"records": int(records_C[c]), "sequences": int(sequences_C[c])}
        for c, name in enumerate(data.label_names)
    }


class _Pairs(NamedTuple):
    """Which (value, class) pairs occur, how often, and where each value's pairs start."""

    value_E: np.ndarray
    class_E: np.ndarray
    count_E: np.ndarray
    start_V: np.ndarray


def _pairs(codes_N: np.ndarray, labels_N: np.ndarray, C: int) -> _Pairs:
    key_E, count_E = np.unique(codes_N * C + labels_N, return_counts=True)
    value_E, class_E = np.divmod(key_E, C)
    return _Pairs(value_E, class_E, count_E, np.flatnonzero(np.diff(value_E, prepend=-1)))


def _conflicts(data: LabelledSet) -> Facts:
    pairs = _pairs(data.sequences_N, data.labels_N, len(data.label_names))
    classes_S = np.diff(pairs.start_V, append=len(pairs.value_E))
    records_S = np.add.reduceat(pairs.count_E, pairs.start_V)
    best_S = np.maximum.reduceat(pairs.count_E, pairs.start_V)
    return {
        "sequences": int((classes_S > 1).sum()),
        "records": int(records_S[classes_S > 1].sum()),
        "accuracy_ceiling": float(best_S.sum() / len(data)),
    }


def _confounding(data: LabelledSet, name: str) -> Facts:
    """Return how much one field tells about the label.

    `cramers_v` is 0 for independence and 1 where the field decides; it grows by itself with many
    values of few records. `guess_accuracy` does not: each record's label is guessed as the most
    frequent one among the other records with its value (a tie counts half; without other
    records, the most frequent label of all). Compare it with `majority`.
    """
    values, codes_N = np.unique(data.fields[name], return_inverse=True)
    C = len(data.label_names)
    pairs = _pairs(codes_N, data.labels_N, C)
    records_V, records_C = np.bincount(codes_N), np.bincount(data.labels_N, minlength=C)
    facts: Facts = {
        "values": len(values),
        "cramers_v": _cramers_v(pairs, records_V, records_C),
        "guess_accuracy": _guess_accuracy(pairs, records_V, records_C),
        "majority": float(records_C.max() / len(data)),
    }
    if len(values) * C <= TABLE_CELLS:
        table: dict[str, dict[str, int]] = {str(value): {} for value in values}
        for v, c, count in zip(*pairs[:3], strict=True):
            table[str(values[v])][data.label_names[c]] = int(count)
        facts["table"] = table
    return facts


def _cramers_v(pairs: _Pairs, records_V: np.ndarray, records_C: np.ndarray) -> float:
    expected_E = records_V[pairs.value_E] * records_C[pairs.class_E].astype(float)
    phi2 = (pairs.count_E**2 / expected_E).sum() - 1
    freedom = min(len(records_V), int((records_C > 0).sum())) - 1
    return float(np.sqrt(max(phi2, 0) / freedom)) if freedom else 0.0


def _guess_accuracy(pairs: _Pairs, records_V: np.ndarray, records_C: np.ndarray) -> float:
    # Only records of a value's first class can be guessed: the others see it ahead of theirs.
    order_E = np.lexsort((-pairs.count_E, pairs.value_E))
    count_E = pairs.count_E[order_E]
    first_V = count_E[pairs.start_V]
    several_V = np.diff(pairs.start_V, append=len(count_E)) > 1
    second_V = np.zeros_like(first_V)
    second_V[several_V] = count_E[pairs.start_V[several_V] + 1]
    share_V = (np.sign(first_V - 1 - second_V) + 1) / 2
    alone_V = records_V == 1
    class_V = pairs.class_E[order_E][pairs.start_V]
    share_V[alone_V] = class_V[alone_V] == np.argmax(records_C)
    return float((share_V * first_V).sum() / records_C.sum())


def _nearest(data: LabelledSet, split: Split) -> Facts:
    residues = len(data.store.tokens_T)
    if residues > SEARCHED_RESIDUES:
        return {"skipped": f"{residues:,} distinct residues, more than {SEARCHED_RESIDUES:,}"}
    test = split.test
    if len(test) > TEST_RECORDS:
        test = np.sort(np.random.default_rng(0).choice(test, TEST_RECORDS, replace=False))
    sample = Split(split.train, test[:0], test, split.method, split.parameters)
    found = nearest_identity(data, sample)
    band_R = np.searchsorted(BANDS, found.identity_R, side="right") - 1
    counts = np.bincount(band_R, minlength=len(BANDS)).tolist()
    return {
        "test_records": len(test),
        "identity": _quantiles(found.identity_R),
        "bands": dict(zip(map(str, BANDS), counts, strict=True)),
        "proven": float(found.proven_R.mean()),
    }
