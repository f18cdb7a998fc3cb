import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from protemb.errors import ConfigError
from protemb.variants.cell_jobs import evaluate_cells


def jobs_of(folder, number, seconds=0.0):
    """Jobs that leave a line for each time they run."""

    def job(place):
        with open(folder / "log", "a", encoding="ascii") as log:
            log.write(f"{place}\n")
        time.sleep(seconds)
        return {"direct_SN": np.full((2, 3), float(place)), "process": np.array(os.getpid())}

    return {f"cell-{place}.(x)": lambda place=place: job(place) for place in range(number)}


def runs(folder):
    return sorted(int(line) for line in (folder / "log").read_text().split())


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_runs_once_and_results_stand_in_order(tmp_path, workers):
    done = []
    for _ in range(2):  # the second call finds everything there
        found = evaluate_cells(jobs_of(tmp_path, 5), workers, tmp_path / "out", done.append)
        assert list(found) == [f"cell-{place}.(x)" for place in range(5)]
        for place, arrays in enumerate(found.values()):
            np.testing.assert_array_equal(arrays["direct_SN"], np.full((2, 3), place))
    assert runs(tmp_path) == [0, 1, 2, 3, 4]
    assert sum(done) == 10
    processes = {int(arrays["process"]) for arrays in found.values()}
    assert (os.getpid() in processes) == (workers == 1)
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".npz"] * 5


@pytest.mark.parametrize("workers", [1, 2])
def test_libraries_have_one_thread_in_a_job(tmp_path, workers):
    def job():
        threads = [library["num_threads"] for library in threadpool_info()]
        return {"threads": np.array(threads)}

    with threadpool_limits(2):  # whatever the environment says
        found = evaluate_cells({"a": job, "b": job}, workers, tmp_path)
    for arrays in found.values():
        assert arrays["threads"].size and (arrays["threads"] == 1).all()


def test_damaged_results_are_made_anew(tmp_path):
    jobs = jobs_of(tmp_path, 4)
    evaluate_cells(jobs, 1, tmp_path)
    paths = [tmp_path / f"{key}.npz" for key in jobs]
    paths[0].write_bytes(paths[0].read_bytes()[:-30])
    paths[1].write_bytes(b"")
    raw = bytearray(paths[2].read_bytes())
    raw[len(raw) // 3] ^= 0xFF
    paths[2].write_bytes(raw)
    found = evaluate_cells(jobs, 1, tmp_path)
    assert runs(tmp_path) == [0, 0, 1, 1, 2, 2, 3]
    for place, arrays in enumerate(found.values()):
        assert (arrays["direct_SN"] == place).all()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_out_and_finished_jobs_stay(tmp_path, workers):
    jobs = jobs_of(tmp_path, 2)

    def broken():
        time.sleep(0.5)
        raise ConfigError("regressor", "magic", "another")

    with pytest.raises(ConfigError, match="regressor: got 'magic', expected another"):
        evaluate_cells(jobs | {"broken": broken}, workers, tmp_path / "out")
    evaluate_cells(jobs, workers, tmp_path / "out")
    assert runs(tmp_path) == [0, 1]


@pytest.mark.parametrize("key", ["a/b", "../a", "", ".hidden", "a b", "a\n"])
def test_keys_that_are_no_names_are_refused(tmp_path, key):
    with pytest.raises(ValueError, match="jobs: got the key"):
        evaluate_cells({key: dict}, 1, tmp_path)
    assert list(tmp_path.iterdir()) == []


SLOW = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_cell_jobs import jobs_of
from protemb.variants.cell_jobs import evaluate_cells
folder = Path(sys.argv[2])
evaluate_cells(jobs_of(folder, 8, seconds=0.3), 2, folder / "out")
"""


def test_killed_it_goes_on(tmp_path):
    arguments = [sys.executable, "-c", SLOW, os.path.dirname(__file__), str(tmp_path)]
    process = subprocess.Popen(arguments, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "out").glob("[!.]*.npz"))) < 2:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with its workers
        process.wait()
    whole = {path.stem for path in (tmp_path / "out").glob("[!.]*.npz")}
    assert 2 <= len(whole) < 8
    before = runs(tmp_path)
    found = evaluate_cells(jobs_of(tmp_path, 8), 2, tmp_path / "out")
    again = list(runs(tmp_path))
    for place in before:
        again.remove(place)
    assert {f"cell-{place}.(x)" for place in again} == set(found) - whole
    assert all((arrays["direct_SN"] == n).all() for n, arrays in enumerate(found.values()))
