"""Start-up: processor seconds until help, a composed config, and the first training step.

Each command runs in a process of its own and is charged with all the processor time it used, its
threads and children included. The first training step ends the process through a hook of PyTorch
optimizers, so the measured run is `train.py` itself.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from _report import Row, arguments, interleave, use_one_core, write

from protemb.sequences.demo import write_demo_fasta

ROOT = Path(__file__).parents[1]
SMALL = ["data.source.sequences_per_host=30", "trainer=cpu", "resume=never"]
ONE_EPOCH = ["trainer.max_epochs=1", "baselines=false", "figures=false", "vectors=[]"]
UNTIL_FIRST_STEP = """
import os, runpy, sys
from torch.optim.optimizer import register_optimizer_step_post_hook
register_optimizer_step_post_hook(lambda *_: os._exit(0))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
sys.exit("no training step was made")
"""


def seconds_of(command: Sequence[str], home: str) -> float:
    """Processor time of one command, which must succeed."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PROTEMB_HOME": home},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed with exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure, print and write results/startup.json."""
    options = arguments(__doc__, rounds=5).parse_args()
    use_one_core()
    python, train = sys.executable, str(ROOT / "train.py")
    with tempfile.TemporaryDirectory() as home:
        run, fasta, vectors = (f"{home}/{name}" for name in ("run", "few.fasta", "vectors.npz"))
        write_demo_fasta(fasta, sequences_per_host=2)
        seconds_of([python, train, *SMALL, *ONE_EPOCH, f"hydra.run.dir={run}"], home)
        embed = [python, "-m", "protemb.cli", "embed", run, fasta, "-o", vectors]
        jobs = {
            "train.py --help": ([python, train, "--help"], "<= 0.4"),
            "train.py --cfg job": ([python, train, "--cfg", "job"], "<= 0.4"),
            "protemb embed, eight proteins": (embed, "<= 2.3"),
            "train.py, to the first step": (
                [python, "-c", UNTIL_FIRST_STEP, train, *SMALL],
                "<= 5.2",
            ),
            "for comparison, import torch": ([python, "-c", "import torch"], ""),
        }

        def measure(command: Sequence[str]) -> Callable[[], float]:
            seconds_of(command, home)  # once, for compiled modules and the disk cache
            return lambda: seconds_of(command, home)

        sides = {job: measure(command) for job, (command, _) in jobs.items()}
        values = interleave(sides, options.rounds)
    rows = [Row(job, "CPU s", values[job], target=target) for job, (_, target) in jobs.items()]
    write("startup", rows, ["hydra-core", "torch", "pytorch-lightning"])


if __name__ == "__main__":
    main()
