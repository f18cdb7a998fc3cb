"""Programs as processes of their own, without paying for their imports each time.

A process that has imported torch, Lightning and the rest is forked for every start: what a test
gets is a process with its own memory, signals, output and exit code, some seconds earlier.
"""

import atexit
import multiprocessing
import os
import runpy
import shutil
import signal
import sys
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from subprocess import TimeoutExpired

ROOT = Path(__file__).parents[2]
# What the entry points import once they have a job.
IMPORTED = [
    "torch",
    "torchmetrics",
    "pytorch_lightning",
    "hydra",
    "pyarrow.parquet",
    "scipy.stats",
    "sklearn.linear_model",
    "matplotlib.figure",
    "h5py",
]


class Started:
    """A running program, with those methods of `subprocess.Popen` that tests need.

    Args:
        program: a script, such as train.py; a module, such as protemb.cli; or -c.
        arguments: of its command line; after -c, the first one is the code.
        cwd: folder that it runs in.
        environment: changes to this process's environment.
        session: it leads a process group of its own, which a signal can reach as a whole.
    """

    def __init__(
        self,
        program: str,
        *arguments: object,
        cwd: Path = ROOT,
        environment: Mapping[str, str] | None = None,
        session: bool = False,
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTED)
        self.args = [program, *map(str, arguments)]
        self._folder = tempfile.mkdtemp(prefix="started-")
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        values = {**os.environ, "COLUMNS": "200", **(environment or {})}
        options = (self.args, str(cwd), values, self._folder, session)
        self._process = context.Process(target=_become, args=options)
        self._process.start()
        self.pid: int = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        """Exit code; minus the signal's number, where one ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.returncode

    def wait(self, timeout: float = 120) -> int:
        """Wait for the end; the exit code."""
        self._process.join(timeout)
        if self.returncode is None:
            raise TimeoutExpired(self.args, timeout)
        return self.returncode

    def communicate(self, timeout: float = 120) -> tuple[str, str]:
        """Wait for the end; all of its output and its errors."""
        self.wait(timeout)
        return self.said()

    def said(self) -> tuple[str, str]:
        """Output and errors so far."""
        out, err = (Path(self._folder, name) for name in ("out", "err"))
        return out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def _become(
    arguments: list[str], cwd: str, environment: dict[str, str], folder: str, session: bool
) -> None:
    """In the forked process: be `python PROGRAM ARGUMENTS`."""
    for stream, name in ((1, "out"), (2, "err")):
        file = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, stream)
        os.close(file)
    if session:
        os.setsid()
    # A background job of a shell ignores Ctrl-C, and so would its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    program = arguments[0]
    sys.argv = list(arguments)
    try:
        if program == "-c":
            del sys.argv[1]
            exec(compile(arguments[1], "-c", "exec"), {"__name__": "__main__"})
        elif program.endswith(".py"):
            sys.path.insert(0, str(ROOT))
            runpy.run_path(program, run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    finally:
        # Such a process ends without those.
        atexit._run_exitfuncs()
