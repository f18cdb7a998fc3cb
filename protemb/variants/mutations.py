"""Substitutions as people write them, and what they do to a sequence.

Positions are 0-based in the objects and 1-based in all text.
"""

import re
from dataclasses import dataclass

from protemb.errors import ProtembError
from protemb.sequences.amino_acids import RESIDUES

SEPARATORS = re.compile(r"([:/,;])")
ONE_LETTER = re.compile(r"([A-Z])(-?[0-9]+)([A-Z])")
THREE_LETTERS = re.compile(r"([A-Z][a-z]{2})(-?[0-9]+)([A-Z][a-z]{2})")
# The insertion letter of a PDB numbering: residue 27C stands between 27B and 27D.
INSERTION = re.compile(r"[A-Z]-?[0-9]+[A-Z][A-Z]")
ALLELE = re.compile(r"p\.[\[(](.*)[\])]")
# A chain of digits and letters could be a substitution that lost its new residue.
CHAIN = re.compile(r"[A-Za-z0-9]|[A-Za-z]{2,4}")

_ORDER = "Ala Arg Asn Asp Cys Gln Glu Gly His Ile Leu Lys Met Phe Pro Ser Thr Trp Tyr Val"
THREE_TO_ONE = dict(zip(_ORDER.split(), RESIDUES, strict=True))


class MutationError(ProtembError, ValueError):
    """A text is no substitution, or several that contradict each other.

    >>> str(MutationError("A5", "expected a substitution such as A123G"))
    "mutation 'A5': expected a substitution such as A123G"
    """

    def __init__(self, text: str, problem: str) -> None:
        super().__init__(text, problem)
        self.text, self.problem = text, problem

    def __str__(self) -> str:
        return f"mutation {self.text!r}: {self.problem}"


@dataclass(frozen=True, order=True)
class Substitution:
    """One residue in another one's place.

    Attributes:
        position: 0-based; one before the chain (a PDB numbering may begin below 1) fits nowhere.
        wild: The residue that the wild type has there, one of the 20.
        new: The residue that the variant has there, another one of the 20.
    """

    position: int
    wild: str
    new: str

    def __str__(self) -> str:
        return f"{self.wild}{self.position + 1}{self.new}"


@dataclass(frozen=True)
class Mutation:
    """Substitutions of one chain at once.

    >>> mutation = Mutation.parse("C5D/A1G")
    >>> str(mutation), mutation.positions, mutation.apply("AKLMC")
    ('A1G:C5D', (0, 4), 'GKLMD')

    Attributes:
        substitutions: By rising position, one for each; none is the wild type itself.
        chain: As it was written, or "".
    """

    substitutions: tuple[Substitution, ...] = ()
    chain: str = ""

    def __post_init__(self) -> None:
        if len(self.substitutions) > 1:
            object.__setattr__(self, "substitutions", tuple(sorted(self.substitutions)))
            if len(set(self.positions)) < len(self.substitutions):
                raise ValueError(f"{self}: a position has two substitutions")

    @classmethod
    def parse(cls, text: str) -> "Mutation":
        """Read `A123G`, `A:A123G` (of chain A), `p.Ala123Gly`, or several as in `A1G:C5D`.

        Several are joined by `:`, `/`, `,` or `;`, or stand in `p.[Ala1Gly;Cys5Asp]`. The chain
        is one letter or digit, or two to four letters.

        Raises:
            MutationError: It is something else (a stop, a silent change, an insertion, a residue
                outside the 20, an insertion letter), or a position or a chain contradicts another.
        """
        allele = ALLELE.fullmatch(text.strip())
        parts = SEPARATORS.split(allele[1] if allele else text)
        substitutions: dict[int, Substitution] = {}
        chains = []
        for part, separator in zip(parts[::2], [*parts[1::2], ""], strict=True):
            piece = part.strip()
            if separator == ":" and CHAIN.fullmatch(piece):
                chains.append(piece)
                continue
            found = _substitution(text, piece)
            if found.position in substitutions:
                raise MutationError(text, f"position {found.position + 1} is given twice")
            substitutions[found.position] = found
        if len(set(chains)) > 1:
            raise MutationError(text, f"chains {' and '.join(chains)}, expected one chain")
        return cls(tuple(substitutions.values()), chains[0] if chains else "")

    def __str__(self) -> str:
        return ":".join(map(str, self.substitutions))

    @property
    def positions(self) -> tuple[int, ...]:
        """0-based positions, rising."""
        return tuple(one.position for one in self.substitutions)

    def shifted(self, offset: int) -> "Mutation":
        """Return the same substitutions `offset` residues further to the end of the chain."""
        moved = (
            Substitution(one.position + offset, one.wild, one.new) for one in self.substitutions
        )
        return Mutation(tuple(moved), self.chain)

    def misfit(self, sequence: str) -> str | None:
        """Say why the mutation cannot be one of `sequence`; None when it can.

        >>> Mutation.parse("A0G").misfit("AKL")
        'position 0 is outside the 3 residues'
        """
        for one in self.substitutions:
            # A negative index would count from the end of the chain.
            if not 0 <= one.position < len(sequence):
                return f"position {one.position + 1} is outside the {len(sequence)} residues"
            if sequence[one.position] != one.wild:
                return f"residue {one.position + 1} is {sequence[one.position]}, not {one.wild}"
        return None

    def fits(self, sequence: str) -> bool:
        """Whether every wild-type residue stands at its place inside `sequence`."""
        return self.misfit(sequence) is None

    def apply(self, sequence: str) -> str:
        """Return the sequence of the variant.

        Raises:
            ValueError: The mutation does not fit.
        """
        if problem := self.misfit(sequence):
            raise ValueError(f"{self}: {problem}")
        letters = list(sequence)
        for one in self.substitutions:
            letters[one.position] = one.new
        return "".join(letters)

    def reversed(self) -> "Mutation":
        """Return the mutation that leads from the variant back to the wild type."""
        back = (Substitution(one.position, one.new, one.wild) for one in self.substitutions)
        return Mutation(tuple(back), self.chain)


def _substitution(text: str, piece: str) -> Substitution:
    if match := ONE_LETTER.fullmatch(piece.removeprefix("p.")):
        wild, number, new = match.groups()
    elif match := THREE_LETTERS.fullmatch(piece.removeprefix("p.")):
        wild, number, new = match.groups()
        wild, new = THREE_TO_ONE.get(wild, wild), THREE_TO_ONE.get(new, new)
    elif INSERTION.fullmatch(piece):
        problem = f"{piece[1:-1]} has an insertion letter, expected a place in the sequence"
        raise MutationError(text, problem)
    else:
        raise MutationError(text, f"got {piece!r}, expected a substitution such as A123G")
    if len(number) > 9:
        raise MutationError(text, f"position {number[:12]}... is no place in a protein")
    for residue in (wild, new):
        if residue not in RESIDUES:
            raise MutationError(text, f"{residue} is none of the 20 residues")
    if wild == new:
        raise MutationError(text, f"{piece} changes nothing")
    return Substitution(int(number) - 1, wild, new)
