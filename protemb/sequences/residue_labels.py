"""Sources of residue labels: three-line files (one or several folds), and paired FASTA files."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict

from protemb.errors import ConfigError, InputError
from protemb.sequences.alphabet import LetterPolicy
from protemb.sequences.labels import Rule, RuleLike, as_rule
from protemb.sequences.residue_files import Item, read_paired, read_three_line
from protemb.sequences.residue_set import ALL
from protemb.sequences.residue_source import ResidueSource
from protemb.sequences.source import PathLike

YES = ("true", "yes", "1")


class ThreeLineSource(ResidueSource):
    """Files of three lines a record: header, sequence, labels.

    Args:
        path: One file, or several: the field `fold` says which one a record stands in, from 0.
        options: Of `ResidueSource`.
    """

    def __init__(
        self,
        path: PathLike | Iterable[PathLike],
        *,
        known: str | None = None,
        merge: Mapping[str, str] | None = None,
        unknown: str = "",
        segments: str = "",
        marks: Mapping[str, str] | None = None,
        unmarked: str = ALL,
        id: RuleLike = None,
        fields: Mapping[str, RuleLike] | None = None,
        letters: LetterPolicy | Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            known=known,
            merge=merge,
            unknown=unknown,
            segments=segments,
            marks=marks,
            unmarked=unmarked,
            id=id,
            fields=fields,
            letters=letters,
        )
        paths = [path] if not isinstance(path, Iterable) or isinstance(path, str) else path
        self._paths = tuple(map(str, paths))
        if not self._paths:
            raise ConfigError("path", [], "one file or more")
        if "fold" in self._fields:
            raise ConfigError("fields", "fold", "another name: it is the number of the file")

    @property
    def files(self) -> tuple[str, ...]:
        """The files, in the order of their folds."""
        return self._paths

    def items(self) -> Iterator[Item]:
        """Yield the records of all files."""
        for number, path in enumerate(self._paths):
            yield from read_three_line(path, self._id, number)

    def columns(self, item: Item) -> dict[str, str]:
        """The number of the file."""
        return {"fold": str(item.file)}

    def _column_key(self) -> list[object]:
        return ["fold"]


class PairedFastaSource(ResidueSource):
    """A FASTA file of sequences, one of labels, and perhaps one that says what counts.

    Args:
        sequences: FASTA file.
        labels: FASTA file with the labels in place of the residues, the same ids.
        mask: FASTA file of 1 (counts) and 0, the same ids.
        split: Where the labels' header names the part, as {key: SET}.
        validation: Where it says that a training protein validates (true, yes or 1).
        options: Of `ResidueSource`.
    """

    def __init__(
        self,
        sequences: PathLike,
        labels: PathLike,
        mask: PathLike | None = None,
        *,
        split: RuleLike = None,
        validation: RuleLike = None,
        known: str | None = None,
        merge: Mapping[str, str] | None = None,
        unknown: str = "",
        segments: str = "",
        marks: Mapping[str, str] | None = None,
        unmarked: str = ALL,
        id: RuleLike = None,
        letters: LetterPolicy | Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            known=known,
            merge=merge,
            unknown=unknown,
            segments=segments,
            marks=marks,
            unmarked=unmarked,
            id=Rule(field=1, delimiter=" ") if id is None else id,
            letters=letters,
        )
        self._sequences, self._labels = str(sequences), str(labels)
        self._mask = None if mask is None else str(mask)
        self._split, self._validation = as_rule("split", split), as_rule("validation", validation)
        for name, rule in (("split", self._split), ("validation", self._validation)):
            rule.check(name, headers=True, columns=False)
        if self._validation.given and not self._split.given:
            raise ConfigError("validation", str(self._validation), "split as well")

    @property
    def files(self) -> tuple[str, ...]:
        """Sequences, labels and mask."""
        return (self._sequences, self._labels, *filter(None, [self._mask]))

    def items(self) -> Iterator[Item]:
        """Yield the records in the order of the sequences."""
        yield from read_paired(self._sequences, self._labels, self._mask, self._id)

    def columns(self, item: Item) -> dict[str, str]:
        """The part, as the labels' header names it."""
        if not self._split.given:
            return {}
        labels = item.labels
        part = self._split.extract(labels.header, wanted="split")
        if not part:
            raise InputError(
                labels.source, f"no split: {self._split} not found", labels.line, item.entry.id
            )
        chosen = self._validation.extract(labels.header, wanted="validation") or ""
        return {"split": "validation" if part == "train" and chosen.casefold() in YES else part}

    def _column_key(self) -> list[object]:
        return [self._mask is not None, asdict(self._split), asdict(self._validation)]
