"""Many sequences: where a million short ones spend their time, and how memory grows.

A million peptides of 30 residues go from FASTA to stored vectors with the table encoder, the
cheapest there is, so that everything else shows. Peak memory is that of `protemb embed` in its own
process, on few and on many proteins of 100 to 300 residues with BiLSTM(64).
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

from _report import Row, arguments, use_one_core, write

FEW, MANY = 1_000, 100_000
RESIDUES = 32_768
BLOCK = 4096


def write_fasta(path: Path, records: int, shortest: int, longest: int) -> None:
    """Random proteins, all different."""
    import numpy as np

    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8)
    lengths = rng.integers(shortest, longest + 1, records).tolist()
    with path.open("wb") as file:
        for number, length in enumerate(lengths):
            text = letters[rng.integers(20, size=length)].tobytes()
            file.write(b">protein_%d\n%s\n" % (number, text))


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


def stages(records: int) -> dict[str, float]:
    """Seconds of processor time of every stage, from a FASTA file to a file of vectors."""
    from protemb.models.loading import load_model
    from protemb.sequences.reading import read_to
    from protemb.vectors.job import EmbedJob
    from protemb.vectors.writers import open_writer

    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], object]) -> object:
        start = process_time()
        result = work()
        seconds[name] = process_time() - start
        return result

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_fasta(folder / "p.fasta", records, 30, 30)
        model = load_model(save_model(folder, "mean"))
        reading = timed(
            "read and store",
            lambda: read_to(folder / "read", str(folder / "p.fasta"), model.alphabet),
        )
        store = reading.store
        job = timed("plan", lambda: EmbedJob(model.embedder(), store, RESIDUES))
        with job.open_log(folder) as log:
            timed("batch, compute and log", lambda: job.run(log, lambda _: None))

            def out() -> None:
                with open_writer(folder / "v.h5", {}) as writer:
                    for start in range(0, len(store), BLOCK):
                        here = range(start, min(start + BLOCK, len(store)))
                        vectors_BD = log.vectors(store.sequence_of_N[here.start : here.stop])
                        writer.append([store.id(record) for record in here], vectors_BD)

            timed("write", out)
    return seconds


def peak(records: int) -> float:
    """Peak memory in MB of `protemb embed` on so many proteins."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = [sys.executable, __file__, "make", str(folder), str(records)]
        subprocess.run(made, check=True)
        words = ["embed", folder / "model", folder / "p.fasta", "-o", folder / "v.h5"]
        # Not getrusage: there a child's peak is never below what its parent held.
        code = (
            "from protemb import cli; cli.main(); "
            "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, words)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    return float(done.stdout.split()[-1]) * 1024 / 1e6


def make(folder: Path, records: int) -> None:
    """Proteins and a model for `peak`."""
    write_fasta(folder / "p.fasta", records, 100, 300)
    save_model(folder, "BiLSTM(64)")


def main() -> None:
    """Measure, print and write results/scale.json."""
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--records", type=int, default=1_000_000, help="default: %(default)s")
    options = parser.parse_args()
    rounds = [stages(options.records) for _ in range(options.rounds)]
    rows = [
        Row(f"{options.records:,} peptides: {name}", "s", [found[name] for found in rounds])
        for name in rounds[0]
    ]
    total = [sum(found.values()) for found in rounds]
    rows.append(Row(f"{options.records:,} peptides: all", "s", total))
    start = perf_counter()
    small, large = ([peak(n) for _ in range(options.rounds)] for n in (FEW, MANY))
    print(f"embedding took {perf_counter() - start:.0f} s", file=sys.stderr)
    rows.append(
        Row(
            f"peak memory of protemb embed, {MANY:,} proteins",
            "MB",
            large,
            against=f"{FEW:,} proteins",
            theirs=small,
            relation="difference",
        )
    )
    write("scale", rows, ["torch", "numpy", "h5py"])


if __name__ == "__main__":
    use_one_core()
    if sys.argv[1:2] == ["make"]:
        make(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
