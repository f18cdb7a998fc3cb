"""Optuna's studies in a file that several processes append to, whatever ends them."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from protemb.claims import claim
from protemb.errors import MissingExtra

JOURNAL = "journal.log"
# Each study has a journal of its own.
NAME = "study"


def need_optuna() -> Any:
    """The module, quiet.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise MissingExtra("tuning", "optuna", "tune") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def open_journal(folder: Path) -> Any:
    """The storage of the study in a folder.

    Raises:
        MissingExtra: optuna is not installed.
    """
    optuna = need_optuna()
    from optuna.storages.journal import JournalFileBackend

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL
    lock: Any = _Claim(path)
    return optuna.storages.JournalStorage(JournalFileBackend(str(path), lock))


class _Claim:
    """What Optuna asks of a lock. Gone with its process; Optuna's own is waited for 30 seconds."""

    def __init__(self, path: Path) -> None:
        self.path, self._held = path, ExitStack()

    def acquire(self) -> bool:
        self._held.enter_context(claim(self.path.with_name(f".{JOURNAL}.lock"), wait=True))
        cut_torn_line(self.path)
        return True

    def release(self) -> None:
        self._held.close()


def cut_torn_line(path: Path) -> None:
    """Forget a last line without end: its writer died, or the disk was full.

    Nobody may write at the same time.
    """
    with open(path, "rb+") as handle:
        size = handle.seek(0, os.SEEK_END)
        if size == 0:
            return
        handle.seek(-1, os.SEEK_END)
        if handle.read(1) != b"\n":
            handle.seek(0)
            handle.truncate(handle.read().rfind(b"\n") + 1)
