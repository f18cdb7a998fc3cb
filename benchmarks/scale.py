"""Many sequences: what each stage costs, and how memory grows, from one million to ten.

Every stage is a process of its own, so that its peak is its own: `store` reads FASTA into a token
store, `split` deals the records out, `plan` makes the batches and the log of `protemb embed`; then
the command itself with the table encoder, the cheapest there is, so that everything else shows;
two shards of it, and their merge. Own memory is what only this process has (anonymous pages); the
peak adds pages of mapped files, which the system takes back when it needs them. Both are read
while the process runs. Seconds are processor time, the start of the process included.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from _report import Row, arguments, use_one_core, write

SHORT, LONG = (20, 100), (150, 600)
"""Lengths of proteins, drawn evenly: mean 60 and 375."""
CLASSES = 5
SHARDS = 2
BLOCK = 100_000
COMMAND = "from protemb import cli; cli.main()"
POLL = 0.02
"""Seconds between two looks at a process."""


@dataclass(frozen=True)
class Cost:
    """Of one process: seconds of processor time, and the most memory in MB."""

    seconds: float
    own: float
    peak: float


def measured(*words: object) -> Cost:
    """Run a command of Python and watch it; an error in it is one here."""
    child = subprocess.Popen([sys.executable, *map(str, words)], stdout=sys.stderr)
    own = peak = 0.0
    while True:
        found, status, usage = os.wait4(child.pid, os.WNOHANG)
        if found:
            break
        memory = _memory(child.pid)
        own, peak = max(own, memory["RssAnon"]), max(peak, memory["VmHWM"])
        sleep(POLL)
    if status:
        raise SystemExit(f"failed: {' '.join(map(str, words))}")
    cost = Cost(usage.ru_utime + usage.ru_stime, own, peak)
    print(f"{words[-1]}: {cost}", file=sys.stderr)
    return cost


def _memory(process: int) -> dict[str, float]:
    """Megabytes that the kernel counts; zeros of a process that has just ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        lines = []
    kilobytes = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith("kB")}
    return {name: int(kilobytes.get(name, 0)) * 1024 / 1e6 for name in ("RssAnon", "VmHWM")}


def write_fasta(path: Path, records: int, shortest: int, longest: int) -> int:
    """Random proteins, all different; return their residues."""
    import numpy as np

    rng, residues = np.random.default_rng(0), 0
    letters = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8)
    with path.open("wb") as file:
        for first in range(0, records, BLOCK):
            lengths = rng.integers(shortest, longest + 1, min(BLOCK, records - first))
            text = letters[rng.integers(20, size=int(lengths.sum()))].tobytes()
            stops = np.cumsum(lengths).tolist()
            for number, stop in enumerate(stops, start=first):
                length = int(lengths[number - first])
                file.write(b">protein_%d\n%s\n" % (number, text[stop - length : stop]))
            residues += len(text)
    return residues


def save_model(folder: Path, network: str) -> Path:
    """An untrained network in the form of a converted model."""
    import torch
    from _networks import recipe

    from protemb.models.checkpoint import build_classifier
    from protemb.models.pretrained.saving import save_pretrained
    from protemb.sequences.alphabet import AA21

    torch.manual_seed(0)
    found = recipe(network)
    encoder = build_classifier(found).embedder.encoder
    return save_pretrained(
        folder / "model",
        found["encoder"],
        encoder,
        AA21,
        level=encoder.levels[-1],
        source={"name": network},
    )


def store(folder: Path) -> None:
    """FASTA to a token store."""
    from protemb.sequences.alphabet import AA21
    from protemb.sequences.reading import read_to

    read_to(folder / "read", str(folder / "p.fasta"), AA21)


def split(folder: Path) -> None:
    """The store's records, with labels drawn at random, into three parts."""
    import numpy as np

    from protemb.sequences.dataset import LabelledSet
    from protemb.sequences.splits import UniqueSplit
    from protemb.sequences.tokens import TokenStore

    found = TokenStore.open(folder / "read" / "tokens")
    labels_N = np.random.default_rng(0).integers(0, CLASSES, len(found))
    UniqueSplit().split(LabelledSet(found, labels_N, tuple("abcde"), fingerprint="drawn"))


