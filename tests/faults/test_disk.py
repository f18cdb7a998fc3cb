"""A disk that is full or read-only: one line, nothing half-written, and later it goes on."""

import os
import subprocess

import pytest
from kills import GRID, Job, check_whole, run_facts, write_proteins
from started import Started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = [
    *("trainer=cpu", "trainer.enable_progress_bar=false", "trainer.max_epochs=2"),
    *("data.source.sequences_per_host=30", "encoder.embed_dim=8", "encoder.hidden_dim=16"),
    *("replicates=20", "baselines=false"),
]


class Disk:
    """A file system of a size of its own."""

    def __init__(self, root):
        self.root = root
        root.mkdir()
        self._mount("tmpfs", str(root), "-t", "tmpfs", "-o", "size=64k")

    def resize(self, kilobytes):
        self._mount(str(self.root), "-o", f"remount,rw,size={kilobytes}k")

    def freeze(self):
        self._mount(str(self.root), "-o", "remount,ro")

    def close(self):
        subprocess.run(["umount", "-l", self.root], check=True)

    @staticmethod
    def _mount(*words):
        subprocess.run(["mount", *words], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path):
    try:
        made = Disk(tmp_path / "disk")
    except (OSError, subprocess.CalledProcessError) as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must be able to mount a small disk: {error}")
        pytest.skip(f"only root can mount a small disk: {error}")
    yield made
    made.close()


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    return write_proteins(
        tmp_path_factory.mktemp("proteins") / "proteins.fasta", number=999, longest=99
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A root folder with one finished run."""
    root = tmp_path_factory.mktemp("trained")
    process = Started("train.py", *SMALL, f"paths.root={root}")
    assert process.wait() == 0, process.said()
    return root


def train_job():
    return Job(
        lambda root: Started("train.py", *SMALL, f"paths.root={root}"),
        lambda root: [run_facts(path.parent) for path in root.glob("runs/**/result.json")],
    )


def embed_job(trained, fasta):
    (run,) = (path.parent for path in trained.glob("runs/**/result.json"))
    command = ["embed", run, fasta, "--residues", 4000, "-o"]
    return Job(
        lambda root: Started("protemb.cli", *command, root / "vectors.h5"),
        lambda root: (root / "vectors.h5").read_bytes(),
    )


def grid_job():
    return Job(
        lambda root: Started("variants.py", *GRID, f"paths.root={root}"),
        lambda root: [path.read_bytes() for path in root.glob("runs/**/predictions.parquet")],
    )


@pytest.fixture(params=["train", "embed", "variants"])
def job(request, trained, fasta):
    make = {
        "train": train_job,
        "embed": lambda: embed_job(trained, fasta),
        "variants": grid_job,
    }
    return make[request.param]()


def refused(process, reason):
    """It ended by itself with one line that gives the reason."""
    out, err = process.communicate(120)
    said = [line for line in err.splitlines() if line.startswith("protemb: ")]
    assert process.returncode == 2 and "Traceback" not in err, err
    assert len(said) == 1 and reason in said[0], err


def test_a_full_disk(job, disk, tmp_path):
    (tmp_path / "straight").mkdir()
    assert job.start(tmp_path / "straight").wait() == 0
    failures, size = 0, 8
    while True:
        disk.resize(size)
        process = job.start(disk.root)
        if process.wait() == 0:
            break
        refused(process, "No space left on device")
        check_whole(disk.root)
        failures, size = failures + 1, size * 2
    assert failures >= 3
    assert job.facts(disk.root) == job.facts(tmp_path / "straight")


def test_a_disk_that_cannot_be_written(job, disk, tmp_path):
    disk.freeze()
    refused(job.start(disk.root), "Read-only file system")
    disk.resize(20_000)
    process = job.start(disk.root)
    assert process.wait() == 0, process.said()
