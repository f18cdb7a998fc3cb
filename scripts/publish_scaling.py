"""Fill docs/scaling.md from benchmarks/results: scale.json, costs.json, and embedding.json for SSA.

    python scripts/publish_scaling.py

What UniRef50 would take is arithmetic on the measured costs; the constants below are not measured
here, and the page names their sources.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from protemb.files import write_text

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "scaling.md"
RESULTS = ROOT / "benchmarks" / "results"

PROTEINS, RESIDUES = 68_360_540, 19_582_371_375
"""UniRef50 as it was in December 2024, counted at huggingface.co/datasets/hazemessam/uniref50."""
ID_BYTES = 19
"""Of `UniRef50_A0A009IHW8`."""
GPU_FLOPS = {"float32": 19.5e12, "bfloat16": 312e12}
"""Dense peak of an NVIDIA A100, by its data sheet."""
REACHED = {"float32": 0.25, "bfloat16": 0.4}
"""Share of the peak that is assumed: recurrent networks in float32, transformers in bfloat16."""
TRANSFORMERS = {"ESM-2, 8M": (6, 320), "ESM-2, 650M": (33, 1280)}
"""Layers and width (Lin et al. 2023)."""
CONTEXT = 400
"""Residues of the protein that an average residue is in: longer than the average protein."""
WIDTHS = {
    "table": 10,
    "LSTM(64)": 64,
    "BiLSTM(64)": 128,
    "BiLSTM(512)": 1024,
    "UniRep, 4 x 64": 64,
    "UniRep, 4 x 256": 256,
    "UniRep, 1900": 1900,
    "SSA": 100,
}
STAGES = ("store", "split", "plan", "embed", "embed, shard 1/2", "merge")
SHARDS = (1, 8, 64)
MEAN = RESIDUES // PROTEINS
LENGTHS = ("100", f"{MEAN}", "400", "2,000", "35,000")

Report = Mapping[str, Any]
Rows = dict[tuple[str, str], dict[str, Any]]


def rows_of(report: Report) -> Rows:
    """Rows by job and unit."""
    return {(row["job"], row["unit"]): row for row in report["rows"]}


def costs_of(reports: Mapping[str, Report]) -> Rows:
    """Rows of costs.json, and SSA's speed, which embedding.json has."""
    measured = rows_of(reports["embedding"])["embed, SSA at full size", "residues/s"]
    speed = {(f"embed, SSA, length {MEAN}", "residues/s"): {**measured, "against": ""}}
    return rows_of(reports["costs"]) | speed


class Scale:
    """Costs of the stages at two numbers of proteins, for one mean length."""

    def __init__(self, report: Report, mean: int) -> None:
        self.rows, self.mean = rows_of(report), mean
        pattern = re.compile(rf"store, ([\d,]+) of mean length {mean}")
        found = (pattern.fullmatch(job) for job, _ in self.rows)
        self.large = next(match[1] for match in found if match)
        self.small = self.rows[f"store, {self.large} of mean length {mean}", "s"]["against"]

    def pair(self, stage: str, what: str = "", unit: str = "s") -> tuple[float, float]:
        """At the small and at the large number."""
        row = self.rows[f"{stage}, {self.large} of mean length {self.mean}{what}", unit]
        return median(row["theirs"]), median(row["ours"])

    def slope(self, stage: str, what: str = "", unit: str = "s") -> float:
        """For one more protein."""
        few, many = self.pair(stage, what, unit)
        return (many - few) / (whole(self.large) - whole(self.small))

    def bytes_each(self, stage: str) -> float:
        """Own memory for one more protein."""
        return self.slope(stage, ": own memory", "MB") * 1e6


def whole(text: str) -> int:
    """Read `1,000`."""
    return int(text.replace(",", ""))


