"""What a run wrote of its epochs."""

import csv


def history_of(folder):
    """Its epochs without what depends on the machine's speed."""
    with open(folder / "history.csv", newline="") as handle:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(handle)]
    for row in rows:
        del row["residues_per_second"]
    return rows
