"""`protemb embed`: one vector per sequence, or one state per residue."""

import argparse
import os
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protemb import __version__
from protemb.apps.commands.arguments import (
    add_label,
    add_model,
    count,
    counted_progress,
    input_facts,
    label_rule,
    letter_counts,
    read_records,
)
from protemb.apps.commands.shards import add_sharding, check_output, shard_path, wants_shards

if TYPE_CHECKING:
    from protemb.models.loading import EmbeddingModel
    from protemb.sequences.reading import Reading, Shard
    from protemb.vectors.job import EmbedJob
    from protemb.vectors.log import RowLog

BLOCK = 4096
"""Records that are written at once."""
SAMPLE = 16
"""Sequences on which the deviation of 16 bits is measured."""

EMBED_EPILOG = """\
protemb embed models/ssa proteins.fasta.gz -o vectors.h5
protemb embed models/ssa proteins.fasta.gz -o residues.h5 --per-residue --dtype float16
protemb embed models/ssa proteins.fasta.gz -o vectors.h5 --shard 1/8     and so on, then:
protemb merge vectors.*-of-8.h5 -o vectors.h5
protemb embed models/ssa proteins.fasta.gz -o vectors/ --launcher slurm --shards 64

Stopped at any point, the same command goes on. Identical sequences are embedded once.
"""


