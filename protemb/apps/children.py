"""The other processes of a run, started and ended by its first one."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch.distributed import TCPStore

from protemb.apps.devices import ProcessLost

# Of this process's surroundings, what a run with several processes changes.
CHANGED = (
    *("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    "OMP_NUM_THREADS",
)
# Seconds: for the others to end after training, and for the first to notice that one is gone.
PATIENCE = 60.0
GRACE = 20.0
SOON = 3.0


class Children:
    """The other processes of a run, started by the first.

    What holds them is a pipe: when the first process is gone, however that came, they read the
    end of their orders and go as well.

    Args:
        values: the config.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values, self.folder = values, Path(values["out_dir"])
        # Also inside a Slurm job: what it has started is this process alone.
        self.plugins: list[Any] = [LightningEnvironment()]
        self.children: list[subprocess.Popen[str]] = []
        self.over = threading.Event()

    @property
    def size(self) -> int:
        """How many processes train."""
        return 1 + len(self.children)

    @contextlib.contextmanager
    def beside(self, trainer: pl.Trainer) -> Iterator[None]:
        """Start one process for every device but the first; none of them stays."""
        if trainer.num_devices == 1:
            yield
            return
        with _surroundings():
            try:
                self._start(trainer.num_devices)
                yield
                self._see_off()
            except Exception as error:
                lost = None if _explains_itself(error) else self._soon_lost()
                if lost is None:
                    raise
                raise lost from error
            finally:
                self._end()

    def _start(self, size: int) -> None:
        for rank in range(1, size):
            place = {"RANK": rank, "LOCAL_RANK": rank, "NODE_RANK": 0, "WORLD_SIZE": size}
            with open(self._log(rank), "w", encoding="utf-8") as log:
                child = subprocess.Popen(
                    [sys.executable, "-m", "protemb.apps.rank"],
                    env={**os.environ, **{name: str(value) for name, value in place.items()}},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    # Ctrl-C is for the first process alone, which ends the others.
                    start_new_session=True,
                )
            self.children.append(child)
            self._tell(child, self.values)

    def agree(self, checkpoint: Path | None) -> Path | None:
        """Wait until the others are ready, and tell them where to meet."""
        if not self.children:
            return checkpoint
        for child in self.children:
            assert child.stdout is not None
            if not child.stdout.readline():  # its end
                child.wait()
                raise self._lost() or AssertionError("it ended before it had trained")
        # It keeps a free port, which torch's own store in this process then shares.
        self.store = TCPStore(
            "127.0.0.1", 0, is_master=True, wait_for_workers=False, multi_tenant=True
        )
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self.store.port)}
        os.environ.update(meeting, RANK="0", LOCAL_RANK="0", NODE_RANK="0")
        os.environ["WORLD_SIZE"] = str(self.size)
        for child in self.children:
            self._tell(child, {"checkpoint": checkpoint and str(checkpoint), **meeting})
        threading.Thread(target=self._watch, daemon=True).start()
        return checkpoint

    def _tell(self, child: "subprocess.Popen[str]", words: Mapping[str, Any]) -> None:
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # that it has ended is seen elsewhere
            child.stdin.write(json.dumps(words) + "\n")
            child.stdin.flush()

    def _watch(self) -> None:
        """End this process when another one is gone and training waits for it for ever."""
        while not self.over.wait(0.2):
            lost = self._lost()
            if lost is not None and not self.over.wait(GRACE):
                self._kill()
                print(f"protemb: {lost}", file=sys.stderr, flush=True)
                os._exit(1)

    def _lost(self) -> ProcessLost | None:
        """The first of the others that has not ended well."""
        for rank, child in enumerate(self.children, 1):
            code = child.poll()
            if code:
                how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
                said = self._log(rank).read_text(encoding="utf-8", errors="replace").split("\n")
                words = next((line.strip() for line in reversed(said) if line.strip()), "")
                how += f" ({words})" if words and code > 0 else ""
                return ProcessLost(rank, self.size, how)
        return None

    def _log(self, rank: int) -> Path:
        return self.folder / f"process_{rank}.log"

    def _soon_lost(self) -> ProcessLost | None:
        """The same, where a connection has broken: somewhat before the process is gone."""
        deadline = time.monotonic() + SOON
        while (lost := self._lost()) is None and time.monotonic() < deadline:
            time.sleep(0.05)
        return lost

    def _see_off(self) -> None:
        """Training is over: let the others end, and forget what they said."""
        deadline = time.monotonic() + PATIENCE
        for rank, child in enumerate(self.children, 1):
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - time.monotonic()))
            self._log(rank).unlink(missing_ok=True)

    def _kill(self) -> None:
        for child in self.children:
            child.kill()

    def _end(self) -> None:
        self.over.set()
        self._kill()
        for child in self.children:
            child.wait()
            for pipe in (child.stdin, child.stdout):
                assert pipe is not None
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


@contextlib.contextmanager
def _surroundings() -> Iterator[None]:
    """Take back what several processes change in this one: the next run may have one device."""
    before, threads = {name: os.environ.get(name) for name in CHANGED}, torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _explains_itself(error: Exception) -> bool:
    """Whether an error is one of our own, and so no consequence of another process's end."""
    return type(error).__module__.startswith("protemb.")