def plan(folder: Path) -> None:
    """Batches of the store, and an empty log for their rows."""
    from protemb.models.loading import load_model
    from protemb.sequences.tokens import TokenStore
    from protemb.vectors.embed import RESIDUES
    from protemb.vectors.job import EmbedJob

    embedder = load_model(folder / "model").embedder()
    job = EmbedJob(embedder, TokenStore.open(folder / "read" / "tokens"), RESIDUES)
    with job.open_log(folder / "log"):
        pass


def check(folder: Path) -> None:
    """The merged file has the ids of the whole one, in its order, and its vectors."""
    import numpy as np

    from protemb.vectors.formats.rows import TableReader

    with TableReader(folder / "v.h5") as whole, TableReader(folder / "m.h5") as merged:
        assert len(whole) == len(merged)
        for start in range(0, len(whole), BLOCK):
            ids, vectors_BD, _ = whole.block(start, start + BLOCK)
            others, found_BD, _ = merged.block(start, start + BLOCK)
            assert ids == others
            np.testing.assert_allclose(found_BD, vectors_BD, rtol=1e-5, atol=1e-6)


STAGES: dict[str, Callable[[Path], None]] = {
    "store": store,
    "split": split,
    "plan": plan,
    "check": check,
}


def embedded(folder: Path, name: str, *more: str) -> Cost:
    """`protemb embed` in a process of its own."""
    words = ("embed", folder / "model", folder / "p.fasta", "-o", folder / name)
    return measured("-c", COMMAND, *words, *more)


def run(records: int, lengths: tuple[int, int]) -> tuple[dict[str, Cost], dict[str, float]]:
    """Cost of every stage, and megabytes of every file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        residues = write_fasta(folder / "p.fasta", records, *lengths)
        save_model(folder, "mean")
        costs = {stage: measured(__file__, stage, folder) for stage in ("store", "split", "plan")}
        disk = {"FASTA": _size(folder / "p.fasta"), "store": _size(folder / "read")}
        costs["embed"] = embedded(folder, "v.h5")
        disk["vectors"] = _size(folder / "v.h5")
        shards = [f"{number}/{SHARDS}" for number in range(1, SHARDS + 1)]
        for shard in shards:
            costs[f"embed, shard {shard}"] = embedded(folder, "v.h5", "--shard", shard)
        parts = [folder / f"v.{shard.replace('/', '-of-')}.h5" for shard in shards]
        costs["merge"] = measured("-c", COMMAND, "merge", *parts, "-o", folder / "m.h5")
        measured(__file__, "check", folder)
        print(f"{records:,} proteins, {residues:,} residues, MB: {disk}", file=sys.stderr)
        return costs, disk


def _size(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files) / 1e6


def rows_of(small: int, large: int, lengths: tuple[int, int]) -> list[Row]:
    """Both sizes beside each other, and what one more protein costs."""
    few, few_disk = run(small, lengths)
    many, many_disk = run(large, lengths)
    mean, more = sum(lengths) // 2, large - small
    rows = []
    for stage, cost in many.items():
        job, pair = f"{stage}, {large:,} of mean length {mean}", few[stage]
        against = f"{small:,}"
        rows += [
            Row(job, "s", [cost.seconds], against, [pair.seconds]),
            Row(f"{job}: own memory", "MB", [cost.own], against, [pair.own]),
            Row(f"{job}: peak with mapped files", "MB", [cost.peak], against, [pair.peak]),
            Row(f"{job}: own memory", "bytes a protein", [(cost.own - pair.own) * 1e6 / more]),
        ]
    for name, size in many_disk.items():
        rows.append(
            Row(f"disk, {name}, mean length {mean}", "MB", [size], f"{small:,}", [few_disk[name]])
        )
    return rows


def main() -> None:
    """Measure, print and write results/scale.json."""
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--records", type=int, default=10_000_000, help="default: %(default)s")
    options = parser.parse_args()
    large = options.records
    rows = rows_of(large // 10, large, SHORT) + rows_of(large // 100, large // 10, LONG)
    write("scale", rows, ["torch", "numpy", "h5py"])


if __name__ == "__main__":
    use_one_core()
    if sys.argv[1:2] and sys.argv[1] in STAGES:
        STAGES[sys.argv[1]](Path(sys.argv[2]))
    else:
        main()
