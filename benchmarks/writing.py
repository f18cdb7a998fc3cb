"""Writing speed: 10,000 vectors into an HDF5 file, on one core.

Ours is what `protemb embed` does at its end: rows and ids in blocks, into a file that gets its name
when it is whole. The other way, of published pipelines, makes a compressed data set for each
sequence.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from _report import arguments, interleave, row_of, use_one_core, write

if TYPE_CHECKING:
    import numpy as np

VECTORS, BLOCK = 10_000, 4096


def write_vectors(path: Path, vectors_ND: "np.ndarray") -> None:
    """As `protemb embed` does it."""
    from protemb.vectors.writers import open_writer

    ids = [f"sp|P{number:05d}|NAME_{number}" for number in range(len(vectors_ND))]
    with open_writer(path, {"layout": "table"}) as writer:
        for start in range(0, len(vectors_ND), BLOCK):
            here = slice(start, start + BLOCK)
            writer.append(ids[here], vectors_ND[here], None, None)


def main() -> None:
    """Measure, print and write results/writing.json."""
    options = arguments(__doc__, rounds=5).parse_args()
    use_one_core()
    import h5py
    import numpy as np

    from protemb.vectors.formats.rows import TableReader

    rng = np.random.default_rng(0)

    def one_by_one(path: Path, vectors_ND: np.ndarray) -> None:
        with h5py.File(path, "w") as file:
            for number, vector_D in enumerate(vectors_ND):
                file.create_dataset(f"P{number:05d}", data=vector_D, compression="gzip")

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for width in (100, 1024):
            vectors_ND = rng.standard_normal((VECTORS, width)).astype(np.float32)
            path = Path(folder) / f"{width}.h5"
            write_vectors(path, vectors_ND)
            with TableReader(path) as table:
                assert np.array_equal(table.block(0, VECTORS)[1], vectors_ND)

            def rate(
                work: Callable, path: Path = path, vectors_ND: np.ndarray = vectors_ND
            ) -> float:
                start = time.process_time()
                work(path, vectors_ND)
                return VECTORS / (time.process_time() - start)

            sides = {
                "protemb": lambda rate=rate: rate(write_vectors),
                "a gzip data set for each": lambda rate=rate: rate(one_by_one),
            }
            values = interleave(sides, options.rounds)
            job = f"write {VECTORS:,} vectors of {width:,} features"
            other = "a gzip data set for each"
            rows.append(row_of(values, "protemb", other, job, "vectors/s", target=">= 100"))
    write("writing", rows, ["numpy", "h5py"])


if __name__ == "__main__":
    main()
