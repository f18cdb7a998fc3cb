"""`protemb embed --launcher local`: shares of an input in processes, one table of all."""

import os
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest
from started import Started

from protemb.apps.sharding import output_path, slurm_options
from protemb.apps.slurm import submit
from protemb.cli import main, parser
from protemb.errors import ConfigError
from protemb.vectors.table import VectorTable

pytestmark = pytest.mark.xdist_group("shards")

RECORDS = 90


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Folder of a small trained run."""
    root = tmp_path_factory.mktemp("model")
    options = ["trainer=cpu", "trainer.max_epochs=1", "baselines=false", "figures=false"]
    options += ["replicates=20", "data.source.sequences_per_host=20", "encoder.hidden_dim=8"]
    process = Started("train.py", *options, f"paths.root={root}")
    assert process.wait() == 0, process.said()
    (path,) = root.glob("runs/demo/*/result.json")
    return path.parent


@pytest.fixture
def fasta(tmp_path):
    rng = np.random.default_rng(0)
    lines = []
    for number in range(RECORDS):
        letters = rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), rng.integers(20, 400))
        lines += [f">P{number}", "".join(letters)]
    path = tmp_path / "all.fasta"
    path.write_text("\n".join(lines) + "\n")
    return path


def assert_equal(found, expected):
    ours, theirs = VectorTable.read(found), VectorTable.read(expected)
    assert ours.ids == theirs.ids
    np.testing.assert_allclose(ours.vectors_ND, theirs.vectors_ND, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_shares_that_fail_are_named_and_computed_by_the_same_command(model, fasta, tmp_path, capfd):
    embed = ["embed", str(model), str(fasta), "--pooling", "mean"]
    main([*embed, "-o", str(tmp_path / "whole.h5")])
    folder = tmp_path / "vectors"
    (folder / "vectors.2-of-3.h5").mkdir(parents=True)
    sharded = [*embed, "-o", f"{folder}/", "--launcher", "local", "--shards", "3"]
    capfd.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main(sharded)
    assert stopped.value.code == 1
    err = capfd.readouterr().err
    assert "protemb: shard 2/3: --output: got" in err and "shard 1/3" not in err
    assert "1 of 3 shards failed; the same command computes them alone." in err
    assert not (folder / "vectors.h5").exists()
    written = {n: (folder / f"vectors.{n}-of-3.h5").stat().st_mtime_ns for n in (1, 3)}

    (folder / "vectors.2-of-3.h5").rmdir()
    main(sharded)
    out = capfd.readouterr().out
    assert "Done already: 2 of 3 shards\n" in out
    assert f"{RECORDS} records, each once, from 3 shards that can go now: " in out
    assert written == {n: (folder / f"vectors.{n}-of-3.h5").stat().st_mtime_ns for n in (1, 3)}
    assert_equal(folder / "vectors.h5", tmp_path / "whole.h5")
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"vectors.{n}-of-3.h5" for n in (1, 2, 3)),
        "vectors.h5",
    ]
    main(sharded)
    assert capfd.readouterr().out == f"Done already: {folder / 'vectors.h5'}\n"


@pytest.mark.slow
def test_a_killed_process_is_named(model, fasta, eventually, tmp_path):
    output = tmp_path / "vectors.parquet"
    process = Started(
        *("protemb.cli", "embed", model, fasta, "-o", output),
        *("--launcher", "local", "--shards", "2"),
    )
    eventually(lambda: workers(process))
    victim = workers(process)[0]
    os.kill(victim, signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 1, (out, err)
    assert ": killed by SIGKILL\n" in err and "1 of 2 shards failed" in err
    assert not output.exists() and not list(tmp_path.rglob(".part-*"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_first_one(model, fasta, eventually, tmp_path, number):
    process = Started(
        *("protemb.cli", "embed", model, fasta, "-o", tmp_path / "vectors.h5"),
        *("--launcher", "local", "--shards", "2"),
        session=True,
    )
    eventually(lambda: len(workers(process)) == 2)
    others = workers(process)
    if number == signal.SIGINT:  # of the keyboard, to all of them
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, err = process.communicate()
    eventually(lambda: not any(map(psutil.pid_exists, others)))
    assert "Traceback" not in err, err


def workers(process):
    """Processes that compute shares of an input."""
    try:
        children = psutil.Process(process.pid).children()
        return [each.pid for each in children if "spawn_main" in " ".join(each.cmdline())]
    except psutil.NoSuchProcess:
        return []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--shards", "2"], "--shards: got 2, expected --launcher and --shards"),
        (["--launcher", "local"], "--launcher: got 'local', expected --launcher and --shards"),
        (["--launcher", "local", "--shards", "2", "--shard", "1/2"], "--shard: got '1/2'"),
        (["--slurm", "mem_gb=4"], "--slurm: got 'mem_gb=4', expected --launcher slurm"),
        (
            ["--launcher", "slurm", "--shards", "2", "--slurm", "gpu"],
            "--slurm: got 'gpu', expected key=value",
        ),
        (
            ["--launcher", "local", "--shards", "2", "--legacy-batches", "4"],
            "--legacy-batches: got 4, expected plain vectors",
        ),
    ],
)
def test_options_that_do_not_go_together_are_named(more, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["embed", "model", "all.fasta", "-o", str(tmp_path / "out.h5"), *more])
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith(f"protemb: {message}") and err.count("\n") == 1


def test_what_slurm_is_asked_for(tmp_path, monkeypatch):
    command = ["embed", "m", "f", "-o", "v/", "--launcher", "slurm", "--shards", "2"]
    plain = slurm_options(parser().parse_args(command))
    assert plain["additional_parameters"] == {"requeue": True}
    assert plain["max_num_timeout"] > 10 and "gpus_per_node" not in plain
    more = ["--device", "cuda", "--slurm", "partition=gpu", "--slurm", "timeout_min=30"]
    asked = slurm_options(parser().parse_args([*command, *more]))
    assert asked == plain | {"gpus_per_node": 1, "partition": "gpu", "timeout_min": 30}
    with pytest.raises(ConfigError, match=r"Slurm options.*mem_gb"):
        slurm = slurm_options(parser().parse_args([*command, "--slurm", "mem_gb=16G"]))
        monkeypatch.setattr("shutil.which", lambda name: name)
        submit(print, [[1]], tmp_path, slurm)
    with pytest.raises(ConfigError, match="--slurm"):
        slurm_options(parser().parse_args([*command, "--slurm", "=3"]))


def test_a_folder_gets_a_table_of_its_own(tmp_path):
    assert output_path(str(tmp_path)) == tmp_path / "vectors.h5"
    assert output_path("new/") == Path("new/vectors.h5")
    assert output_path("new.parquet") == Path("new.parquet")
