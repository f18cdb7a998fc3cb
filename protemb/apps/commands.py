"""The commands behind `protemb`: thin wrappers that read, call one function, and print."""

import json
import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from protemb import __version__
from protemb.errors import CheckpointError, ConfigError, InputError
from protemb.files import write_text
from protemb.sequences.alphabet import ALPHABETS, Alphabet, LetterPolicy
from protemb.sequences.labels import Rule
from protemb.sequences.source import read_sequences
from protemb.sequences.tokens import TokenStore


def predict(options: Namespace) -> None:
    """Write one row per record: id, predicted label, probabilities (largest first with --top)."""
    from protemb.vectors.embed import predict_records

    model, store = _load(options)
    probabilities_NC = predict_records(
        model.model,
        store,
        np.arange(len(store)),
        residues=options.residues,
        device=options.device,
    )
    names = model.label_names
    lines = []
    if options.format == "table":
        lines.append("\t".join(["id", "predicted", "probability", *map("p({})".format, names)]))
    for record_id, row_C in zip(store.ids(), probabilities_NC, strict=True):
        ranked = sorted(range(len(names)), key=lambda c: -row_C[c])[: options.top]
        best = ranked[0]
        if options.format == "jsonl":
            found = {names[c]: round(float(row_C[c]), 6) for c in ranked}
            payload = {"id": record_id, "predicted": names[best], "probabilities": found}
            lines.append(json.dumps(payload, ensure_ascii=False))
        else:
            shown = [f"{p:.6f}" if c in ranked else "" for c, p in enumerate(row_C)]
            # A tab inside an id would shift the columns.
            cells = [record_id.replace("\t", " "), names[best], f"{row_C[best]:.6f}", *shown]
            lines.append("\t".join(cells))
    text = "\n".join(lines) + "\n"
    if options.output is None:
        sys.stdout.write(text)
    else:
        write_text(options.output, text)


def embed(options: Namespace) -> None:
    """Write a vector table."""
    from protemb.models.pretrained.library import is_pretrained, load_pretrained
    from protemb.vectors.embed import choose_embedder, embed_records, make_embedder
    from protemb.vectors.table import VectorTable, table_format

    table_format(options.output)  # a wrong suffix is refused before the work, not after
    if is_pretrained(options.checkpoint):
        found = load_pretrained(options.checkpoint)
        store, label = _read(options, found.alphabet), found.recipe["source"]["name"]
        level, pooling = options.level or found.recipe["level"], options.pooling or "mean"
        embedder, sha256 = make_embedder(found.encoder, level, pooling), found.sha256
        embedder.to(_device(options))
    else:
        model, store = _load(options)
        embedder = choose_embedder(model.model, options.level, options.pooling)
        label, sha256 = model.recipe["label"], model.sha256
    with _progress() as progress:
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
        "model": label,
        "checkpoint": sha256,
        "alphabet": store.alphabet.name,
        "data": store.fingerprint,
        "protemb": __version__,
    }
    VectorTable(list(store.ids()), vectors_ND, None, attributes).write(options.output)
    print(f"{len(vectors_ND)} vectors of {vectors_ND.shape[1]} features: {options.output}")


def _load(options: Namespace) -> tuple[Any, TokenStore]:
    """The trained classifier and the records to run it over."""
    from protemb.models.checkpoint import load_classifier

    model = load_classifier(options.checkpoint, _device(options))
    alphabet = ALPHABETS.get(model.recipe["alphabet"])
    if alphabet is None or alphabet.fingerprint != model.recipe["alphabet_fingerprint"]:
        raise CheckpointError(
            str(options.checkpoint), f"its alphabet {model.recipe['alphabet']!r} is not known here"
        )
    return model, _read(options, alphabet)


def _device(options: Namespace) -> Any:
    """The device that was asked for, if it is there."""
    import torch

    try:
        device = torch.device(options.device)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ConfigError("--device", options.device, "a device of this machine") from error
    return device


def _read(options: Namespace, alphabet: Alphabet) -> TokenStore:
    """The records to run a model over; what was done to letters is said."""
    rule = Rule(field=options.id_field, delimiter=options.id_delimiter)
    policy = LetterPolicy(unknown=options.unknown)
    store, report = read_sequences(options.fasta, alphabet, policy, rule)
    for name, count in {**report, **report["letters"]}.items():
        if name not in ("records_read", "records_kept", "letters") and count:
            print(f"{name.replace('_', ' ')}: {count}", file=sys.stderr)
    return store


def convert(options: Namespace) -> None:
    """Make a published model's folder from its original file."""
    from protemb.models.pretrained import library

    folder = library.convert(options.file, options.output)
    levels = ", ".join(library.load_pretrained(folder).encoder.levels)
    print(f"{folder}: levels {levels}")
    print(library.NOTICE)


