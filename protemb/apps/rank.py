"""A process beside a run's first one, started by it: `python -m protemb.apps.rank`.

Its orders come through stdin, as lines of JSON: the resolved config, then where to meet and which
checkpoint to begin with. It answers one line when it is ready. The end of the orders is the end of
the first process, and so of this one.
"""

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protemb.errors import ProtembError

# What ends a run is told to its first process; these may reach all of a job's.
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")


class Led:
    """The company of a process that the first one has started."""

    def __init__(self) -> None:
        from pytorch_lightning.plugins.environments import LightningEnvironment

        self.plugins: list[Any] = [LightningEnvironment()]
        self.orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        # What is printed, here or in a library, must not be taken for an answer.
        self.answers = os.dup(1)
        os.dup2(2, 1)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        # Not by sys.stdin: a thread that waits in it would disturb the interpreter's end.
        rest = b""
        while part := os.read(0, 65_536):
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                self.orders.put(json.loads(line))
        os._exit(1)

    def beside(self, trainer: Any) -> contextlib.AbstractContextManager[None]:
        """The first process starts the others, and ends them."""
        return contextlib.nullcontext()

    def agree(self, checkpoint: Path | None) -> Path | None:
        """Say that this process is ready, and hear with which checkpoint to begin."""
        os.write(self.answers, b"ready\n")
        words = self.orders.get()
        path = words.pop("checkpoint")
        os.environ.update(words)
        return Path(path) if path else None


def main() -> None:
    """Take part in the training of one run."""
    for name in SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    led = Led()
    try:
        take_part(led.orders.get(), led)
    except ProtembError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)


def take_part(values: Mapping[str, Any], led: Led) -> None:
    """Train as the first process does; results are its matter."""
    from protemb.apps.fitting import fit
    from protemb.apps.tasks import open_task

    fit(values, open_task(values).prepare, [], None, led)


if __name__ == "__main__":
    main()
