"""Tasks in processes: in order, few at once, and nobody waits forever."""

import os
import signal
import time
from contextlib import closing

import pytest

from gammapy_mimic.campaign.processes import run_tasks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def _twice(number):
    return 2 * number


def _fail_at_3(number):
    if number == 3:
        raise OSError("no space")
    return number


def _die_at_3(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize(("n_jobs", "most"), [(1, 1), (2, 64)])
def test_order_and_number_in_advance(n_jobs, most):
    """Memory does not grow with the number of tasks."""
    taken = []

    def tasks():
        for number in range(300):
            taken.append(number)
            yield number

    found = []
    for task, result in run_tasks(_twice, tasks(), n_jobs, "multiprocessing"):
        assert len(taken) - len(found) <= most
        found.append(task)
        assert result == 2 * task
    assert found == taken == list(range(300))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_no_tasks(n_jobs):
    assert list(run_tasks(_twice, iter([]), n_jobs, "multiprocessing")) == []


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_error(n_jobs):
    with pytest.raises(OSError, match="no space"):
        list(run_tasks(_fail_at_3, iter(range(200)), n_jobs, "multiprocessing"))


def test_killed():
    with pytest.raises(ChildProcessError, match="one of the 2 processes was killed"):
        list(run_tasks(_die_at_3, iter(range(200)), 2, "multiprocessing"))


def _touch(path):
    path.touch()


def test_nobody_works_when_closed(tmp_path):
    paths = iter([tmp_path / str(number) for number in range(500)])
    with closing(run_tasks(_touch, paths, 2, "multiprocessing")) as done:
        next(done)
    number = len(list(tmp_path.iterdir()))
    assert 1 <= number < 500
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) == number