def add(commands: Any) -> None:
    """Add the commands to the command line."""
    embed = commands.add_parser(
        "embed",
        help="one vector per sequence, or one state per residue",
        epilog=EMBED_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model(embed)
    embed.add_argument(
        "-o",
        "--output",
        required=True,
        help="vectors.h5, .parquet, .npz or .h5ad (AnnData); with --launcher also a folder/",
    )
    embed.add_argument("--level", help="table, states, ... (default: as trained or published)")
    what = embed.add_mutually_exclusive_group()
    what.add_argument("--pooling", help="mean, max, last or ends (default: as trained)")
    what.add_argument(
        "--per-residue", action="store_true", help="the states themselves, one row per residue"
    )
    embed.add_argument(
        "--layout",
        choices=["table", "uniprot"],
        default="table",
        help="of .h5 vectors: one array, or one data set per record as in UniProt's files",
    )
    embed.add_argument(
        "--dtype",
        choices=["float32", "float16"],
        default="float32",
        help="of states on disk (default: float32)",
    )
    embed.add_argument(
        "--precision",
        choices=["float32", "bfloat16", "float16"],
        default="float32",
        help="of computing; 16 bits are for GPUs, and the deviation is measured and stored",
    )
    embed.add_argument(
        "--legacy-batches",
        type=count,
        metavar="N",
        help="repeat published numbers that depend on batches of N (Bepler and Berger 2019, the "
        "authors' code since November 2020); in memory",
    )
    add_label(embed)
    add_sharding(embed)
    embed.set_defaults(run=start)


def start(options: argparse.Namespace) -> None:
    """Embed in this process, or share by share in others."""
    if wants_shards(options):
        from protemb.apps.sharding import embed_in_shards

        embed_in_shards(options, embed_sequences, output_facts)
    else:
        embed_sequences(options)


def embed_sequences(options: argparse.Namespace) -> None:
    """Embed into a log beside the output, then write the output and remove the log."""
    from protemb.models.devices import open_device
    from protemb.models.loading import load_model
    from protemb.sequences.reading import EmptyShard, Shard
    from protemb.vectors.resuming import WorkFolder, finished_with, made_with

    shard = Shard.parse(options.shard) if options.shard else None
    output = shard_path(Path(options.output), shard)
    check_output(options, output, shard)
    model = load_model(options.model, open_device(options.device))
    label = label_rule(options, options.id_delimiter)
    facts = output_facts(options, model, shard)
    if finished_with(output, facts):
        print(f"Done already: {output}")
        return
    with WorkFolder(output, facts) as folder:
        # By a process that has just let go of it, or was killed when it cleared up.
        if made_with(output, facts):
            print(f"Done already: {output}")
            return
        # Written in there and then renamed: what a kill leaves is found and removed.
        part = folder / output.name
        try:
            reading = read_records(options, model.alphabet, folder / "read", shard, label)
        except EmptyShard as empty:
            said = _write_empty(options, part, {**facts, **_counts(empty.report)}, model)
        else:
            said = _embed(options, part, facts, model, reading, folder)
        os.replace(part, output)
    print(f"{said}: {output}")


def _embed(
    options: argparse.Namespace,
    part: Path,
    facts: dict[str, Any],
    model: "EmbeddingModel",
    reading: "Reading",
    folder: Path,
) -> str:
    """Compute what is not there yet, and write it all; say what was written."""
    if options.legacy_batches:
        return _write_legacy(options, part, facts, model, reading)
    job, more = _job(options, model, reading)
    with job.open_log(folder) as log:
        if log.done:
            print(f"Continuing: {job.done(log):,} residues are there already")
        total = int(reading.store.lengths_S.sum())
        with counted_progress("embedding", total, job.done(log)) as advance:
            job.run(log, advance)
        return _write(options, part, {**facts, **more}, reading, log)


def output_facts(
    options: argparse.Namespace, model: "EmbeddingModel", shard: "Shard | None"
) -> dict[str, Any]:
    """Everything that the rows depend on; it stands in the file."""
    from protemb.apps.runs import code_key

    label = label_rule(options, options.id_delimiter)
    embedder = model.embedder(options.level, options.pooling)
    facts = {
        "level": embedder.level,
        "pooling": "none" if options.per_residue else embedder.pooling_name,
        "model": model.name,
        "checkpoint": model.sha256,
        "alphabet": model.alphabet.name,
        "precision": options.precision,
        "dtype": options.dtype,
        "layout": "per-residue" if options.per_residue else options.layout,
        "residues": options.residues,
        "legacy_batches": options.legacy_batches or 0,
        "protemb": __version__,
        "code": code_key(),
        **input_facts(options),
        "labels": str(label) if label.given else "",
    }
    return facts | ({"shard": str(shard)} if shard else {})


def _counts(report: dict[str, Any]) -> dict[str, Any]:
    """What reading counted, as facts of the file."""
    return {**letter_counts(report), "records_known": report["records_known"]}


def _write_empty(
    options: argparse.Namespace, part: Path, facts: dict[str, Any], model: "EmbeddingModel"
) -> str:
    """A share without records: `merge` wants to see that it was not forgotten."""
    import numpy as np

    from protemb.vectors.residues import ResidueWriter
    from protemb.vectors.writers import open_writer

    if options.per_residue:
        with ResidueWriter(part, facts, options.dtype):
            return "no records in this share"
    width = model.embedder(options.level, options.pooling).out_dim
    labels = np.empty(0, str) if facts["labels"] else None
    with open_writer(part, facts) as vectors:
        vectors.append([], np.empty((0, width), np.float32), labels, np.empty(0, np.int64))
    return "no records in this share"


def _job(
    options: argparse.Namespace, model: "EmbeddingModel", reading: "Reading"
) -> tuple["EmbedJob", dict[str, Any]]:
    """What is to be computed, and facts that only the input tells."""
    import numpy as np
    import torch

    from protemb.models.rounding import RoundedEncoder, deviation
    from protemb.vectors.job import EmbedJob

    store, device = reading.store, torch.device(options.device)
    embedder = model.embedder(options.level, options.pooling)
    facts = {**_counts(reading.report), "data": store.fingerprint}
    if options.precision != "float32":
        exact, embedder = embedder, deepcopy(embedder)
        embedder.encoder = RoundedEncoder(exact.encoder, options.precision)
        order_S = np.argsort(store.lengths_S, kind="stable")
        sample = order_S[np.linspace(0, 0.9 * len(order_S), SAMPLE).astype(int)]
        tokens = [torch.from_numpy(store.distinct(s).astype(np.int64)).to(device) for s in sample]
        facts["deviation"] = deviation(exact, embedder, tokens)
        share = f"{facts['deviation']:.1e} of their length"
        print(f"{options.precision}: vectors deviate by up to {share}")
    job = EmbedJob(
        embedder,
        store,
        residues=options.residues,
        per_residue=options.per_residue,
        dtype=options.dtype,
        device=device,
    )
    return job, facts


def _write_legacy(
    options: argparse.Namespace,
    part: Path,
    facts: dict[str, Any],
    model: "EmbeddingModel",
    reading: "Reading",
) -> str:
    from protemb.vectors.embed import embed_legacy
    from protemb.vectors.table import VectorTable

    store, embedder = reading.store, model.embedder(options.level, options.pooling)
    with counted_progress("embedding", int(store.lengths_N.sum()), 0) as advance:
        vectors_ND = embed_legacy(
            embedder, store, options.legacy_batches, device=options.device, progress=advance
        )
    table = VectorTable(list(store.ids()), vectors_ND, reading.labels(0, len(store)), facts)
    table.write(part, layout=options.layout)
    return f"{len(store):,} vectors of {vectors_ND.shape[1]:,} features"


def _write(
    options: argparse.Namespace,
    part: Path,
    facts: dict[str, Any],
    reading: "Reading",
    log: "RowLog",
) -> str:
    """Write the records in the order of the input; say what was written."""
    from protemb.vectors.residues import ResidueWriter
    from protemb.vectors.writers import open_writer

    store = reading.store
    if options.per_residue:
        with ResidueWriter(part, facts, options.dtype) as states:
            for record, record_id in enumerate(store.ids()):
                states.append(record_id, log.states(store.sequence_of_N[record]))
        return f"{len(store):,} records, {log.width:,} features per residue"
    with open_writer(part, facts, layout=options.layout) as vectors:
        for start in range(0, len(store), BLOCK):
            here = slice(start, min(start + BLOCK, len(store)))
            ids = [store.id(record) for record in range(here.start, here.stop)]
            places_B = reading.places_N[here] if options.shard else None
            labels_B = reading.labels(here.start, here.stop)
            vectors.append(ids, log.vectors(store.sequence_of_N[here]), labels_B, places_B)
    return f"{len(store):,} vectors of {log.width:,} features"
