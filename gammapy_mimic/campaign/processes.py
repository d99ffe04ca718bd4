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

from gammapy_mimic.campaign.interrupts import without_interrupts

__all__ = ["check_main_is_guarded", "run_tasks"]

_GUARD = (
    "a script that makes mimics in several processes has to guard its calls by "
    '"if __name__ == "__main__":", as processes import it here'
)

_N_WAITING = 32
"""Tasks per process that are taken in advance."""

_STARTED, _STOP = 0, 1
"""What the campaign and its processes tell each other, by place in an array."""

_worker_flags = (True, False)
"""Of this process; shared if it belongs to a campaign."""


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


def check_main_is_guarded():
    """Raise RuntimeError in a process that is just importing the script of another."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(f"{_GUARD}: this process was about to run it again")


def _in_processes(function, tasks, n_jobs):
    """Tasks in a pool: gammapy's would wait for a process that was killed forever."""
    others = set(multiprocessing.active_children())
    # without locks, which a killed process could leave held
    flags = multiprocessing.RawArray("b", 2)
    pool = ProcessPoolExecutor(n_jobs, initializer=_start_worker, initargs=(flags,))
    waiting = deque()
    try:
        while True:
            for task in itertools.islice(tasks, n_jobs * _N_WAITING - len(waiting)):
                with without_interrupts():
                    future = pool.submit(_unless_stopped, function, task)
                waiting.append((task, future))
            if not waiting:
                return
            task, future = waiting.popleft()
            yield task, future.result()
    except BrokenProcessPool as error:
        if not flags[_STARTED]:
            raise ChildProcessError(f"no process could be started: {_GUARD}") from error
        raise ChildProcessError(
            f"one of the {n_jobs} processes was killed, for lack of memory perhaps: "
            "run it again, with fewer of them; what is done is kept"
        ) from error
    finally:
        flags[_STOP] = True
        _shut_down(pool, others)


def _shut_down(pool, others):
    """End a pool after the tasks at work, or at once if the user does not wait."""
    try:
        pool.shutdown(cancel_futures=True)
    except KeyboardInterrupt:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
            process.join()
        raise


def _unless_stopped(function, task):
    """Run a function; not on tasks that were on their way when the pool was ended."""
    return None if _worker_flags[_STOP] else function(task)


def _start_worker(flags):
    """Prepare a process to end with the campaign, however that ends."""
    global _worker_flags
    _worker_flags = flags
    flags[_STARTED] = True
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
    """Tasks of ray, which starts those again whose machine is lost."""
    import ray

    if not ray.is_initialized():
        ray.init()
    # a process of a cluster has the environment of the shell that started it
    data = os.environ.get("GAMMAPY_DATA")
    variables = {} if data is None else {"GAMMAPY_DATA": os.path.abspath(data)}
    remote = ray.remote(_with_variables).options(max_retries=-1)
    waiting, running = deque(), []
    try:
        for task in tasks:
            if len(running) == n_jobs:
                _, running = ray.wait(running)
            running.append(remote.remote(function, task, variables))
            waiting.append((task, running[-1]))
            while waiting[0][1] not in running:
                first, result = waiting.popleft()
                yield first, ray.get(result)
        for task, result in waiting:
            yield task, ray.get(result)
    finally:
        for result in running:
            ray.cancel(result)
        if running:
            ray.wait(running, num_returns=len(running))


def _with_variables(function, task, variables):
    """Run a function in a process of a cluster."""
    os.environ.pop("GAMMAPY_DATA", None)
    os.environ.update(variables)
    return function(task)
