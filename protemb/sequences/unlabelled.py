"""Sequences without labels from the user's files, cached by content: for tasks that need none."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from protemb import __version__
from protemb.errors import InputError
from protemb.files import cached_folder, content_key
from protemb.sequences.alphabet import AA21, LetterPolicy, as_policy
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.labels import RuleLike, as_rule
from protemb.sequences.records import Recorder, RecordFiles
from protemb.sequences.streams import open_file

PathLike = str | os.PathLike[str]
# Raise it when the same files and options are read in another way than before.
FORMAT = 1
CLASS = "protein"
"""The one class of all records, so that every split works on them."""


class SequenceSource:
    """Proteins in FASTA files, or in tables with a sequence in each row; what else stands there
    is not read.

    Args:
        path: One file, or several that are read as one.
        id: Where the id stands, a `Rule` or a mapping of its options; not given: the whole
            header, or the column `id`.
        letters: What to do with letters outside the alphabet, lower case and '*'.
    """

    def __init__(
        self,
        path: PathLike | Iterable[PathLike],
        id: RuleLike = None,
        letters: LetterPolicy | Mapping[str, str] | None = None,
    ) -> None:
        paths = [path] if isinstance(path, str | os.PathLike) else path
        self._files = RecordFiles(tuple(map(str, paths)), as_rule("id", id))
        self._letters = as_policy(letters)

    def load(self, cache_dir: PathLike | None = None) -> LabelledSet:
        """Read the files, or map what an earlier call left in `cache_dir`.

        The cache is named by the content of the files and by the options. Without `cache_dir`
        the arrays are mapped from temporary files that go with the set.

        Raises:
            InputError: A file cannot be used as the options say.
        """
        if cache_dir is None:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
                return self.load(temporary)
        key = content_key(
            {
                "source": "sequences",
                "version": [__version__, FORMAT, AA21.fingerprint],
                "files": [_hash(path) for path in self._files.paths],
                "tables": self._files.are_tables,
                "id": asdict(self._files.id),
                "letters": asdict(self._letters),
            }
        )
        folder = Path(cache_dir) / "datasets" / key
        return cached_folder(folder, self._fill, LabelledSet.open)

    def _fill(self, folder: Path) -> None:
        """Read everything and write the set to `folder`."""
        with Recorder(folder / "tokens", AA21, self._letters) as recorder:
            for entry in self._files:
                recorder.add(entry)
            if not len(recorder):
                raise InputError(self._files.paths[0], "no record has known letters only")
            store, _ = recorder.finish()
        report = {
            **recorder.counts(),
            "records_kept": len(store),
            "distinct_sequences": store.n_sequences,
        }
        labels_N = np.zeros(len(store), np.int64)
        LabelledSet(store, labels_N, (CLASS,), report=report).write_columns(folder)


def _hash(path: str) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
