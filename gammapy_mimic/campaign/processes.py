"""The processes of a campaign: none but this one, several on this machine, or ray's."""

import gc
import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from gammapy.utils.parallel import run_multiprocessing

__all__ = ["run_tasks"]

_N_WAITING = 32
"""Tasks per process that are taken in advance."""

_N_RAY = 1024
"""Tasks per process of ray's pool, which is started again for each such batch."""


def run_tasks(function, tasks, n_jobs, backend):
    """Run a function on each of some tasks.

    Parameters
    ----------
    function : callable
        Takes a task.
    tasks : iterator
        Tasks; few are taken in advance.
    n_jobs : int
        Processes.
    backend : {"multiprocessing", "ray"}
        Where they run.

    Yields
    ------
    task, result : object
        Each task in its turn, and what the function gives for it. No process is at
        work any longer when the generator is closed.

    Raises
    ------
    ChildProcessError
        If one of the processes was killed.
    """
    if backend == "ray":
        return _on_ray(function, tasks, n_jobs)
    # processes of a pool may have none of their own
    if n_jobs == 1 or multiprocessing.current_process().daemon:
        return ((task, function(task)) for task in tasks)
    return _in_processes(function, tasks, n_jobs)


def _in_processes(function, tasks, n_jobs):
    """Tasks in a pool: gammapy's would wait for a process that was killed forever."""
    pool, waiting = ProcessPoolExecutor(n_jobs, initializer=_start_worker), deque()
    try:
        while True:
            for task in itertools.islice(tasks, n_jobs * _N_WAITING - len(waiting)):
                waiting.append((task, pool.submit(function, task)))
            if not waiting:
                return
            task, future = waiting.popleft()
            yield task, future.result()
    except BrokenProcessPool as error:
        raise ChildProcessError(
            f"one of the {n_jobs} processes was killed, for lack of memory perhaps: "
            "run it again, with fewer of them; what is done is kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker():
    """Prepare a process to end with the campaign, however that ends."""
    # an interrupt from the keyboard goes to all; the campaign alone answers it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGPIPE"):
        # the campaign was killed and takes no results: end silently
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # what was there before is never garbage, and stays in memory that is shared
    gc.freeze()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def _on_ray(function, tasks, n_jobs):
    data = os.environ.get("GAMMAPY_DATA")
    data = None if data is None else os.path.abspath(data)
    options = {"initializer": _start_ray_worker, "initargs": [data]}
    while batch := list(itertools.islice(tasks, n_jobs * _N_RAY)):
        results = run_multiprocessing(
            function,
            [(task,) for task in batch],
            backend="ray",
            pool_kwargs={"processes": n_jobs, **options},
            method="starmap",
            method_kwargs={"chunksize": 1},
        )
        yield from zip(batch, results, strict=True)


def _start_ray_worker(data):
    """Let a process of a cluster read catalogs where the campaign would.

    It has the environment of the shell that started the cluster.
    """
    os.environ.pop("GAMMAPY_DATA", None)
    if data is not None:
        os.environ["GAMMAPY_DATA"] = data
