import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protemb.errors import ConfigError, UnknownResidue
from protemb.sequences.alphabet import AA21, Alphabet, LetterPolicy, Tokenizer, as_policy

SYNONYMS = {"O": "K", "U": "C", "B": "X", "Z": "X"}
LETTERS = AA21.symbols + "".join(SYNONYMS)


def slow_tokens(text: str) -> list[int]:
    """The meaning of aa21, one letter at a time."""
    return [AA21.symbols.index(SYNONYMS.get(letter, letter)) for letter in text.upper()]


def test_order_is_bepler_and_bergers():
    # Their alphabets.py: chars = b'ARNDCQEGHILKMFPSTWYVXOUBZ', encoding 11, 4, 20, 20 for the last.
    order = "ARNDCQEGHILKMFPSTWYVXOUBZ"
    expected = [*range(21), 11, 4, 20, 20]
    assert Tokenizer().encode("P", order.encode()).tolist() == expected


def test_table_knows_the_letters_and_no_other_byte():
    table = AA21.table()
    for byte in range(256):
        letter = chr(byte)
        expected = slow_tokens(letter)[0] if letter in LETTERS else 255
        assert table[byte] == expected


@settings(deadline=None)  # shared machines are slow at times
@given(st.text(st.sampled_from(LETTERS + LETTERS.lower()), min_size=1, max_size=80), st.booleans())
def test_encode_equals_a_lookup_per_letter(text, stop):
    tokenizer = Tokenizer()
    tokens = tokenizer.encode("P", (text + "*" * stop).encode())
    assert tokens.dtype == np.uint8 and tokens.tolist() == slow_tokens(text)
    assert AA21.decode(tokens) == "".join(SYNONYMS.get(c, c) for c in text.upper())
    assert tokenizer.counts["terminal_stops"] == stop
    assert tokenizer.counts["lower_case_records"] == (text != text.upper())
    assert tokenizer.counts["synonym_residues"] == sum(c in SYNONYMS for c in text.upper())


@pytest.mark.parametrize("unknown", ["error", "x", "drop"])
@pytest.mark.parametrize("junk", ["1", " ", "-", ".", ">", "\0", "\t", "Ä", "?"])
def test_what_is_no_residue_is_an_error_under_every_policy(unknown, junk):
    tokenizer = Tokenizer(policy=LetterPolicy(unknown=unknown))
    with pytest.raises(UnknownResidue) as caught:
        tokenizer.encode("P1", f"mK{junk}V".encode())
    assert (caught.value.record, caught.value.position) == ("P1", 3)
    assert caught.value.symbol.encode("latin-1") == junk.encode()[:1]


@pytest.mark.parametrize("letter", ["J", "j", "*"])
def test_unknown_residues_by_policy(letter):
    text = f"MK{letter}V{letter}A".encode()
    with pytest.raises(UnknownResidue, match=r"'P1': residue 3 is "):
        Tokenizer().encode("P1", text)

    dropping = Tokenizer(policy=LetterPolicy(unknown="drop"))
    assert dropping.encode("P1", text) is None
    assert dropping.encode("P2", b"MKV") is not None
    assert +dropping.counts == {"dropped_unknown": 1}

    reading = Tokenizer(policy=LetterPolicy(unknown="x"))
    assert reading.encode("P1", text).tolist() == slow_tokens("MKXVXA")
    assert reading.counts["unknown_residues"] == 2 and not reading.counts["synonym_residues"]


def test_strict_policies_refuse_what_the_default_accepts():
    with pytest.raises(UnknownResidue, match="residue 2 is 'k'"):
        Tokenizer(policy=LetterPolicy(lower="error", unknown="x")).encode("P1", b"MkV")
    with pytest.raises(UnknownResidue, match=r"residue 4 is '\*'"):
        Tokenizer(policy=LetterPolicy(stop="error", unknown="x")).encode("P1", b"MKV*")


def test_only_one_terminal_stop_is_stripped():
    with pytest.raises(UnknownResidue, match=r"residue 4 is '\*'"):
        Tokenizer().encode("P1", b"MKV**")


def test_an_alphabet_without_x_cannot_read_unknown_as_x():
    with pytest.raises(ConfigError, match="letters.unknown"):
        Tokenizer(Alphabet("aa20", AA21.symbols[:20]), LetterPolicy(unknown="x"))


def test_fingerprint_follows_the_meaning_not_the_name():
    assert Alphabet("other", AA21.symbols, AA21.synonyms[::-1]).fingerprint == AA21.fingerprint
    assert Alphabet("aa21", AA21.symbols).fingerprint != AA21.fingerprint
    assert Alphabet("aa21", AA21.symbols[::-1], AA21.synonyms).fingerprint != AA21.fingerprint


def test_a_policy_may_be_a_mapping_and_words_are_checked():
    assert as_policy({"unknown": "x"}) == LetterPolicy(unknown="x")
    assert as_policy(None) == LetterPolicy()
    with pytest.raises(ConfigError, match="letters.lower: got 'keep', expected upper or error"):
        as_policy({"lower": "keep"})
    with pytest.raises(ConfigError, match="options among unknown, lower, stop"):
        as_policy({"unknwon": "x"})
