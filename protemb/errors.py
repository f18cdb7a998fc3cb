"""Errors that protemb raises on purpose: they carry facts and read as one line.

Entry points turn every `ProtembError` into one line on stderr and exit code 2; any other
exception is a defect and keeps its traceback.
"""


class ProtembError(Exception):
    """Base of every error protemb raises on purpose."""


class InputError(ProtembError, ValueError):
    """A file that the user gave cannot be used as it is.

    >>> str(InputError("hosts.fasta", "text before the first '>' header", line=3))
    "hosts.fasta:3: text before the first '>' header"
    >>> str(InputError("hosts.fasta", "empty sequence", line=8, record="A/duck/1"))
    "hosts.fasta:8: record 'A/duck/1': empty sequence"
    """

    def __init__(
        self, source: str, problem: str, line: int | None = None, record: str | None = None
    ) -> None:
        super().__init__(source, problem, line, record)
        self.source, self.problem, self.line, self.record = source, problem, line, record

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        record = "" if self.record is None else f"record {self.record!r}: "
        return f"{place}: {record}{self.problem}"


class UnknownResidue(ProtembError, ValueError):
    """A sequence holds a letter that the alphabet does not have; positions are 1-based.

    >>> str(UnknownResidue("sp|P1", 3, "*", "aa21"))
    "record 'sp|P1': residue 3 is '*', not a letter of aa21"
    """

    def __init__(self, record: str, position: int, symbol: str, alphabet: str) -> None:
        super().__init__(record, position, symbol, alphabet)
        self.record, self.position, self.symbol, self.alphabet = (
            record,
            position,
            symbol,
            alphabet,
        )

    def __str__(self) -> str:
        return (
            f"record {self.record!r}: residue {self.position} is {self.symbol!r}, "
            f"not a letter of {self.alphabet}"
        )


class ConfigError(ProtembError, ValueError):
    """An option has a value that cannot work.

    >>> str(ConfigError("split.fractions", [0.5, 0.5], "three shares that add up to 1"))
    'split.fractions: got [0.5, 0.5], expected three shares that add up to 1'
    """

    def __init__(self, option: str, got: object, expected: str) -> None:
        super().__init__(option, got, expected)
        self.option, self.got, self.expected = option, got, expected

    def __str__(self) -> str:
        return f"{self.option}: got {self.got!r}, expected {self.expected}"


class Diverged(ProtembError, ArithmeticError):
    """Training has left the numbers that can be computed with; epochs count from 1.

    >>> str(Diverged(3))
    'training diverged in epoch 3: the validation loss is not finite; try a smaller optimizer.lr'
    """

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self.epoch = epoch

    def __str__(self) -> str:
        return (
            f"training diverged in epoch {self.epoch}: the validation loss is not finite; "
            "try a smaller optimizer.lr"
        )


class CheckpointError(ProtembError, ValueError):
    """A checkpoint is damaged, foreign, or does not fit what it is asked for."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


class MissingExtra(ProtembError, ImportError):
    """A feature needs an optional package that is not installed.

    >>> str(MissingExtra("reading .zst files", "zstandard", "zstd"))
    "reading .zst files needs zstandard: pip install 'protemb[zstd]'"
    """

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(feature, package, extra)
        self.feature, self.package, self.extra = feature, package, extra

    def __str__(self) -> str:
        return f"{self.feature} needs {self.package}: pip install 'protemb[{self.extra}]'"


class DownloadError(ProtembError, OSError):
    """A file cannot be fetched, or what arrived is not the file that was asked for.

    >>> str(DownloadError("https://host/H1.json", "the server answered 404 Not Found"))
    'https://host/H1.json: the server answered 404 Not Found'
    """

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url, self.problem = url, problem

    def __str__(self) -> str:
        return f"{self.url}: {self.problem}"


class OutOfMemory(ProtembError, MemoryError):
    """One sequence alone is too much for the device.

    >>> str(OutOfMemory("TITIN", 34350, "cuda"))
    "record 'TITIN': its 34,350 residues do not fit into the memory of cuda, try --device cpu"
    """

    def __init__(self, record: str, residues: int, device: str) -> None:
        super().__init__(record, residues, device)
        self.record, self.residues, self.device = record, residues, device

    def __str__(self) -> str:
        hint = "" if self.device == "cpu" else ", try --device cpu"
        return (
            f"record {self.record!r}: its {self.residues:,} residues do not fit into the memory "
            f"of {self.device}{hint}"
        )
