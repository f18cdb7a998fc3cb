"""The place of a record in its file is the same whether the file is read whole or in shares."""

from hypothesis import given, settings
from hypothesis import strategies as st

from protemb.sequences.alphabet import AA21, LetterPolicy
from protemb.sequences.reading import EmptyShard, Shard, read_to

# J is no letter of the alphabet: such a record is left out and has no place.
sequences = st.lists(st.text("MKVJ", min_size=1, max_size=3), min_size=1, max_size=20)


@given(sequences, st.integers(1, 3), st.booleans())
@settings(max_examples=30, deadline=None)
def test_places_are_those_of_a_loop(tmp_path_factory, texts, shares, repeats):
    folder = tmp_path_factory.mktemp("places")
    records = [(f"record {number}", text) for number, text in enumerate(["MK", *texts])]
    if repeats:
        records += records[:2]
    fasta = folder / "p.fasta"
    fasta.write_text("".join(f">{name}\n{text}\n" for name, text in records))
    known = [(name, text) for name, text in records if "J" not in text]
    expected = {}
    for place, (name, _) in enumerate(known):
        expected.setdefault(name, place)

    policy = LetterPolicy(unknown="drop")
    for number in range(shares + 1):
        shard = Shard(number, shares) if number else None  # 0: the whole
        try:
            reading = read_to(folder / str(number), str(fasta), AA21, policy, None, shard)
        except EmptyShard:
            continue
        found = dict(zip(reading.store.ids(), reading.places_N.tolist(), strict=True))
        if shard is None:
            assert found == expected
        assert found.items() <= expected.items()
        assert list(found.values()) == sorted(found.values())
        assert reading.report["records_known"] == len(known)