def inspect(options: Namespace) -> None:
    """Print what a checkpoint, a run folder or a vector table holds."""
    from protemb.apps.runs import read_result
    from protemb.models.checkpoint import load_classifier
    from protemb.vectors.table import VectorTable

    path = Path(options.file)
    record = read_result(path)
    if record is not None:
        _print_facts({name: record.get(name) for name in ("status", "label", "best_epoch")})
        _print_facts({"error": record.get("error"), "seconds": record["seconds"]})
        for metric, interval in record.get("scores", {}).get(record.get("label"), {}).items():
            ends = (interval["low"], interval["high"])
            shown = "" if None in ends else " [{:.3f}, {:.3f}]".format(*ends)
            value = interval["value"]
            _print_facts({metric: "undefined" if value is None else f"{value:.3f}{shown}"})
    elif path.is_dir():
        raise InputError(str(path), "no result.json inside: not a run folder")
    elif path.suffix in (".h5", ".hdf5", ".parquet", ".npz"):
        table = VectorTable.read(path)
        _print_facts({"records": len(table), "features": table.vectors_ND.shape[1]})
        _print_facts(dict(table.attributes))
        if table.labels is not None:
            names, counts = np.unique(table.labels, return_counts=True)
            _print_facts(dict(zip(map(str, names), counts.tolist(), strict=True)))
    else:
        model = load_classifier(path)
        parameters = sum(p.numel() for p in model.model.parameters())
        _print_facts({"sha256": model.sha256, "parameters": parameters})
        _print_facts(dict(model.recipe))


def _print_facts(facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        if value is not None:
            print(f"{name}: {value}")


def audit(options: Namespace) -> None:
    """Print the audit of labelled data."""
    from protemb.sequences.audit import audit as audit_data
    from protemb.sequences.audit import audit_lines
    from protemb.sequences.dataset import report_lines
    from protemb.sequences.source import FileSource

    label = Rule(
        field=options.label_field,
        delimiter=options.delimiter,
        key=options.label_key,
        regex=options.label_regex,
        column=options.label_column,
    )
    data = FileSource(
        options.file,
        label=label,
        metadata=options.metadata,
        metadata_key=options.metadata_key,
        record_key=Rule(field=options.record_key_field, delimiter=options.delimiter),
        fields=dict(_field(options.delimiter, text) for text in options.field),
        letters=LetterPolicy(unknown=options.unknown),
        missing_label=options.missing_label,
        min_class_size=options.min_class_size,
    ).load()
    facts = audit_data(data)
    if options.json:
        print(json.dumps({"reading": data.report, **facts}, indent=2))
    else:
        print("\n".join([*report_lines(data.report), *audit_lines(facts)]))


def _field(delimiter: str, text: str) -> tuple[str, Rule]:
    """Read `subtype=3` (header field) or `region=region` (column)."""
    name, equals, where = text.partition("=")
    if not (name and equals and where):
        raise ConfigError("--field", text, "NAME=WHERE, such as subtype=3 or region=region")
    if where.isdigit():
        return name, Rule(field=int(where), delimiter=delimiter)
    return name, Rule(column=where)


def fetch(options: Namespace) -> None:
    """Get a data set; what is there already is not fetched again."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn

    from protemb.sequences.demo import write_demo_fasta
    from protemb.sequences.influenza import build_influenza_ha

    root = Path(os.environ.get("PROTEMB_HOME", "."))  # as in conf/paths
    folder = Path(options.output) if options.output else root / "data" / options.name
    if options.name == "demo":
        path = folder / "demo.fasta"
        write_demo_fasta(path)
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        with _progress(*columns) as progress:
            tasks: dict[str, Any] = {}

            def show(name: str, done: int, total: int) -> None:
                if name not in tasks:
                    tasks[name] = progress.add_task(name, total=total)
                progress.update(tasks[name], completed=done)

            path = build_influenza_ha(folder, base_url=options.base_url, progress=show)
    print(path)


def _progress(*columns: Any) -> Any:
    """A bar on a terminal's stderr, and nothing in a pipe or file."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def summarize(options: Namespace) -> None:
    """Print and write the summary of a sweep's folder."""
    from protemb.apps.sweep import summarise

    folder = Path(options.folder)
    if not folder.is_dir():
        raise InputError(str(folder), "no such folder")
    summarise(folder)


def report(options: Namespace) -> None:
    """Write a sweep's report and print its verdict."""
    from protemb.apps.report.write import make_report, print_report

    folders = [Path(folder) for folder in options.folder]
    page, said = make_report(
        folders, margin=options.margin, replicates=options.replicates, jobs=options.jobs
    )
    print_report(page, said)
