"""Peak memory: training with one very long protein in the set, and embedding one.

Every measurement is the peak resident memory of a process of its own. A protein of 10,000 residues
takes the place of the longest ordinary one, under the same residue budget. The one of 34,350
residues (titin's length) is embedded alone; what it takes is the difference to embedding a short
one in a process that is the same otherwise. Whole: one `nn.LSTM` call over all its residues.
"""

import resource
import subprocess
import sys
from collections.abc import Callable

from _report import arguments, interleave, row_of, use_one_core, write

SHORT, ORDINARY, LONG, TITIN = 375, 1500, 10_000, 34_350
RECORDS = 512
NETWORK = "BiLSTM(64)"


def train(longest: int) -> None:
    """One epoch over ordinary proteins, the longest of which is replaced."""
    import numpy as np
    from _networks import Training, batches
    from _sets import proteome_lengths, simulated

    from protemb.training.memory import freed_memory_kept

    rng = np.random.default_rng(0)
    lengths_N = proteome_lengths(RECORDS, rng).clip(max=ORDINARY)
    lengths_N[lengths_N.argmax()] = longest
    with freed_memory_kept():
        Training(NETWORK, batches(simulated(lengths_N, rng))).epoch(0)


def embed(length: int, whole: bool = False) -> None:
    """The mean state of one protein, as `protemb embed` computes it or in one piece."""
    import numpy as np
    import torch
    from _networks import recipe
    from _sets import simulated

    from protemb.models.checkpoint import build_classifier
    from protemb.models.loading import make_embedder
    from protemb.vectors.embed import embed_records

    torch.manual_seed(0)
    store = simulated(np.array([length]), np.random.default_rng(0)).store
    embedder = make_embedder(build_classifier(recipe(NETWORK)).embedder.encoder, "states", "mean")
    if whole:
        tokens_1L = torch.from_numpy(store.tokens(0).astype(np.int64))[None]
        with torch.inference_mode():
            states_1LH, _ = embedder.encoder.rnn(embedder.encoder.table(tokens_1L))
            vector_D = states_1LH.mean(1)[0].numpy()
    else:
        vector_D = embed_records(embedder, store, np.arange(1))[0]
    print(*vector_D)


JOBS: dict[str, Callable[..., None]] = {
    "train": train,
    "embed": embed,
    "embed whole": lambda length: embed(length, whole=True),
}


def measured(job: str, length: int) -> tuple[float, list[float]]:
    """Peak memory in MB of one job in a process of its own, and the vector that it printed."""
    words = [sys.executable, __file__, job, str(length)]
    found = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return float(found[-1]), [float(word) for word in found[:-1]]


def peak() -> float:
    """Peak resident memory of this process in MB; macOS counts bytes, Linux units of 1,024."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    """Measure, print and write results/memory.json."""
    options = arguments(__doc__, rounds=3).parse_args()
    sides = {
        f"{job}, {length}": lambda job=job, length=length: measured(job, length)[0]
        for job, length in (
            ("train", ORDINARY),
            ("train", LONG),
            ("embed", SHORT),
            ("embed", TITIN),
            ("embed whole", TITIN),
        )
    }
    values = interleave(sides, options.rounds)
    rows = [
        row_of(
            values,
            f"train, {LONG}",
            f"train, {ORDINARY}",
            f"train {NETWORK}, longest {LONG:,} against {ORDINARY:,} residues",
            "MB",
        ),
        row_of(
            values,
            f"embed, {TITIN}",
            f"embed, {SHORT}",
            f"embed one of {TITIN:,} residues, beyond one of {SHORT}",
            "MB",
            relation="difference",
            target="<= 20",
        ),
        row_of(
            values,
            f"embed whole, {TITIN}",
            f"embed, {SHORT}",
            "the same in one whole piece",
            "MB",
            relation="difference",
        ),
    ]
    pair = [measured(job, TITIN)[1] for job in ("embed", "embed whole")]
    difference = max(abs(a - b) for a, b in zip(*pair, strict=True))
    settings = {"largest difference of ours to the whole piece": f"{difference:.1e}"}
    write("memory", rows, ["torch", "numpy"], settings=settings)


if __name__ == "__main__":
    use_one_core()
    if len(sys.argv) == 3 and sys.argv[1] in JOBS:
        JOBS[sys.argv[1]](int(sys.argv[2]))
        print(peak())
    else:
        main()
