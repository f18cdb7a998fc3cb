"""`protemb embed --launcher`: every share of the input is a job, and one table is made of all."""

import argparse
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from protemb.apps.commands.arguments import counted_progress
from protemb.apps.runs import cores
from protemb.errors import ConfigError, ProtembError

DEFAULTS: Mapping[str, Any] = {
    "name": "embed",
    "timeout_min": 240,
    "max_num_timeout": 100,
    "signal_delay_s": 120,
    "cpus_per_task": 4,
    "additional_parameters": {"requeue": True},  # some clusters do so only for jobs that ask
    # srun no longer takes the number of CPUs from sbatch (since Slurm 22.05).
    "setup": [
        "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK",
        "export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK",
    ],
}
"""Of the jobs; one whose time is up goes back into the queue, and continues."""

FOLDER_NAME = "vectors.h5"
"""The table in an output that is a folder."""


@dataclass(frozen=True)
class EmbedShard:
    """Embeds one share when called, in a process of its own.

    Args:
        work: of `protemb embed`; importable, as it is named in another process.
        options: of `protemb embed`, plain values.
        of: number of shares.
    """

    work: Callable[[argparse.Namespace], None]
    options: dict[str, Any]
    of: int

    def __call__(self, number: int) -> str | None:
        """Embed the share; return what went wrong, in one line."""
        try:
            self.work(self.namespace(number))
        except (ProtembError, OSError) as error:
            return str(error)
        except Exception as error:
            traceback.print_exc()
            return f"{type(error).__name__}: {error}"
        return None

    def namespace(self, number: int) -> argparse.Namespace:
        """The options of `protemb embed --shard`."""
        own = {"shard": f"{number}/{self.of}", "shards": None, "launcher": None, "layout": "table"}
        return argparse.Namespace(**self.options | own)

    def checkpoint(self, number: int) -> Any:
        """What submitit puts into the queue when the job's time is up: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, number)


def embed_in_shards(
    options: argparse.Namespace,
    work: Callable[[argparse.Namespace], None],
    facts_of: Callable[..., dict[str, Any]],
) -> None:
    """Embed all shares that are not there yet, at the same time, and merge them.

    Args:
        options: of `protemb embed`.
        work: does what the options say, for one share.
        facts_of: what the rows depend on, from options, model and share.

    Raises:
        ProtembError: options or input that cannot work.
        SystemExit: a share failed; the others are there.
    """
    from protemb.apps.commands.shards import check_output, shard_path
    from protemb.models.devices import open_device
    from protemb.models.loading import load_model
    from protemb.sequences.reading import Shard
    from protemb.vectors.merging import merge
    from protemb.vectors.resuming import finished_with

    output, of = output_path(options.output), options.shards
    plain = {name: x for name, x in vars(options).items() if name not in ("run", "command")}
    call = EmbedShard(work, plain | {"output": str(output.with_suffix(".h5"))}, of)
    asked = slurm_options(options)
    check_output(options, output, None)
    check_output(call.namespace(1), output.with_suffix(".h5"), Shard(1, of))
    # Facts do not depend on the device, and the machine that submits has perhaps no GPU.
    facts = facts_of(options, load_model(options.model, open_device("cpu")), None)
    if finished_with(output, facts):
        print(f"Done already: {output}")
        return
    paths = [shard_path(output.with_suffix(".h5"), Shard(n, of)) for n in range(1, of + 1)]
    missing = [
        n
        for n, path in enumerate(paths, 1)
        if not finished_with(path, facts | {"layout": _layout(options), "shard": f"{n}/{of}"})
    ]
    if len(missing) < of:
        print(f"Done already: {of - len(missing)} of {of} shards")
    folder = output.with_name(f"{output.stem}.jobs")
    start = _on_slurm if options.launcher == "slurm" else _here
    failed = {n: said for n, said in start(call, missing, folder, asked) if said} if missing else {}
    for n, said in sorted(failed.items()):
        print(f"protemb: shard {n}/{of}: {said}", file=sys.stderr)
    if failed:
        some = f"{len(failed)} of {of} shards failed; the same command computes them alone."
        print(f"protemb: {some} Output of the jobs: {folder}", file=sys.stderr)
        raise SystemExit(1)
    count = merge(paths, output, options.layout)
    shutil.rmtree(folder, ignore_errors=True)
    print(f"{count:,} records, each once, from {of} shards that can go now: {output}")


def _layout(options: argparse.Namespace) -> str:
    return "per-residue" if options.per_residue else "table"


def output_path(text: str) -> Path:
    """The table to write: in a folder, it has a name of its own.

    >>> str(output_path("vectors/")), str(output_path("ssa.h5"))
    ('vectors/vectors.h5', 'ssa.h5')
    """
    path = Path(text)
    return path / FOLDER_NAME if text.endswith("/") or path.is_dir() else path


def slurm_options(options: argparse.Namespace) -> dict[str, Any]:
    """What `--slurm key=value` asks for, over what a job needs in any case.

    Raises:
        ConfigError: something else than key=value, or without Slurm.
    """
    given: dict[str, Any] = {}
    for text in options.slurm or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value) or options.launcher != "slurm":
            expected = "key=value, such as partition=gpu, with --launcher slurm"
            raise ConfigError("--slurm", text, expected)
        given[name] = _number(value)
    gpus = {"gpus_per_node": 1} if options.device.startswith("cuda") else {}
    return {**DEFAULTS, **gpus, **given}


def _number(text: str) -> int | float | str:
    """A number where it is one.

    >>> _number("4"), _number("1.5"), _number("4:00:00")
    (4, 1.5, '4:00:00')
    """
    if text.isdecimal():
        return int(text)
    return float(text) if text.replace(".", "", 1).isdecimal() else text


def _on_slurm(
    call: EmbedShard, missing: Sequence[int], folder: Path, asked: Mapping[str, Any]
) -> Iterator[tuple[int, str | None]]:
    """Number of each share, and what went wrong with it."""
    from protemb.apps.slurm import ended, number_of, submit

    jobs = submit(call, [missing], folder / "%j", asked)
    try:
        for place, said in ended(jobs, "shards"):
            yield missing[place], None if said is None else str(said)
    except KeyboardInterrupt:
        known = f"The jobs go on (scancel {number_of(jobs)} ends them)"
        print(f"No longer waiting. {known}; the same command merges.", file=sys.stderr)
        raise


def _here(
    call: EmbedShard, missing: Sequence[int], folder: Path, _: Mapping[str, Any]
) -> Iterator[tuple[int, str | None]]:
    """As `_on_slurm`, in processes of this machine: as many at the same time as it has cores."""
    spawn = multiprocessing.get_context("spawn")
    folder.mkdir(parents=True, exist_ok=True)
    at_once = min(len(missing), cores())
    waiting = list(missing)
    running: dict[Any, tuple[int, Any]] = {}
    with counted_progress("shards", len(missing), 0, "shards") as advance:
        while waiting or running:
            while waiting and len(running) < at_once:
                n = waiting.pop(0)
                arguments = (call, n, folder / f"{n}.log", cores() // at_once)
                process = spawn.Process(target=_work, args=arguments, daemon=True)
                # Ctrl-C is for the first process alone. The mask is handed down, so that it holds
                # from the beginning.
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
                process.start()
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
                running[process.sentinel] = n, process
            for sentinel in wait(list(running)):
                n, process = running.pop(sentinel)
                process.join()
                yield n, _said(process.exitcode, folder / f"{n}.log")
                advance(1)


def _work(call: EmbedShard, number: int, log: Path, threads: int) -> None:
    """Embed one share, and write into a file what there is to say."""
    import torch

    # When the first process is gone, in whatever way, so are the others.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    with open(log, "w", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        said = call(number)
        if said:
            print(said)
    if said:
        sys.exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _said(code: int | None, log: Path) -> str | None:
    """What a process that ended says."""
    if code == 0:
        return None
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return lines[-1] if lines else f"exit code {code}"
