"""Equal texts are found as a dictionary finds them, in little memory."""

import tracemalloc
from contextlib import closing

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from protemb.sequences import repeats
from protemb.sequences.repeats import Digests, repeated

texts = st.lists(st.text("ab", max_size=4), max_size=60)


class Alike(str):
    """Texts whose hashes are all the same, and which are equal only where they read the same."""

    def __hash__(self):
        return 7

    __eq__ = str.__eq__


@given(texts, st.integers(1, 9))
def test_first_equal_agrees_with_a_dictionary(tmp_path_factory, given_texts, chunk):
    first: dict[str, int] = {}
    expected = [first.setdefault(text, number) for number, text in enumerate(given_texts)]
    before, repeats.CHUNK = repeats.CHUNK, chunk
    try:
        with closing(Digests(tmp_path_factory.getbasetemp())) as digests:
            for text in given_texts:
                digests.append(text.encode())
            assert digests.first_equal().tolist() == expected
            assert digests.first_equal().tolist() == expected  # it can be asked again
    finally:
        repeats.CHUNK = before


def test_every_bucket_is_looked_at(tmp_path):
    count = 40 * repeats.PASSES
    with closing(Digests(tmp_path)) as digests:
        for number in [*range(count), *reversed(range(count))]:
            digests.append(str(number).encode())
        found = digests.first_equal()
    assert found.tolist() == [*range(count), *reversed(range(count))]
    assert list(tmp_path.iterdir()) == []


def test_a_million_digests_are_sorted_in_little_more_than_their_numbers(tmp_path):
    with closing(Digests(tmp_path)) as digests:
        drawn = np.random.default_rng(0).integers(0, 2**62, (1_000_000, 2))
        digests._file.write(drawn.tobytes())
        tracemalloc.start()
        try:
            digests.first_equal()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak / len(drawn) < 8 + 8


@given(texts, st.booleans())
def test_repeated_agrees_with_a_count(given_texts, alike):
    kind = Alike if alike else str
    again = repeated(lambda: map(kind, given_texts))
    twice = {text for text in given_texts if given_texts.count(text) > 1}
    assert (str(again) in twice) if twice else (again is None)


def test_texts_are_looked_at_twice_only_where_hashes_are_equal():
    looked = []

    def some(*names):
        looked.append(names)
        return iter(names)

    assert repeated(lambda: some("a", "b", "c")) is None and len(looked) == 1
    assert repeated(lambda: some("a", "b", "a")) == "a" and len(looked) == 3
