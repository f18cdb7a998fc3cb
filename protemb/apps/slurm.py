"""Jobs of one Slurm array: submit them, wait for them, tell those that Slurm ended."""

import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from protemb.apps.commands.arguments import counted_progress
from protemb.errors import ConfigError, MissingExtra, ProtembError

SHARED = (
    *("name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node"),
    *("tasks_per_node", "stderr_to_stdout"),
)
"""Options that submitit knows for every kind of cluster; the others are Slurm's own."""

TAKEN = ("NODE_FAIL", "PREEMPTED")
"""States of jobs that Slurm may have put into its queue again; that depends on its settings."""

PAUSE = 15.0
"""Seconds within which Slurm has put such a job into its queue again."""


class JobLost(ProtembError, RuntimeError):
    """Slurm ended a job before it could say how it went.

    >>> str(JobLost("12_3", "OUT_OF_MEMORY", "12_3_0_log.err"))
    'Slurm job 12_3 ended as OUT_OF_MEMORY; its output: 12_3_0_log.err'
    """

    def __init__(self, job: str, state: str, log: str) -> None:
        super().__init__(job, state, log)
        self.job, self.state, self.log = job, state, log

    def __str__(self) -> str:
        return f"Slurm job {self.job} ended as {self.state}; its output: {self.log}"


def submit(
    call: Any, columns: Sequence[Sequence[Any]], folder: Path, options: Mapping[str, Any]
) -> list[Any]:
    """Submit `call` on every row of the columns, as one array; return submitit's jobs.

    Args:
        call: something that can be pickled and called; its method `checkpoint` puts it into the
            queue again when its time is up.
        columns: the first arguments of all calls, the second ones, ...
        folder: gets scripts, pickles and output of the jobs; all nodes have to see it.
        options: submitit's, without `slurm_` before them.

    Raises:
        MissingExtra: submitit is not installed.
        ConfigError: an option that does not exist.
        SystemExit: this machine does not know Slurm, or Slurm refuses.
    """
    try:
        import submitit
        from submitit.core.utils import FailedJobError
    except ImportError:
        raise MissingExtra("Slurm", "submitit", "slurm") from None

    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        _refuse("no program sbatch here, expected a machine of a Slurm cluster")
    rest = dict(options)
    timeouts = rest.pop("max_num_timeout")
    named = {name if name in SHARED else f"slurm_{name}": x for name, x in rest.items()}
    executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=timeouts)
    try:
        executor.update_parameters(**named)
    except (AssertionError, NameError, TypeError, ValueError) as error:
        first, *_ = str(error).splitlines()
        raise ConfigError("Slurm options", sorted(rest), f"others ({first})") from None
    try:
        jobs = executor.map_array(call, *columns)
    except FailedJobError:
        _refuse("it does not take the jobs; sbatch said why")
    where = folder.parent if folder.name == "%j" else folder
    print(f"Slurm job {number_of(jobs)}: {len(jobs)} to run, output in {where}", flush=True)
    _warn_without_accounting(number_of(jobs))
    return jobs


def number_of(jobs: Sequence[Any]) -> str:
    """The number of the job that all of them are part of; `scancel` takes it."""
    return jobs[0].job_id.partition("_")[0]


def _refuse(problem: str) -> NoReturn:
    print(f"protemb: Slurm: {problem}", file=sys.stderr)
    raise SystemExit(2)


def _warn_without_accounting(number: str) -> None:
    command = ["sacct", "-n", "-j", number]
    reason = ""
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        if asked.returncode:
            reason = (asked.stderr.strip().splitlines() or ["sacct failed"])[-1]
    except OSError:
        reason = "no program sacct here"
    if reason:
        print(f"protemb: {reason}. A job that is killed will be waited for.", file=sys.stderr)


def ended(jobs: Sequence[Any], what: str = "jobs") -> Iterator[tuple[int, Any]]:
    """Give the place and the result of each job when it has ended, a `JobLost` for a lost one.

    A job that Slurm puts back into its queue has not ended.
    """
    left = dict(enumerate(jobs))
    with counted_progress(what, len(jobs), 0, what) as advance:
        while left:
            over = {place: job for place, job in left.items() if job.done() or _taken(job)}
            back = _queued_again(over.values())
            found = [place for place, job in over.items() if job.job_id not in back]
            for place in found:
                yield place, _result(left.pop(place))
                advance(1)
            if not found:
                time.sleep(1)


def _taken(job: Any) -> bool:
    """Whether a job has lost its node to a failure, or to another job, without a result."""
    return job.state in TAKEN and not job.task(0).paths.result_pickle.exists()


def _queued_again(jobs: Iterable[Any]) -> Collection[str]:
    """Of jobs that seem to have ended, those that have left their node and go on.

    `sacct` shows the failure until such a job begins again. submitit would take a failed node for
    the end, and wait for ever for a job that had to go for another and is not put back.
    """
    taken = {job.job_id for job in jobs if _taken(job)}
    if not taken:
        return ()
    time.sleep(PAUSE)
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return taken if asked.returncode else taken & set(asked.stdout.split())


def _result(job: Any) -> Any:
    """What the job's first task returned."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    if _taken(job):
        return JobLost(job.job_id, job.state, str(job.task(0).paths.stderr))
    try:
        return job.task(0).result()
    except FailedJobError as error:
        # An exception that the job did not handle: the last line of its traceback.
        lines = [line for line in str(error).split("-" * 22)[1].splitlines() if line.strip()]
        return JobLost(job.job_id, lines[-1], str(job.task(0).paths.stderr))
    except UncompletedJobError:
        return JobLost(job.job_id, job.state, str(job.task(0).paths.stderr))
