"""Reading speed: FASTA to a token store, and batches out of the store, on one core.

Ours is what `train.py` runs: the strict reader, the tokenizer with its policies, identical
sequences found, the store written to disk with its fingerprint; then batches planned by length,
with labels and weights. Beside it stand Biopython's fastest parser with a dict lookup per letter,
into a tensor or an array of each record, and a Dataset that encodes one item at a time for
`pad_sequence`.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

from _report import arguments, interleave, row_of, use_one_core, write

WRAP = 60  # letters per line
FEW = 20  # batches of the slow side that one measurement takes
BATCH = 64


def seconds_of(work: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Measure, print and write results/reading.json."""
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--records", type=int, default=20_000, help="default: %(default)s")
    options = parser.parse_args()
    use_one_core()
    import numpy as np
    import torch
    from _sets import proteome_lengths, random_protein
    from Bio.SeqIO.FastaIO import SimpleFastaParser
    from torch.nn.utils.rnn import pad_sequence
    from torch.utils.data import DataLoader, Dataset

    from protemb.sequences.alphabet import AA21
    from protemb.sequences.dataset import LabelledSet
    from protemb.sequences.partition import Split
    from protemb.sequences.reading import read_sequences
    from protemb.training.data import SequenceData

    torch.set_num_threads(1)
    codes = {letter: code for code, letter in enumerate(AA21.symbols)} | {
        written: AA21.symbols.index(read_as) for written, read_as in AA21.synonyms
    }
    rng = np.random.default_rng(0)
    lengths_N = proteome_lengths(options.records, rng)
    texts = [random_protein(int(length), rng) for length in lengths_N]
    labels = rng.integers(0, 6, len(texts)).tolist()

    class Items(Dataset):
        """One sequence and label at a time, encoded when asked for."""

        def __len__(self) -> int:
            return len(texts)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return torch.tensor([codes[letter] for letter in texts[index]]), labels[index]

    def collate(items: list[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, ...]:
        tokens, hosts = zip(*items, strict=True)
        padded_BL = pad_sequence(list(tokens), batch_first=True, padding_value=AA21.size)
        return padded_BL, torch.tensor([len(row) for row in tokens]), torch.tensor(hosts)

    def endless(loader: DataLoader) -> Iterator:
        while True:
            yield from loader

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "proteins.fasta"
        with path.open("w") as file:
            for number, text in enumerate(texts):
                lines = (text[i : i + WRAP] for i in range(0, len(text), WRAP))
                file.write(f">protein_{number} host={labels[number]}\n" + "\n".join(lines) + "\n")
        megabytes = path.stat().st_size / 1e6

        def biopython(make: Callable[[list[int]], object]) -> list:
            with path.open() as handle:
                records = SimpleFastaParser(handle)
                return [make([codes[letter] for letter in text]) for _, text in records]

        def to_array(row: list[int]) -> np.ndarray:
            return np.array(row, np.uint8)

        store, _ = read_sequences(path)
        assert all(map(np.array_equal, biopython(to_array), map(store.tokens, range(len(store)))))
        jobs = {
            "protemb": lambda: read_sequences(path),
            "SimpleFastaParser, dict, torch.tensor": lambda: biopython(torch.tensor),
            "SimpleFastaParser, dict, numpy.array": lambda: biopython(to_array),
        }
        sides = {job: lambda work=work: megabytes / seconds_of(work) for job, work in jobs.items()}
        reading = interleave(sides, options.rounds)

    data = LabelledSet.from_labels(store, [str(label) for label in labels])
    everything = np.arange(len(data))
    split = Split(everything, everything[:0], everything[:0], "all", {})
    ours = SequenceData(data, split, residues=10**9, max_records=BATCH)
    # What Lightning would attach.
    ours.trainer = SimpleNamespace(
        current_epoch=0, global_rank=0, world_size=1, accumulate_grad_batches=1
    )
    items = DataLoader(Items(), batch_size=BATCH, shuffle=True, collate_fn=collate)

    def rate(loader: DataLoader, batches: int) -> Callable[[], float]:
        stream = endless(loader)
        next(stream)
        return lambda: batches / seconds_of(lambda: [next(stream) for _ in range(batches)])

    batching = interleave(
        {
            "protemb": rate(ours.train_dataloader(), 20 * FEW),
            "Dataset + pad_sequence": rate(items, FEW),
        },
        options.rounds,
    )
    _, tensor, array = reading
    rows = [
        row_of(reading, "protemb", tensor, "FASTA to tokens", "MB/s", target=">= 10"),
        row_of(reading, "protemb", array, "FASTA to tokens", "MB/s"),
        row_of(
            batching,
            "protemb",
            "Dataset + pad_sequence",
            f"batches of {BATCH} to train on",
            "batches/s",
            target=">= 30",
        ),
    ]
    settings = {
        "file": f"{len(texts)} simulated proteins, {megabytes:.1f} MB, {WRAP} letters a line"
    }
    write("reading", rows, ["torch", "numpy", "biopython"], settings=settings)


if __name__ == "__main__":
    main()
