"""Send what W&B wrote offline, by its own program; nobody here has to know its format."""

import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from protemb.claims import CLAIM, holder
from protemb.errors import ProtembError

# Paths on one command line; the parts of one run are never on two.
AT_ONCE = 500
HEADER = 7  # bytes of a file that wandb has begun, of a process that was killed
PATIENCE = 15  # seconds for the server's first answer; wandb itself would try for ever


class SyncFailed(ProtembError, OSError):
    """W&B could not be reached, or refused.

    >>> str(SyncFailed("no API key configured"))
    'W&B: no API key configured; the runs stay where they are'
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"W&B: {self.problem}; the runs stay where they are"


def offline_runs(folder: Path) -> tuple[list[list[Path]], list[Path]]:
    """What is to be sent of a sweep, or of one run.

    Returns:
        By run folder, its offline parts in the order of their beginnings (a run that was continued
        has several), without those that were sent already or hold nothing; and the folders left
        out because a process still writes there.
    """
    found, busy = [], []
    inside = [*folder.glob("*"), *folder.glob("trials/*/*")]
    for place in [folder, *sorted(path for path in inside if path.is_dir())]:
        parts = sorted(
            part
            for part in place.glob("wandb/offline-run-*")
            if any(file.stat().st_size > HEADER for file in part.glob("*.wandb"))
            and not list(part.glob("*.wandb.synced"))
        )
        if parts and holder(place / CLAIM) is not None:
            busy.append(place)
        elif parts:
            found.append(parts)
    return found, busy


def sync(runs: Sequence[Sequence[Path]]) -> None:
    """Send offline runs, the parts of one run in their order.

    Raises:
        SyncFailed: no server, no login, or the server refuses.
    """
    _check_server()
    batch: list[str] = []
    for number, parts in enumerate(runs, 1):
        batch += map(str, parts)
        if len(batch) >= AT_ONCE or number == len(runs):
            _wandb("sync", *batch)
            batch = []


def _check_server() -> None:
    said = _wandb("status")
    url = json.loads(said[said.index("{") :])["base_url"]
    try:
        urllib.request.urlopen(url, timeout=PATIENCE).close()
    except urllib.error.HTTPError:
        pass  # it answers
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise SyncFailed(f"no answer from {url} ({reason})") from error


def _wandb(*arguments: str) -> str:
    command = [sys.executable, "-m", "wandb", *arguments]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as logs:
        # Its logs would make a folder `wandb` here; one that is there may hold settings.
        place = {} if Path("wandb").is_dir() else {"WANDB_DIR": logs}
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | place,
        )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "it failed").splitlines()[-1]
        raise SyncFailed(last.removeprefix("Error: ").rstrip("."))
    for line in done.stderr.splitlines():
        if "ERROR" in line:  # about one file of many
            print(line, file=sys.stderr)
    return done.stdout
