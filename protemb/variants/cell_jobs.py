"""Many computations on several processes; each result is kept as soon as it is there."""

import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits

from protemb.claims import HeldElsewhere, claim
from protemb.files import whole_file

Arrays = dict[str, np.ndarray]

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._()+-]*")


def evaluate_cells(
    jobs: Mapping[str, Callable[[], Arrays]],
    workers: int,
    folder: str | Path,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Arrays]:
    """Run every job whose result is not there yet; killed anywhere, the same call goes on.

    A job runs in a process of its own with numerical libraries on one thread: two processes on two
    cores are faster than two threads in one. A result is written whole, as folder/<key>.npz; one
    that is there and can be read is taken as it is, so name `folder` by all that the results
    depend on. What another process computes at the same time is left for last, and waited for.
    Nothing is pickled but the jobs themselves on their way to the processes: let them
    open what is large (memory maps) when they run.

    Args:
        jobs: by key: a function without arguments that returns named arrays. Closures and
            `functools.partial` will do.
        workers: processes; 1 for this one.
        folder: where results are kept; made where it is missing.
        progress: called with a number of jobs whenever so many more are done.

    Returns:
        The arrays of each job, in the order of `jobs`.

    Raises:
        ValueError: a key that is no plain file name.
    """
    for key in jobs:
        if not _KEY.fullmatch(key):
            raise ValueError(f"jobs: got the key {key!r}, expected letters, digits and ._()+-")
    paths = {key: Path(folder) / f"{key}.npz" for key in jobs}
    found = {key: arrays for key, path in paths.items() if (arrays := _read(path)) is not None}
    report = progress or (lambda number: None)
    if found:
        report(len(found))
    missing = [key for key in jobs if key not in found]
    with parallel_config("loky", inner_max_num_threads=1):
        runs = Parallel(n_jobs=max(1, min(workers, len(missing))), return_as="generator_unordered")
        left = missing
        for wait in (False, True):
            elsewhere = []
            for key in runs(delayed(_run)(key, jobs[key], paths[key], wait) for key in left):
                if key is None:
                    report(1)
                else:
                    elsewhere.append(key)
            left = elsewhere
    for key in missing:
        found[key] = _load(paths[key])
    return {key: found[key] for key in jobs}


def _run(key: str, job: Callable[[], Arrays], path: Path, wait: bool) -> str | None:
    """None once the result is there; the key where another process is at it."""
    lock = path.with_name(f".{key}.lock")
    try:
        with claim(lock, wait):
            if _read(path) is None:
                with threadpool_limits(1):
                    arrays = job()
                with whole_file(path) as part:
                    np.savez_compressed(part, allow_pickle=False, **arrays)
            lock.unlink(missing_ok=True)
    except HeldElsewhere:
        return key
    return None


def _read(path: Path) -> Arrays | None:
    """What an earlier call left; None where there is nothing, or nothing whole."""
    try:
        return _load(path)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None


def _load(path: Path) -> Arrays:
    # Opened here, as numpy leaves a damaged file open.
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
