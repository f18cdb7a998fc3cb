"""Embedding pass of a variant grid on FireProtDB, against the tutorial's loop.

The rate counts useful residues: those of the wild type and of the variant of each table row,
whether or not a sequence was computed for that row alone. Ours embeds each distinct sequence once;
the tutorial's loop takes ten rows at a time in the order of the table and embeds the wild types and
the variants of these rows, packed where the network is made of PyTorch's LSTMs. Both sides give the
same vectors: mean, last and variant position of one level. Processor time of one core.

SSA is the published network of Bepler and Berger at full size with random weights, over a few of
the proteins; converted models can be given beside it.
"""

import os
import tempfile
from contextlib import nullcontext
from pathlib import Path

from _report import Row, arguments, interleave, row_of, use_one_core, write

use_one_core()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from embedding import SSA, TENS, UNIT, packed, rate  # noqa: E402

from protemb.models.batches import collate  # noqa: E402
from protemb.models.encoders import Encoder  # noqa: E402
from protemb.models.loading import load_model  # noqa: E402
from protemb.models.pretrained.recurrent import PublishedRecurrent  # noqa: E402
from protemb.sequences.alphabet import AA21, Alphabet, Tokenizer  # noqa: E402
from protemb.sequences.tables import read_table  # noqa: E402
from protemb.variants.mutations import Mutation  # noqa: E402
from protemb.variants.table import VariantTable  # noqa: E402
from protemb.variants.vectors import embed_variants  # noqa: E402

TABLE = Path("fireprotdb_ddg") / "fireprot_seed_columns.csv.gz"
WORDS = ("mean", "last", "position")
SSA_BATCHES = 2
"""Batches of the loop for SSA: its speed does not depend on how many there are."""


def fireprotdb(proteins: int | None) -> VariantTable:
    """The table in its own order; only the rows of some proteins, drawn at random, if asked for."""
    found = [row.values for row in read_table(Path(os.environ["PROTEMB_DATA"]) / TABLE)]
    names = sorted({row["protein"] for row in found})
    if proteins is not None:
        names = np.random.default_rng(0).choice(names, proteins, replace=False).tolist()
    rows = [row for row in found if row["protein"] in names]
    proteins_N = np.array([row["protein"] for row in rows])
    return VariantTable(
        proteins_N=proteins_N,
        mutations=tuple(Mutation.parse(row["mutation_pdb_seq"]) for row in rows),
        wild_types={row["protein"]: row["pdb_sequence"] for row in rows},
        values_N=np.array([float(row["ddG"]) for row in rows]),
        labels_N=None,
        label_names=(),
        groups_N=proteins_N,
        covariates={},
        weights_N=np.ones(len(rows)),
    )


def residues_of(table: VariantTable, rows: np.ndarray) -> int:
    """Useful residues: of the wild type and of the variant of each row."""
    return 2 * sum(len(table.wild_type(row)) for row in rows)


def loop(
    encoder: Encoder, alphabet: Alphabet, level: str, table: VariantTable, tens: list[np.ndarray]
) -> np.ndarray:
    """The tutorial's way: [wild type | variant] of each row, ten rows at a time."""
    tokenizer, vectors = Tokenizer(alphabet), []
    for rows in tens:
        sides = []
        for text_of in (table.wild_type, table.variant):
            tokens = [tokenizer.encode(str(row), text_of(row).encode()) for row in rows]
            batch = collate([row for row in tokens if row is not None], alphabet.size)
            with torch.inference_mode():
                states_BLD = encoder(batch.tokens_BL, batch.lengths_B, (level,))[level]
            sides.append(pooled(states_BLD, batch.lengths_B.tolist(), table, rows))
        vectors.append(np.concatenate(sides, axis=1))
    return np.concatenate(vectors)


def pooled(
    states_BLD: torch.Tensor, lengths: list[int], table: VariantTable, rows: np.ndarray
) -> np.ndarray:
    """Mean, last and variant position, side by side."""
    found = []
    for states_LD, length, row in zip(states_BLD, lengths, rows, strict=True):
        (place,) = table.mutations[row].positions
        parts = (states_LD[:length].mean(0), states_LD[length - 1], states_LD[place])
        found.append(torch.cat(parts).numpy())
    return np.stack(found)


def measure(
    name: str,
    encoder: Encoder,
    alphabet: Alphabet,
    level: str,
    table: VariantTable,
    batches: int,
    rounds: int,
) -> tuple[Row, dict[str, object]]:
    """Compare the two ways; return the row and what a reader must know of it."""
    everything = np.arange(len(table))
    tens = np.split(everything, range(TENS, len(table), TENS))
    # Spread over the table, whose neighbours are alike: the loop's speed depends on lengths alone.
    chosen = np.linspace(0, len(tens) - 1, min(batches, len(tens))).astype(int)
    few = [tens[n] for n in chosen]
    rows = np.concatenate(few)
    wanted = [(level, word) for word in WORDS]
    found: dict[str, np.ndarray] = {}

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            vectors = embed_variants(encoder, alphabet, table, wanted, Path(folder))
            sides = [side(*pair) for side in (vectors.wild, vectors.variant) for pair in wanted]
            found["ours"] = np.concatenate(sides, axis=1)

    def theirs() -> None:
        with packed() if isinstance(encoder, PublishedRecurrent) else nullcontext():
            found["theirs"] = loop(encoder, alphabet, level, table, few)

    values = interleave(
        {
            "protemb": lambda: rate(ours, residues_of(table, everything)),
            "tutorial's loop": lambda: rate(theirs, residues_of(table, rows)),
        },
        rounds,
    )
    error = np.abs(found["ours"][rows] - found["theirs"]).max() / np.abs(found["theirs"]).max()
    pairs = [(table.wild_type(row), table.variant(row)) for row in everything]
    distinct = {text for pair in pairs for text in pair}
    total = residues_of(table, everything)
    facts = {
        f"{name}: rows, proteins": f"{len(table)}, {len(table.wild_types)}",
        f"{name}: rows of the loop": len(rows),
        f"{name}: residues, in distinct sequences": f"{total}, {sum(map(len, distinct))}",
        f"{name}: largest difference to the loop": f"{error:.1e}",
    }
    job = f"embed FireProtDB, {name}"
    return row_of(values, "protemb", "tutorial's loop", job, UNIT, target=">= 4"), facts


def main() -> None:
    """Measure, print and write results/variants_embedding.json."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument(
        "--model", type=Path, action="append", default=[], help="a converted model's folder"
    )
    parser.add_argument("--proteins", type=int, help="for the models (default: all)")
    parser.add_argument("--ssa", type=int, default=5, help="proteins for SSA (default: 5)")
    parser.add_argument("--batches", type=int, default=30, help="of the loop (default: 30)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    jobs: list[tuple[str, Encoder, Alphabet, str, VariantTable, int]] = []
    if options.ssa:
        network = PublishedRecurrent(**SSA).eval()
        table = fireprotdb(options.ssa)
        jobs.append(("SSA at full size", network, AA21, "projection", table, SSA_BATCHES))
    for path in options.model:
        model = load_model(path)
        table = fireprotdb(options.proteins)
        jobs.append(
            (model.name, model.encoder, model.alphabet, model.level, table, options.batches)
        )
    rows: list[Row] = []
    settings: dict[str, object] = {"threads": 1}
    for job in jobs:
        row, facts = measure(*job, options.rounds)
        rows.append(row)
        settings |= facts
    write("variants_embedding", rows, ["torch", "numpy"], settings=settings)


if __name__ == "__main__":
    main()
