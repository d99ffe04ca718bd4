"""The processes of a campaign: none but this one, several on this machine, or ray's."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from gammapy.utils.parallel import run_multiprocessing

__all__ = ["run_tasks"]


def run_tasks(function, tasks, n_jobs, backend):
    """Run a function on each of some tasks.

    Parameters
    ----------
    function : callable
        Takes a task.
    tasks : list
        Tasks.
    n_jobs : int
        Processes.
    backend : {"multiprocessing", "ray"}
        Where they run.

    Returns
    -------
    results : list
        What the function gives, in the order of the tasks.

    Raises
    ------
    ChildProcessError
        If one of the processes was killed.
    """
    if backend == "ray":
        return _on_ray(function, tasks, n_jobs)
    # processes of a pool may have none of their own
    if n_jobs == 1 or multiprocessing.current_process().daemon:
        return [function(task) for task in tasks]
    # gammapy's pool would wait for a process that was killed until the end of time
    try:
        with ProcessPoolExecutor(n_jobs, initializer=_start_worker) as pool:
            return list(pool.map(function, tasks))
    except BrokenProcessPool as error:
        raise ChildProcessError(
            f"one of the {n_jobs} processes was killed, for lack of memory perhaps: "
            "run it again, with fewer of them; what is done is kept"
        ) from error


def _start_worker():
    """Prepare a process to end with the campaign, however that ends."""
    # an interrupt from the keyboard goes to all; the campaign alone answers it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGPIPE"):
        # the campaign was killed and takes no results: end without a word
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def _on_ray(function, tasks, n_jobs):
    data = os.environ.get("GAMMAPY_DATA")
    data = None if data is None else os.path.abspath(data)
    return run_multiprocessing(
        function,
        [(task,) for task in tasks],
        backend="ray",
        pool_kwargs={
            "processes": n_jobs,
            "initializer": _start_ray_worker,
            "initargs": [data],
        },
        method="starmap",
        method_kwargs={"chunksize": 1},
    )


def _start_ray_worker(data):
    """Let a process of a cluster read catalogs where the campaign would.

    It has the environment of the shell that started the cluster.
    """
    os.environ.pop("GAMMAPY_DATA", None)
    if data is not None:
        os.environ["GAMMAPY_DATA"] = data
