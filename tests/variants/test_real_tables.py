"""Measured tables as they were published, against the standard library's reading of them."""

import csv
import gzip
from collections import defaultdict

import pytest

from protemb.errors import InputError
from protemb.variants.reading import TableSource

FIREPROT = "fireprotdb_ddg/fireprot_seed_columns.csv.gz"
S2648, PTMUL = "s2648_ddg/PoPMuSiC-S2648.tsv.gz", "s2648_ddg/DDGun-Ptmul.tsv.gz"


def rows_of(path, delimiter):
    """The rows as the standard library reads them."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def test_fireprot(real_data):
    table = TableSource(
        path=str(real_data / FIREPROT),
        mutation="mutation_pdb_seq",
        value="ddG",
        sequence="pdb_sequence",
        covariates=["struc"],
    ).load()
    rows = rows_of(real_data / FIREPROT, ",")
    assert len(table) == len(rows) == 3404 and len(table.wild_types) == 100
    assert table.values_N.tolist() == [float(row["ddG"]) for row in rows]
    assert list(map(str, table.mutations)) == [row["mutation_pdb_seq"] for row in rows]
    assert table.covariates["struc"].tolist() == [row["struc"] for row in rows]
    for row, written in enumerate(rows):
        place, wild = int(written["mutation_pdb_seq"][1:-1]) - 1, written["pdb_sequence"]
        variant = wild[:place] + written["mutation_pdb_seq"][-1] + wild[place + 1 :]
        assert table.wild_type(row) == wild and table.variant(row) == variant
    with_x = {row["protein"] for row in rows if "X" in row["pdb_sequence"]}
    assert table.report["sequences"]["other_letters"]["X"]["proteins"] == len(with_x) == 17


def test_several_substitutions_at_once(real_data):
    rows = rows_of(real_data / PTMUL, "\t")
    options = {
        "path": str(real_data / PTMUL),
        "protein": ["pdb", "chain"],
        "value": "ddG",
        "sequence": "wt_sequence",
    }
    table = TableSource(**options, duplicates="keep").load()
    assert len(table) == len(rows) == 914
    assert [table.variant(row) for row in range(914)] == [row["mutant_sequence"] for row in rows]
    assert min(len(mutation.positions) for mutation in table.mutations) >= 2

    # Some variants stand there twice, their substitutions in another order.
    measured = defaultdict(list)
    for row in rows:
        own = measured[row["pdb"], row["chain"], row["wt_sequence"], row["mutant_sequence"]]
        own.append(float(row["ddG"]))
    again = [values for values in measured.values() if len(values) > 1]
    merged = TableSource(**options, duplicates="mean").load()
    assert merged.report["duplicates"]["variants"] == len(again) > 0
    assert merged.values_N == pytest.approx([sum(own) / len(own) for own in measured.values()])
    with pytest.raises(InputError, match="the same variant as in"):
        TableSource(**options).load()


def pdb_source(real_data, mutation, **options):
    return TableSource(
        path=str(real_data / S2648),
        protein=["pdb", "chain"],
        mutation=mutation,
        value="ddG",
        sequence="wt_sequence",
        **options,
    )


def test_s2648(real_data):
    rows = rows_of(real_data / S2648, "\t")
    table = pdb_source(real_data, "mutation").load()
    assert len(table) == len(rows) == 2648 and len(table.wild_types) == 132
    assert [table.variant(row) for row in range(2648)] == [row["mutant_sequence"] for row in rows]
    with pytest.raises(InputError, match="the sequence differs"):  # 1LUC has two chains
        TableSource(
            path=str(real_data / S2648), protein="pdb", value="ddG", sequence="wt_sequence"
        ).load()


@pytest.mark.parametrize("max_offset", [0, 50, 810])
def test_pdb_numbers_are_put_right_where_one_offset_can(real_data, max_offset):
    """Against the numbers in the sequence, which the file has too, and a plain loop."""
    rows = rows_of(real_data / S2648, "\t")
    proteins = defaultdict(list)
    for row in rows:
        row["number"] = row["mutation_pdb"][1:-1]
        proteins[row["pdb"] + "_" + row["chain"]].append(row)
    expected, ambiguous, one_for_all = {}, {}, set()
    for protein, own in proteins.items():
        plain = [row for row in own if row["number"].lstrip("-").isdigit()]
        counts = dict.fromkeys(range(-max_offset, max_offset + 1), 0)
        for row in plain:
            for number, letter in enumerate(row["wt_sequence"], start=1):
                offset = number - int(row["number"])
                if letter == row["mutation_pdb"][0] and offset in counts:
                    counts[offset] += 1
        most = max(counts.values())
        best = [offset for offset, count in counts.items() if count == most]
        chosen = 0 if 0 in best else min(best, key=lambda offset: (abs(offset), offset))
        if len(best) > 1 and 0 not in best:
            ambiguous[protein] = best
        elif chosen:
            expected[protein] = chosen
        true = {int(row["mutation"][1:-1]) - int(row["number"]) for row in plain}
        if plain == own and best == list(true):
            one_for_all.add(protein)

    source = pdb_source(
        real_data, "mutation_pdb", max_offset=max_offset, unfitted="drop", ambiguous="drop"
    )
    table = source.load()
    offsets = table.report["offsets"]
    assert offsets["ambiguous"] == ambiguous
    assert {name: n for name, n in offsets["chosen"].items() if name not in ambiguous} == expected
    lost = sum(facts["rows"] for facts in table.report["dropped"].values())
    assert len(table) + lost == 2648 and lost == len(offsets["listed"])
    assert sum("insertion letter" in line for line in offsets["listed"]) == 4

    # Where one offset is the file's own for every row, and no other does as well: agreement.
    # Elsewhere a row that fits by chance can be elsewhere than the file says.
    in_sequence = {
        (name, row["mutation_pdb"]): row["mutation"] for name in proteins for row in proteins[name]
    }
    agree, differ = defaultdict(int), defaultdict(int)
    for protein, mutation in zip(table.proteins_N.tolist(), table.mutations, strict=True):
        written = str(mutation.shifted(-expected.get(protein, 0)))
        same = in_sequence[protein, written] == str(mutation)
        (agree if same else differ)[protein] += 1
    assert one_for_all and not one_for_all & set(differ)
    assert all(agree[protein] == len(proteins[protein]) for protein in one_for_all)
    assert sum(agree.values()) > 10 * sum(differ.values())
