"""`protemb similarity` and `protemb contacts`: what published models say beyond their vectors."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protemb import __version__
from protemb.apps.commands.arguments import (
    add_model,
    counted_progress,
    progress_bar,
    read_records,
)
from protemb.errors import ConfigError, InputError

if TYPE_CHECKING:
    import numpy as np

    from protemb.models.pretrained.contacts import ContactMap
    from protemb.models.pretrained.library import Pretrained
    from protemb.models.pretrained.similarity import Similarity
    from protemb.models.pretrained.states import ResidueStates
    from protemb.sequences.tokens import TokenStore

BLOCK = 1024
"""Pairs that are scored between two steps of the progress bar."""
METHODS = ("ssa", "ua", "me", "coarse")


def add(commands: Any) -> None:
    """Add the commands to the command line."""
    similarity = commands.add_parser("similarity", help="structural similarity of proteins")
    add_model(similarity)
    similarity.add_argument(
        "other", nargs="?", help="compare with these (default: every pair of the first file)"
    )
    similarity.add_argument("-o", "--output", help="table to write (default: standard output)")
    similarity.add_argument(
        "--pairs", metavar="TABLE", help="only these pairs: a CSV or TSV table of two id columns"
    )
    similarity.add_argument(
        "--method",
        choices=METHODS,
        help="how residues are compared (default: as trained); levels need the trained way",
    )
    similarity.add_argument("--level", help="vectors to compare (default: as trained)")
    similarity.set_defaults(run=compare_records)

    contacts = commands.add_parser("contacts", help="contact maps of proteins")
    add_model(contacts)
    contacts.add_argument("-o", "--output", required=True, help="contacts.h5: a map per record")
    contacts.set_defaults(run=write_contacts)


def open_model(options: argparse.Namespace) -> "Pretrained":
    """A converted model with its heads, or another that embeds, without."""
    from protemb.models.devices import open_device
    from protemb.models.loading import MODEL, load_model
    from protemb.models.pretrained.library import Pretrained, is_pretrained, load_pretrained

    device = open_device(options.device)
    for path in (Path(options.model) / MODEL, Path(options.model)):
        if is_pretrained(path):
            found = load_pretrained(path)
            found.encoder.eval().to(device)
            return found
    model = load_model(options.model, device)
    recipe = {"source": {"name": model.name}, "hints": {}, "level": model.level}
    return Pretrained(model.encoder, model.alphabet, {}, recipe, model.sha256)


def choose_similarity(
    options: argparse.Namespace, model: "Pretrained"
) -> tuple["Similarity", str, bool]:
    """How the model compares, at which level, and whether the score has levels."""
    from protemb.models.pretrained.similarity import Similarity, own_level

    try:
        trained = Similarity.of(model.heads, model.recipe)
    except ConfigError as error:
        if options.method is None:
            expected = f"{', '.join(METHODS)}: {error.got!r} was not trained for similarity"
            raise ConfigError("--method", None, expected) from None
        trained = None
    own = own_level(model.recipe)
    level = options.level or own
    model.encoder.check_level(level)
    if options.method == "coarse":
        return Similarity("me"), level, False
    if trained is None or (options.method or trained.method) != trained.method:
        return Similarity(options.method, "L1" if trained is None else trained.norm), level, False
    return trained, level, level == own


def compare_records(options: argparse.Namespace) -> None:
    """Write a row for each pair: ids, score, and the levels where the model has them."""
    from protemb.files import whole_file
    from protemb.models.pretrained.states import ResidueStates

    model = open_model(options)
    similarity, level, levels = choose_similarity(options, model)
    with ExitStack() as stack:
        stores = []
        for fasta in filter(None, (options.fasta, options.other)):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "records"
            own = argparse.Namespace(**{**vars(options), "fasta": fasta})
            stores.append(read_records(own, model.alphabet, folder).store)
        total, blocks = choose_pairs(options, stores)
        residues = sum(int(store.lengths_S.sum()) for store in stores)
        with counted_progress("embedding", residues, 0) as advance:
            states = [
                ResidueStates.of(
                    model.encoder,
                    store,
                    level,
                    residues=options.residues,
                    means=similarity.method == "me",
                    progress=advance,
                )
                for store in stores
            ]
        file = sys.stdout
        if options.output is not None:
            part = stack.enter_context(whole_file(options.output))
            file = stack.enter_context(open(part, "w", encoding="utf-8"))
        bar = stack.enter_context(progress_bar())
        task = bar.add_task("comparing", total=total)
        ends = (stores[0], states[0]), (stores[-1], states[-1])
        for line in score_rows(similarity, levels, *ends, blocks):
            file.write(line)
            bar.advance(task)
    if options.output is not None:
        print(f"{total} pairs: {options.output}")


def choose_pairs(
    options: argparse.Namespace, stores: "list[TokenStore]"
) -> "tuple[int, Iterator[np.ndarray]]":
    """How many pairs of records are compared, and which, in blocks."""
    first, second = stores[0], stores[-1]
    if options.pairs:
        listed_P2 = _listed(options, first, second)
        starts = range(0, len(listed_P2), BLOCK)
        return len(listed_P2), (listed_P2[start : start + BLOCK] for start in starts)
    if len(stores) == 2:
        return len(first) * len(second), _all_pairs(len(first), len(second))
    if len(first) < 2:
        raise InputError(options.fasta, "has one record, expected another to compare it with")
    blocks = _all_pairs(len(first), len(first))
    once = (pairs_P2[pairs_P2[:, 0] < pairs_P2[:, 1]] for pairs_P2 in blocks)
    return len(first) * (len(first) - 1) // 2, once


def _all_pairs(rows: int, columns: int) -> "Iterator[np.ndarray]":
    import numpy as np

    for start in range(0, rows * columns, BLOCK):
        places_P = np.arange(start, min(start + BLOCK, rows * columns))
        yield np.stack(np.divmod(places_P, columns), 1)


def _listed(options: argparse.Namespace, first: "TokenStore", second: "TokenStore") -> "np.ndarray":
    """Records of the pairs in a table, by the ids of its first two columns."""
    import numpy as np

    from protemb.sequences.tables import read_table

    sides = [(options.fasta, first.positions())]
    sides.append(sides[0] if options.other is None else (options.other, second.positions()))
    found = []
    for row, line in read_table(options.pairs):
        if len(row) < 2:
            raise InputError(options.pairs, "got one column, expected two columns of ids", 1)
        for (fasta, records), record_id in zip(sides, row.values(), strict=False):
            if record_id not in records:
                raise InputError(
                    options.pairs, f"no record of {fasta} is called so", line, record_id
                )
            found.append(records[record_id])
    return np.array(found).reshape(-1, 2)


def score_rows(
    similarity: "Similarity",
    levels: bool,
    first: "tuple[TokenStore, ResidueStates]",
    second: "tuple[TokenStore, ResidueStates]",
    blocks: "Iterator[np.ndarray]",
) -> Iterator[str]:
    """Yield the lines of the table; the second one (and so on) once its pair is scored."""
    import numpy as np
    import torch

    top = 0 if similarity.theta_K is None else len(similarity.theta_K)
    names = ["level", *(f"p{level}" for level in range(top + 1))] if levels else []
    yield "\t".join(["id_a", "id_b", "score", *names]) + "\n"
    for pairs_P2 in blocks:
        scores_P = similarity.score_pairs(first[1], second[1], pairs_P2)
        cells_PC = np.empty((len(scores_P), 0))
        if levels:
            mass_PK = similarity.levels(torch.from_numpy(scores_P)).numpy()
            cells_PC = np.column_stack([mass_PK @ np.arange(top + 1), mass_PK])
        for (one, other), score, cells_C in zip(pairs_P2, scores_P, cells_PC, strict=True):
            # A tab inside an id would shift the columns.
            ids = [name.replace("\t", " ") for name in (first[0].id(one), second[0].id(other))]
            yield "\t".join([*ids, f"{score:.8g}", *map("{:.6f}".format, cells_C)]) + "\n"


def write_contacts(options: argparse.Namespace) -> None:
    """Write the probabilities of contact, one data set per record."""
    import h5py

    from protemb.files import whole_file
    from protemb.models.devices import inference
    from protemb.models.pretrained.contacts import ContactMap
    from protemb.models.pretrained.states import sequence_states

    if Path(options.output).suffix.lower() not in (".h5", ".hdf5"):
        raise ConfigError("--output", options.output, "a name that ends in .h5 or .hdf5")
    model = open_model(options)
    # Both orders of a pair of residues get their mean: ProSE's head tells them apart.
    head = ContactMap.of(model.heads, model.recipe).symmetric().to(options.device)
    facts = {"model": model.recipe["source"]["name"], "checkpoint": model.sha256}
    facts |= {"level": head.level, "alphabet": model.alphabet.name, "protemb": __version__}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "records"
        store = read_records(options, model.alphabet, folder).store
        records = _records_by_sequence(store)
        part = stack.enter_context(whole_file(options.output))
        file = stack.enter_context(h5py.File(part, "w", libver=("v110", "v110")))
        file.attrs.update(facts)
        total = int(store.lengths_S.sum())
        advance = stack.enter_context(counted_progress("contacts", total, 0))
        states = sequence_states(model.encoder, store, head.level, residues=options.residues)
        for sequence, states_LD in states:
            with inference():
                _write_map(file, [store.id(n) for n in records[sequence]], head, states_LD)
            advance(len(states_LD))
    print(f"{len(store)} contact maps: {options.output}")


def _records_by_sequence(store: "TokenStore") -> "list[np.ndarray]":
    import numpy as np

    order_N = np.argsort(store.sequence_of_N, kind="stable")
    return np.split(order_N, np.cumsum(np.bincount(store.sequence_of_N))[:-1])


def _write_map(file: Any, ids: list[str], head: "ContactMap", states_LD: Any) -> None:
    """One sequence's map, for each of its records, a block of rows at a time."""
    import torch

    from protemb.vectors.formats.records import safe_name

    length, row = len(states_LD), 0
    data = file.create_dataset(
        safe_name(ids[0]),
        (length, length),
        "f4",
        chunks=(min(length, max(1, 2**18 // length)), length),
        compression="gzip",
        shuffle=True,
        fletcher32=True,
    )
    for logits_RL in head.blocks(states_LD):
        data[row : row + len(logits_RL)] = torch.sigmoid(logits_RL).cpu().numpy()
        row += len(logits_RL)
    for place, record_id in enumerate(ids):
        if place:
            file.copy(data, safe_name(record_id))
        file[safe_name(record_id)].attrs["original_id"] = record_id
