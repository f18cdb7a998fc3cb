"""What reading a table did, in words."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from protemb.apps.variants.scoring import share_of_largest
from protemb.variants.table import VariantTable

SHOWN = 5
"""Examples that the terminal shows of each reason; the run's record has more."""


def report_lines(table: VariantTable) -> list[str]:
    """Counts of everything that reading kept, moved, joined and left out."""
    report: Mapping[str, Any] = table.report
    proteins = len(set(table.proteins_N.tolist()))
    lines = [
        f"{report.get('rows_read', len(table)):,} rows read, {len(table):,} kept, of "
        f"{proteins:,} proteins; the largest three hold {share_of_largest(table.proteins_N):.0%}"
    ]
    if table.values_N is not None:
        mean, low, high = table.values_N.mean(), table.values_N.min(), table.values_N.max()
        lines.append(f"values: mean {mean:.3g}, from {low:.3g} to {high:.3g}")
    else:
        assert table.labels_N is not None
        sizes = np.bincount(table.labels_N, minlength=len(table.label_names)).tolist()
        counts = (f"{name} {n:,}" for name, n in zip(table.label_names, sizes, strict=True))
        lines.append(f"labels: {', '.join(counts)}")
    for reason, found in report.get("dropped", {}).items():
        lines.append(f"left out, {reason}: {found['rows']:,}")
        lines += [f"  {example}" for example in found["examples"][:SHOWN]]
    duplicates = report.get("duplicates", {})
    if duplicates.get("rows"):
        lines.append(
            f"{duplicates['variants']:,} variants stand in {duplicates['rows']:,} rows "
            f"(duplicates={duplicates['policy']})"
        )
    lines += _offset_lines(report.get("offsets", {}))
    other = report.get("sequences", {}).get("other_letters", {})
    if other:
        counts = (
            f"{letter} {found['residues']:,} in {found['proteins']:,} proteins"
            for letter, found in other.items()
        )
        lines.append(f"letters beyond the 20: {', '.join(counts)}")
    return lines


def _offset_lines(offsets: Mapping[str, Any]) -> list[str]:
    lines = []
    if chosen := offsets.get("chosen"):
        named = ", ".join(f"{protein} {offset:+d}" for protein, offset in list(chosen.items())[:12])
        more = f", and {len(chosen) - 12} more" if len(chosen) > 12 else ""
        lines.append(f"numbering moved in {len(chosen)} proteins: {named}{more}")
    if rivals := offsets.get("ambiguous"):
        lines.append(f"numbering ambiguous in {len(rivals)} proteins: {', '.join(rivals)}")
    return lines
