"""A real Slurm on this machine, for the tests of this folder."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "slurm_local.sh"


@dataclass(frozen=True)
class Cluster:
    """A running Slurm.

    Attributes:
        folder: everything of it lies there.
    """

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What its programs are to find it by."""
        return {"SLURM_LOCAL_DIR": str(self.folder), "SLURM_CONF": str(self.folder / "slurm.conf")}

    def run(self, *command: str | Path) -> str:
        """Run a command on it; its output."""
        environment = os.environ | self.environment
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def start(self) -> None:
        """Start it, or what of it does not run any more: two nodes of two CPUs each."""
        self.run(SCRIPT, "start", "2", "2", "8192")

    def states(self) -> dict[str, str]:
        """State of every job in the queue, by its number."""
        lines = self.run("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def hurry(self) -> None:
        """Let requeued jobs begin at once; Slurm holds them back for two minutes."""
        lines = self.run("squeue", "--noheader", "--array", "--format=%i %r").splitlines()
        for job, reason in (line.split(maxsplit=1) for line in lines):
            if reason == "BeginTime":
                subprocess.run(
                    ["scontrol", "update", f"jobid={job}", "StartTime=now"],
                    env=os.environ | self.environment,
                    capture_output=True,
                    check=False,  # it may have begun in between
                )

    def kill(self, job: str, daemons: bool = False) -> None:
        """Kill all processes of a job, here on the same machine; with daemons as its node fails."""
        array, _, task = job.partition("_")
        ours = {f"SLURM_ARRAY_JOB_ID={array}", f"SLURM_ARRAY_TASK_ID={task}"}
        ours.add(f"SLURM_CONF={self.folder / 'slurm.conf'}")
        found: set[int] = set()
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if ours <= {f"{name}={value}" for name, value in process.environ().items()}:
                    found |= {process.pid} | ({process.ppid()} if daemons else set())
        if daemons:
            node = self.run("squeue", "--noheader", f"--job={job}", "--format=%N").strip()
            os.kill(int((self.folder / "run" / f"slurmd-{node}").read_text()), signal.SIGKILL)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if daemons:
            # Slurm finds that out by itself, some time later.
            self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=killed")


@pytest.fixture(scope="session")
def slurm(
    program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Two nodes of two CPUs each; CI must have Slurm, a user need not."""
    for name in ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd"):
        program(name)
    if os.geteuid():
        assert not os.environ.get("CI"), "only root can start Slurm"
        pytest.skip("only root can start Slurm")
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    cluster.start()
    yield cluster
    cluster.run(SCRIPT, "stop")


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Wait until something is so."""

    def wait(happens: Callable[[], object], meanwhile: Callable[[], object] = lambda: None) -> None:
        deadline = time.monotonic() + 120
        while not happens():
            meanwhile()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    return wait