def short(value: float) -> str:
    """Three significant digits, without an exponent; small values keep two.

    >>> short(123456), short(12.345), short(0.00123)
    ('123,000', '12.3', '0.0012')
    """
    rounded = float(f"{value:.3g}" if abs(value) >= 1 else f"{value:.2g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"


def lines(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    body = [heads, ("---",) * len(heads), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in body)


def stages(scale: Scale) -> str:
    """Seconds and memory of every stage at both numbers."""
    rows = []
    for stage in STAGES:
        seconds, own = scale.pair(stage), scale.pair(stage, ": own memory", "MB")
        peak = scale.pair(stage, ": peak with mapped files", "MB")
        rows.append(
            (
                stage,
                *map(short, seconds),
                short(scale.slope(stage) * 1e6),
                *map(short, own),
                short(scale.bytes_each(stage)),
                *map(short, peak),
            )
        )
    few, many = scale.small, scale.large
    heads = (
        *("stage", f"s, {few}", f"s, {many}", "µs for one more"),
        *(f"own MB, {few}", f"own MB, {many}", "bytes for one more"),
        *(f"peak MB, {few}", f"peak MB, {many}"),
    )
    return lines(heads, rows)


def rates(rows: Rows) -> str:
    """Residues per second by length, for two hidden sizes."""
    table = []
    for name in WIDTHS:
        jobs = {job: row for (job, _), row in rows.items() if job.startswith(f"embed, {name}, ")}
        by_length = {
            job.rpartition(", length ")[2]: short(median(row["ours"]))
            for job, row in jobs.items()
            if ", length " in job
        }
        flop = median(rows[f"{name}: products", "MFLOP/residue"]["ours"])
        mean = median(jobs[f"embed, {name}, length {MEAN}"]["ours"])
        table.append(
            (
                name,
                short(flop) if flop else "none",
                short(flop * mean / 1e3) if flop else "",
                *(by_length.get(length, "") for length in LENGTHS),
            )
        )
    heads = (
        *("network", "MFLOP a residue", f"GFLOP/s, length {MEAN}"),
        *(f"residues/s, length {length}" for length in LENGTHS),
    )
    return lines(heads, table)


def processes(rows: Rows) -> str:
    """Two at once beside one; the log from disk beside the log from memory."""
    table = []
    for (job, unit), row in rows.items():
        if row["against"]:
            ours, theirs = median(row["ours"]), median(row["theirs"])
            table.append((job, short(ours), row["against"], short(theirs), unit))
    return lines(("", "", "against", "", "unit"), table)


def uniref(rows: Rows) -> str:
    """Core hours, GPU hours and disk for every network."""
    table = []
    for name, width in WIDTHS.items():
        rate = median(rows[f"embed, {name}, length {MEAN}", "residues/s"]["ours"])
        flop = median(rows[f"{name}: products", "MFLOP/residue"]["ours"]) * 1e6
        table.append((name, flop, RESIDUES / rate / 3600, "float32", width))
    reached = median(rows[f"embed, SSA, length {MEAN}", "residues/s"]["ours"]) * table[-1][1]
    for name, (layers, width) in TRANSFORMERS.items():
        flop = layers * (24 * width**2 + 4 * CONTEXT * width)
        table.append((name, flop, RESIDUES * flop / reached / 3600, "bfloat16", width))
    heads = (
        *("network", "MFLOP a residue", "core hours", "GPU hours", "width"),
        *("vectors, float32", "in float16", "states, float16"),
    )
    return lines(
        heads,
        [
            (
                name,
                short(flop / 1e6) if flop else "none",
                short(hours) + ("*" if name in TRANSFORMERS else ""),
                short(RESIDUES * flop / (GPU_FLOPS[kind] * REACHED[kind]) / 3600) if flop else "",
                str(width),
                f"{short(4 * width * PROTEINS / 1e9)} GB",
                f"{short(2 * width * PROTEINS / 1e9)} GB",
                f"{short(2 * width * RESIDUES / 1e12)} TB",
            )
            for name, flop, hours, kind, width in table
        ],
    )


def at_mean(scale: tuple[Scale, Scale], stage: str) -> float:
    """Seconds for one protein of UniRef50's mean length, on the line through both sets."""
    short_ones, long_ones = scale
    low, high = short_ones.slope(stage), long_ones.slope(stage)
    share = (RESIDUES / PROTEINS - short_ones.mean) / (long_ones.mean - short_ones.mean)
    return low + share * (high - low)


def around(scale: tuple[Scale, Scale], rows: Rows) -> str:
    """What is there besides the network: time, memory and disk."""
    hours = PROTEINS / 3600
    store, embed, merge = (at_mean(scale, stage) for stage in ("store", "embed", "merge"))
    # A shard reads everything, and stores, embeds and writes its part.
    reading = 2 * at_mean(scale, "embed, shard 1/2") - embed
    per_protein = RESIDUES / PROTEINS + ID_BYTES + 4 * 8
    log = rows["rows of 4 KiB from the log, from disk", "rows/s"]
    cached, cold = (hours / median(log[side]) for side in ("theirs", "ours"))
    table = [
        ("read and store, once", f"{short(store * hours)} core hours"),
        ("everything but the network, in one piece", f"{short(embed * hours)} core hours"),
        ("reading, again in each shard", f"{short(reading * hours)} core hours"),
        (f"reading, in {SHARDS[-1]} shards", f"{short(reading * hours * SHARDS[-1])} core hours"),
        ("rows of 4 KiB out of the log, from memory", f"{short(cached)} hours"),
        ("rows of 4 KiB out of the log, from disk as here", f"{short(cold)} hours"),
        ("merge, 10 features", f"{short(merge * hours)} core hours"),
        ("token store", f"{short(per_protein * PROTEINS / 1e9)} GB"),
        ("log of rows, while it runs", "as the vectors in float32"),
    ]
    return lines(("besides the network", ""), table)


def memory(scale: Scale) -> str:
    """Own memory of each stage for all of UniRef50, in so many shards."""
    rows = []
    for stage in ("store", "split", "plan", "embed", "merge"):
        each = scale.bytes_each(stage)
        base = scale.pair(stage, ": own memory", "MB")[0] * 1e6 - each * whole(scale.small)
        shards = SHARDS if stage in ("store", "plan", "embed") else (1,)
        sizes = [f"{short((base + each * PROTEINS / parts) / 1e9)} GB" for parts in shards]
        rows.append((stage, short(each), *sizes, *[""] * (len(SHARDS) - len(sizes))))
    heads = ("stage", "bytes a protein", "whole", *(f"one of {n} shards" for n in SHARDS[1:]))
    return lines(heads, rows)


def made(reports: Mapping[str, Report]) -> str:
    """Commands, machine and versions."""
    text = ""
    for report in reports.values():
        machine, versions = report["hardware"], report["versions"]
        named = ", ".join(f"{name} {version}" for name, version in versions.items())
        text += f"- `{report['command']}`, {report['date']}: {machine['processor']}, "
        text += f"{machine['cores']} cores (load {machine['load']}); {named}\n"
    return text


def fill(text: str, reports: Mapping[str, Report]) -> str:
    """The page with all its tables."""
    scale = (Scale(reports["scale"], 60), Scale(reports["scale"], 375))
    rows = costs_of(reports)
    parts = {
        "stages": stages(scale[0]),
        "longer": stages(scale[1]),
        "rates": rates(rows),
        "processes": processes(rows),
        "uniref": uniref(rows),
        "around": around(scale, rows),
        "memory": memory(scale[0]),
        "made": made(reports),
    }
    for part, content in parts.items():
        text = _placed(text, part, content)
    return text


def _placed(text: str, part: str, content: str) -> str:
    pattern = rf"(<!-- {part} -->\n).*?(<!-- /{part} -->)"
    return re.sub(pattern, lambda found: found[1] + content + found[2], text, flags=re.DOTALL)


def read() -> dict[str, Report]:
    """The measurements."""
    return {
        name: json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("scale", "costs", "embedding")
    }


if __name__ == "__main__":
    write_text(PAGE, fill(PAGE.read_text(encoding="utf-8"), read()))
