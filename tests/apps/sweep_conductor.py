"""Works on a sweep with many processes and kills some of them: a program of its own for a test.

It imports and composes once; every process is a fork of it that goes through the sweep's points as
Hydra would. What a process does is appended to a log, line by line.
"""

import copy
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

import protemb.apps.classification  # noqa: F401  what a run imports late
from protemb.apps import runs
from protemb.apps.config import register_schema
from protemb.apps.naming import register_resolvers, run_name
from protemb.apps.points import add_points
from protemb.apps.sweep import finish_sweep
from protemb.apps.train import main as train

ROOT = Path(__file__).parents[2]
# Someone may edit the package while this runs; a run of other code would be another run.
runs.code_facts()


def watched(log: Path) -> None:
    """Let every run of this process write into the log, and look for a second one beside it."""

    def say(*words: object) -> None:
        handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, (" ".join(map(str, words)) + "\n").encode())
        os.close(handle)

    begin, write = runs.RunFolder.begin, runs.RunFolder.write

    def logged_begin(folder: runs.RunFolder, resume: bool) -> Path | None:
        busy = folder.path.parent.parent / f"busy-{folder.path.name}"
        other = int(busy.read_text() or 0) if busy.exists() else 0
        if other != os.getpid() and _alive(other):
            say("clash", folder.path.name, other)
        busy.write_text(str(os.getpid()))
        say("begin", folder.path.name, os.getpid())
        return begin(folder, resume)

    def logged_write(folder: runs.RunFolder, status: str, **facts: object) -> None:
        write(folder, status, **facts)
        if status != "running":
            say(status, folder.path.name, os.getpid())

    runs.RunFolder.begin, runs.RunFolder.write = logged_begin, logged_write


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def compose_points(options: Sequence[str]) -> list[DictConfig]:
    """Two encoders with four seeds each; without a place."""
    found = []
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for encoder in ("embedding", "lstm"):
            size = [] if encoder == "embedding" else ["encoder.hidden_dim=8"]
            own = [
                "out_dir=x",
                "choices={}",
                "+choices.pooling=mean",
                f"+choices.encoder={encoder}",
            ]
            cfg = compose("train", [f"encoder={encoder}", *options, *size, *own])
            for seed in range(4):
                found.append(copy.deepcopy(cfg))
                found[-1].seed = seed
                found[-1].overrides = [f"encoder={encoder}", f"seed={seed}"]
    return found


def placed(points: Sequence[DictConfig], sweep: Path) -> list[DictConfig]:
    """The points as those of a sweep in this folder."""
    points = copy.deepcopy(points)
    for cfg in points:
        cfg.paths.root = str(sweep.parent)
        cfg.out_dir = str(sweep / run_name(cfg.overrides))
    add_points(sweep, {run_name(cfg.overrides): list(cfg.overrides) for cfg in points})
    return list(points)


def start(sweep: Path, order: Sequence[DictConfig]) -> int:
    """Fork a process that goes through the points; its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 2
    try:
        for stream in (1, 2):
            os.dup2(os.open(sweep.parent / "said", os.O_WRONLY | os.O_APPEND | os.O_CREAT), stream)
        watched(sweep.parent / "log")
        for cfg in order:
            train(cfg)
        code = 0 if finish_sweep(sweep) else 1
    finally:
        sys.stdout.flush()
        os._exit(code)


def disturbed(begin: Callable[[], int], processes: int, kills: int, chance: random.Random) -> None:
    """Keep so many processes at work until so many were killed; then let the rest end."""
    running = {begin() for _ in range(processes)}
    while kills:
        time.sleep(chance.uniform(0.05, 0.6))
        os.kill(victim := chance.choice(sorted(running)), signal.SIGKILL)
        for pid in list(running):
            if pid == victim or os.waitpid(pid, os.WNOHANG)[0]:
                if pid == victim:
                    os.waitpid(pid, 0)
                    kills -= 1
                running.remove(pid)
        running |= {begin() for _ in range(processes - len(running))}
    for pid in running:
        os.waitpid(pid, 0)


def main(place: Path, seed: int, processes: int, kills: int, options: list[str]) -> None:
    """Run the sweep quietly in `place`/quiet, and with kills in `place`/loud."""
    register_resolvers()
    register_schema()
    mode = SimpleNamespace(mode=RunMode.MULTIRUN)
    HydraConfig.get = staticmethod(lambda: mode)  # type: ignore[method-assign, assignment]
    quiet, loud = (place / name / "sweep" for name in ("quiet", "loud"))
    points = compose_points(options)
    os.waitpid(start(quiet, placed(points, quiet)), 0)
    order, chance = placed(points, loud), random.Random(seed)
    disturbed(lambda: start(loud, order), processes, kills, chance)
    # Once more: what the last of the killed ones left behind.
    _, status = os.waitpid(start(loud, order), 0)
    raise SystemExit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]), sys.argv[5:])
