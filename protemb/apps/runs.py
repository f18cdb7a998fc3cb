"""A run is a folder: what it holds, whether it is done, whether it can go on."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from protemb import __version__
from protemb.claims import CLAIM, HeldElsewhere, claim
from protemb.errors import InputError
from protemb.files import content_key, hash_file, write_json

RESULT = "result.json"
TRIALS = "trials"
"""Folder of a sweep's studies."""
PACKAGES = (
    "torch",
    "pytorch-lightning",
    "hydra-core",
    "omegaconf",
    "numpy",
    "scikit-learn",
)


class RunFolder:
    """One run's folder.

    Args:
        path: the folder.
        key: content key of everything that decides the result. A folder with another key holds
            the result of something else; it is moved aside, never reused.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self.started = time.time()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out; whoever writes into the folder does so inside.

        Raises:
            HeldElsewhere: another process computes this run.
        """
        with claim(self.path / CLAIM):
            yield

    def finished(self) -> dict[str, Any] | None:
        """The record of this very run, when it is done."""
        record = read_result(self.path)
        done = record is not None and record["key"] == self.key and record["status"] == "done"
        return record if done else None

    def begin(self, resume: bool) -> Path | None:
        """Make the folder ready; return the checkpoint to continue from, if there is one."""
        for part in self.path.rglob(".part-*"):  # of a process that was killed while it wrote
            shutil.rmtree(part) if part.is_dir() else part.unlink()
        record = read_result(self.path)
        same = record is not None and record["key"] == self.key
        if not (same and resume):
            self.set_aside()
        self.write("running")
        return self.resumable()

    def resumable(self) -> Path | None:
        """The checkpoint to continue from, if there is one."""
        path = self.path / "checkpoints" / "last.ckpt"
        return path if path.exists() else None

    def identity(self) -> dict[str, object]:
        """What makes this run another one than all others, for those who show runs.

        The same after a kill; another one where `resume=never` has put the run itself aside.
        """
        again = len(list(self.path.glob(f"previous/{self.key}-*")))
        place = self.path.absolute()
        sweep = sweep_of(place)
        run = [sweep.name, place.relative_to(sweep).as_posix()]
        return {"key": self.key, "run": run, "again": again}

    def set_aside(self) -> None:
        """Move what an older run left into a folder of its own inside this one.

        The record goes last: killed in between, the next run sees it and moves the rest.
        """
        kept = ("previous", ".hydra", CLAIM)
        found = [
            item
            for item in (self.path.iterdir() if self.path.is_dir() else ())
            if item.name not in kept and item.suffix != ".log"
        ]
        if not found:
            return
        record = read_result(self.path)
        old_key = record["key"] if record else "unknown"
        aside = self.path / "previous" / f"{old_key}-{int(time.time() * 1000)}"
        aside.mkdir(parents=True)
        for item in sorted(found, key=lambda item: item.name == RESULT):
            shutil.move(item, aside / item.name)

    def write(self, status: str, **facts: Any) -> None:
        """Write result.json: status, key, code, versions, seconds, and the facts given."""
        record = {
            "status": status,
            "key": self.key,
            "code": code_facts(),
            "versions": versions(),
            "machine": {"platform": platform.platform(), "cores": os.cpu_count()},
            "command": sys.argv,
            "seconds": round(time.time() - self.started, 1),
            **facts,
        }
        write_json(self.path / RESULT, record)


def sweep_of(run: Path) -> Path:
    """The folder of a run's sweep; trials lie in SWEEP/trials/STUDY/NUMBER."""
    return run.parents[2] if run.parent.parent.name == TRIALS else run.parent


def stored(path: Path, read: Callable[..., Any], **options: Any) -> Any:
    """What a function of `pyarrow.parquet` reads from a file of a finished run.

    Raises:
        InputError: the file has gone or is damaged; no run ends without it.
    """
    try:
        return read(path, **options)
    except (OSError, ValueError) as error:  # pyarrow's own are of these kinds, without a number
        missing = isinstance(error, FileNotFoundError)
        if getattr(error, "errno", None) and not missing:
            raise  # what the machine refuses
        kind = "missing" if missing else "damaged"
        problem = f"{kind}; `resume=never` computes this run again"
        raise InputError(str(path), problem) from error


def read_result(folder: Path) -> dict[str, Any] | None:
    """The record in a run folder, or None when there is none that can be read."""
    try:
        record = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and {"status", "key"} <= record.keys() else None


def record_refusal(path: Path, overrides: list[str], error: Exception) -> None:
    """A point refused before its folder was begun stands in the sweep's summary all the same.

    An older record's key stays, so that the point can go on when its input is back. What another
    process works on is left alone.
    """
    reason = f"{type(error).__name__}: {error}"
    with suppress(HeldElsewhere), claim(path / CLAIM):
        record = read_result(path) or {}
        if record.get("error") != reason:
            folder = RunFolder(path, record.get("key", ""))
            facts = {name: record[name] for name in ("config", "label") if name in record}
            folder.write("failed", error=reason, overrides=overrides, **facts)


def say_held(held: HeldElsewhere, sweeping: bool) -> None:
    """One line about a run that another process computes; exit code 3, unless others follow.

    Nobody waits for it: in a sweep the next point is computed instead.
    """
    print(f"Running elsewhere: {held}", file=sys.stderr)
    if not sweeping:
        raise SystemExit(3) from None


def run_key(
    values: Mapping[str, Any],
    data_fingerprint: str,
    split_fingerprint: str,
    weights_fingerprint: str = "",
) -> str:
    """Content key of a run: config, data, split and code.

    Where results go, how they are logged and whether a run may resume do not change them. Where the
    data, the split and an encoder's first weights come from does not matter either: their content
    does.
    """
    left_out = (
        *("paths", "logger", "resume", "out_dir", "figures", "choices", "overrides", "split"),
        *("trial", "tuned"),
    )
    config = {name: value for name, value in values.items() if name not in left_out}
    config["data"] = values["data"]["name"]
    config["encoder"] = {
        name: value for name, value in values["encoder"].items() if name != "weights"
    }
    config["callbacks"] = {
        name: {option: value for option, value in node.items() if option != "dirpath"}
        for name, node in values["callbacks"].items()
        if name != "progress"
    }
    config["trainer"] = {
        name: value for name, value in values["trainer"].items() if name != "enable_progress_bar"
    }
    return content_key(
        {
            "config": config,
            "data": data_fingerprint,
            "split": split_fingerprint,
            "weights": weights_fingerprint,
            "code": code_key(),
        }
    )


@cache
def code_key(*parts: str) -> str:
    """Hash of the package's source, or of some of its rooms and modules."""
    package = Path(__file__).parent.parent
    places = [package / part for part in parts] or [package]
    files = sorted(
        path
        for place in places
        for path in ([place] if place.suffix == ".py" else place.rglob("*.py"))
    )
    return content_key({str(path.relative_to(package)): hash_file(path) for path in files})


@cache
def code_facts() -> dict[str, Any]:
    """Version, source hash, and the git commit where there is one."""
    return {"version": __version__, "source": code_key(), "commit": _commit()}


def _commit() -> str | None:
    root = Path(__file__).parent.parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def cores() -> int:
    """Cores that this process may use; not every system tells."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1
