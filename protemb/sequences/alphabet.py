"""Letters to tokens: the alphabet, the policy for letters it does not have, the tokenizer."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np

from protemb.errors import ConfigError, UnknownResidue

NOT_A_LETTER = 255
# What the policy for unknown residues may act on; digits, gaps and spaces are never residues.
UNKNOWN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ*"


@dataclass(frozen=True)
class Alphabet:
    """The letters of a model; a letter's token is its index in `symbols`.

    Args:
        name: How people call it.
        symbols: One character per token, upper case.
        synonyms: (written, read as) pairs: further letters that are read as one of `symbols`.

    >>> AA21.size
    21
    >>> AA21.decode(np.array([12, 13, 20], np.uint8))
    'MFX'
    """

    name: str
    symbols: str
    synonyms: tuple[tuple[str, str], ...] = ()

    @property
    def size(self) -> int:
        """Number of tokens."""
        return len(self.symbols)

    @property
    def fingerprint(self) -> str:
        """Changes whenever a text could get other tokens."""
        text = repr((self.symbols, sorted(self.synonyms)))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def table(self) -> np.ndarray:
        """Token of every byte (256 x uint8, upper case only); 255 means not a letter."""
        codes = np.full(256, NOT_A_LETTER, np.uint8)
        for written, read_as in (*zip(self.symbols, self.symbols, strict=True), *self.synonyms):
            codes[ord(written)] = self.symbols.index(read_as)
        return codes

    def decode(self, tokens_L: np.ndarray) -> str:
        """Turn tokens back into text (synonyms come back as what they were read as)."""
        letters = np.frombuffer(self.symbols.encode("ascii"), np.uint8)
        return letters[tokens_L].tobytes().decode("ascii")


# Order and synonyms of Bepler and Berger (2019), so that their published weights load.
AA21 = Alphabet("aa21", "ARNDCQEGHILKMFPSTWYVX", (("O", "K"), ("U", "C"), ("B", "X"), ("Z", "X")))

# Order of UniRep's own tokens, which begin with 1 (Alley et al. 2019): a token here is one less.
UNIREP = Alphabet("unirep", "MRHKDESTNQCUGPAVIFYWLOX", (("B", "X"), ("Z", "X"), ("J", "X")))

# Order of ESM's own tokens (Rives et al. 2021); every letter that it was trained on is its own.
ESM = Alphabet("esm", "LAGVSERTIDPKQNFYMHWCXBUZO")

# Order of ProtT5's own tokens; its authors read rare letters as X (Elnaggar et al. 2022).
PROTT5 = Alphabet(
    "prott5", "ALGVSREDTIPKFQNYMHWCX", (("U", "X"), ("Z", "X"), ("O", "X"), ("B", "X"))
)

ALPHABETS = {alphabet.name: alphabet for alphabet in (AA21, UNIREP, ESM, PROTT5)}


@dataclass(frozen=True)
class LetterPolicy:
    """What is done with characters that are not plain letters of the alphabet.

    Args:
        unknown: A letter outside the alphabet (such as J) or a '*' inside: an "error", read as
            "x", or "drop" the record. Digits, gaps, spaces and the like are no letters: always
            an error.
        lower: Lower case is read as "upper" case, or an "error".
        stop: One '*' at the end is "strip"ped, or an "error".
    """

    unknown: Literal["error", "x", "drop"] = "error"
    lower: Literal["upper", "error"] = "upper"
    stop: Literal["strip", "error"] = "strip"

    def __post_init__(self) -> None:
        for option, words in (
            ("unknown", ("error", "x", "drop")),
            ("lower", ("upper", "error")),
            ("stop", ("strip", "error")),
        ):
            if getattr(self, option) not in words:
                raise ConfigError(f"letters.{option}", getattr(self, option), " or ".join(words))


def as_policy(value: LetterPolicy | Mapping[str, str] | None) -> LetterPolicy:
    """Read a policy as people write it in a config: a policy, a mapping of options, or nothing."""
    if isinstance(value, LetterPolicy):
        return value
    options, known = dict(value or {}), [option.name for option in fields(LetterPolicy)]
    if not set(options) <= set(known):
        raise ConfigError("letters", options, f"options among {', '.join(known)}")
    return LetterPolicy(**options)  # type: ignore[arg-type]


class Tokenizer:
    """Turns sequences into tokens under a letter policy, and counts what it did.

    Args:
        alphabet: The letters.
        policy: What to do with everything else.

    `counts` speaks of kept records (lower_case_records, terminal_stops, synonym_residues,
    unknown_residues = read as X) and of records left out (dropped_unknown).

    >>> tokenizer = Tokenizer(AA21)
    >>> tokenizer.encode("P1", b"Mkv*").tolist(), dict(+tokenizer.counts)
    ([12, 11, 19], {'terminal_stops': 1, 'lower_case_records': 1})
    """

    def __init__(self, alphabet: Alphabet = AA21, policy: LetterPolicy | None = None) -> None:
        self.alphabet, self.policy = alphabet, policy or LetterPolicy()
        if self.policy.unknown == "x" and "X" not in alphabet.symbols:
            raise ConfigError("letters.unknown", "x", f"another policy: {alphabet.name} has no X")
        self.counts: Counter[str] = Counter()
        self._codes = alphabet.table().tobytes()
        self._plain = replace(alphabet, synonyms=()).table().tobytes()
        self._symbols = alphabet.symbols.encode("ascii")
        self._synonyms = "".join(written for written, _ in alphabet.synonyms).encode("ascii")

    def encode(self, record_id: str, sequence: bytes) -> np.ndarray | None:
        """Return the tokens (uint8, read-only), or None when the policy drops the record.

        Raises:
            UnknownResidue: A character of the sequence is one that the policy refuses.
        """
        tokens = sequence.translate(self._plain)
        if NOT_A_LETTER in tokens:  # more than plain symbols: the rare way
            cleaned = self._clean(record_id, sequence)
            if cleaned is None:
                return None
            tokens = cleaned.translate(self._codes)
        return np.frombuffer(tokens, np.uint8)

    def _clean(self, record_id: str, written: bytes) -> bytes | None:
        """Apply the policy; return known letters only, or None when the record is dropped."""
        stop = written.endswith(b"*")
        if stop and self.policy.stop == "error":
            raise self._refusal(record_id, written, len(written) - 1)
        sequence = written[:-1] if stop else written
        lower = self.policy.lower == "upper" and sequence != sequence.upper()
        if lower:
            sequence = sequence.upper()

        other = sequence.translate(None, self._symbols)
        unknown = other.translate(None, self._synonyms)
        refused = unknown if self.policy.unknown == "error" else unknown.translate(None, UNKNOWN)
        if refused:
            raise self._refusal(record_id, written, sequence.index(refused[:1]))
        if unknown and self.policy.unknown == "drop":
            self.counts["dropped_unknown"] += 1
            return None
        self.counts["terminal_stops"] += stop
        self.counts["lower_case_records"] += lower
        self.counts["synonym_residues"] += len(other) - len(unknown)
        self.counts["unknown_residues"] += len(unknown)
        return sequence.translate(bytes.maketrans(unknown, b"X" * len(unknown)))

    def _refusal(self, record_id: str, written: bytes, index: int) -> UnknownResidue:
        return UnknownResidue(record_id, index + 1, chr(written[index]), self.alphabet.name)
