"""Shards made by hand: merged they are the input, and what does not fit together is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protemb.errors import InputError
from protemb.vectors.formats.rows import TableReader, VectorWriter
from protemb.vectors.merging import merge
from protemb.vectors.residues import ResidueTable, ResidueWriter


def write_shards(folder, dealt, known):
    """Shards of (place, id) pairs; a vector is its place."""
    paths = []
    for number, records in enumerate(dealt, start=1):
        facts = {"shard": f"{number}/{len(dealt)}", "layout": "table", "records_known": known}
        facts["repeated_records"] = 0
        paths.append(folder / f"{number}.h5")
        places = np.array([place for place, _ in records], np.int64)
        with VectorWriter(paths[-1], facts) as writer:
            ids = [record_id for _, record_id in records]
            writer.append(ids, np.repeat(places[:, None], 3, axis=1), None, places)
    return paths


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30), st.permutations(range(3)))
@settings(max_examples=25, deadline=None)
def test_merged_shards_are_the_input(tmp_path_factory, shard_of, order):
    folder = tmp_path_factory.mktemp("shards")
    names = [f"record {place % 7}/{place}" for place in range(len(shard_of))]
    dealt = [
        [(place, names[place]) for place, owner in enumerate(shard_of) if owner == shard]
        for shard in range(3)
    ]
    paths = write_shards(folder, dealt, len(shard_of))
    assert merge([paths[n] for n in order], folder / "all.h5") == len(shard_of)
    with TableReader(folder / "all.h5") as merged:
        ids, vectors_ND, _ = merged.block(0, len(shard_of))
        assert merged.ids(0, len(shard_of)) == ids == names
    assert vectors_ND[:, 0].tolist() == list(range(len(shard_of)))


@pytest.mark.parametrize("layout", ["table", "uniprot"])
def test_an_id_of_two_shards_is_refused(tmp_path, layout):
    shards = write_shards(tmp_path, [[(0, "a"), (2, "c")], [(1, "b"), (3, "a")]], 4)
    with pytest.raises(InputError, match="record 'a': comes twice with different sequences"):
        merge(shards, tmp_path / "all.h5", layout)
    assert sorted(tmp_path.iterdir()) == shards


@pytest.mark.parametrize(
    ("dealt", "known", "problem"),
    [
        ([[(0, "a"), (1, "b")], [(1, "c")]], 3, "two shards have the same record"),
        ([[(0, "a")], [(3, "b")]], 2, "a shard has places outside the input's 2"),
        ([[(-1, "a")], [(0, "b")]], 2, "a shard has places outside the input's 2"),
        ([[(0, "a")], [(2, "b")]], 3, "the shards have 2 records, the input 3"),
        ([[(1, "a"), (0, "b")], [(2, "c")]], 3, "its records have no places in the input"),
    ],
)
def test_records_that_are_missing_or_there_twice(tmp_path, dealt, known, problem):
    shards = write_shards(tmp_path, dealt, known)
    with pytest.raises(InputError, match=problem):
        merge(shards, tmp_path / "all.h5")
    assert sorted(tmp_path.iterdir()) == shards


@pytest.mark.parametrize("again", ["b", "c"])
def test_states_of_an_id_of_two_shards_are_refused(tmp_path, again):
    shards = []
    for number, ids in ((1, "ab"), (2, again)):
        facts = {"shard": f"{number}/2", "layout": "per-residue", "records_known": 3}
        facts["dtype"] = "float32"
        shards.append(tmp_path / f"{number}.h5")
        with ResidueWriter(shards[-1], facts, "float32") as writer:
            for record_id in ids:
                writer.append(record_id, np.full((2, 3), ord(record_id), np.float32))
    if again == "b":
        with pytest.raises(InputError, match="record 'b': comes twice with different sequences"):
            merge(shards, tmp_path / "all.h5")
        assert sorted(tmp_path.iterdir()) == shards
    else:
        assert merge(shards, tmp_path / "all.h5") == 3
        with ResidueTable.open(tmp_path / "all.h5") as table:
            assert {name: int(states[0, 0]) for name, states in table.items()} == {
                name: ord(name) for name in "abc"
            }
