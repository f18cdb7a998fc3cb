"""`protemb embed`: one vector per sequence, or one state per residue."""

import argparse
from typing import Any

from protemb import __version__
from protemb.apps.commands.arguments import add_model, open_device, progress_bar, read_records


def add(commands: Any) -> None:
    """Add the commands to the command line."""
    embed = commands.add_parser("embed", help="one vector per sequence")
    add_model(embed)
    embed.add_argument(
        "-o", "--output", required=True, help="vectors.h5, vectors.parquet or vectors.npz"
    )
    embed.add_argument("--level", help="table, states, ... (default: as trained or published)")
    embed.add_argument("--pooling", help="mean, max, last or ends (default: as trained)")
    embed.set_defaults(run=embed_sequences)


def embed_sequences(options: argparse.Namespace) -> None:
    """Write a vector table."""
    import numpy as np

    from protemb.models.loading import load_model
    from protemb.vectors.embed import embed_records
    from protemb.vectors.table import VectorTable, table_format

    table_format(options.output)  # a wrong suffix is refused before the work, not after
    model = load_model(options.model, open_device(options.device))
    embedder, store = (
        model.embedder(options.level, options.pooling),
        read_records(options, model.alphabet),
    )
    with progress_bar() as progress:
        task = progress.add_task("embedding", total=int(store.lengths_S.sum()))
        vectors_ND = embed_records(
            embedder,
            store,
            np.arange(len(store)),
            residues=options.residues,
            device=options.device,
            progress=lambda residues: progress.advance(task, residues),
        )
    attributes = {
        "level": embedder.level,
        "pooling": embedder.pooling_name,
        "model": model.name,
        "checkpoint": model.sha256,
        "alphabet": store.alphabet.name,
        "data": store.fingerprint,
        "protemb": __version__,
    }
    VectorTable(list(store.ids()), vectors_ND, None, attributes).write(options.output)
    print(f"{len(vectors_ND)} vectors of {vectors_ND.shape[1]} features: {options.output}")
