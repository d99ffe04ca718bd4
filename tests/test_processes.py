"""Tasks in processes: in order, few at once, and nobody waits forever."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from helpers.campaigns import settings, write_config

from gammapy_mimic.campaign.interrupts import Interrupts, interrupts_between_mimics
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


def _slowly(path):
    path.touch()
    time.sleep(0.2)


class TestInterrupts:
    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_two(self, tmp_path, n_jobs):
        """They are raised once, between two tasks, whenever they come."""
        paths = [tmp_path / str(number) for number in range(50)]
        done = []

        def interrupted():
            tasks = run_tasks(_slowly, iter(paths), n_jobs, "multiprocessing")
            with (
                interrupts_between_mimics("multiprocessing") as interrupts,
                closing(tasks),
            ):
                for item in interrupts.between(tasks):
                    done.append(item)
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(0.01)
                    os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert len(done) == 1
        number = len(list(tmp_path.iterdir()))
        assert number < 10
        time.sleep(0.5)
        assert len(list(tmp_path.iterdir())) == number
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_one_that_comes_last(self):
        """Nobody's Ctrl-C is lost."""

        def interrupted():
            with interrupts_between_mimics("multiprocessing"):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)

        with pytest.raises(KeyboardInterrupt):
            interrupted()

    def test_impatient_user(self, monkeypatch):
        """The second one is raised at once if the first was long ago."""
        times = iter([10.0, 10.5, 11.5])
        monkeypatch.setattr(time, "monotonic", lambda: next(times))
        interrupts = Interrupts()
        interrupts.note()
        interrupts.note()
        with pytest.raises(KeyboardInterrupt):
            interrupts.note()

    def test_those_that_are_ignored(self):
        """As after nohup, or where somebody has an answer of his own."""
        old = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with interrupts_between_mimics("multiprocessing"):
                assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGINT, old)

    @pytest.mark.parametrize("group", [False, True])
    def test_command(self, tiny_store, tmp_path, group):
        """Two Ctrl-C, 10 ms apart, to the campaign or to all of its processes."""
        donors = {"obs_ids": [3, 4, 5]}
        content = settings(tiny_store, tmp_path / "out", donors=donors, n_mimics=3)
        config = write_config(tmp_path / "c.yaml", content)
        code = "from gammapy_mimic.cli import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, "run", config, "-j", "2"],
            start_new_session=True,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not list(tmp_path.glob("out/mimic_*/*.fits")):
            time.sleep(0.001)
            assert process.poll() is None
        kill = os.killpg if group else os.kill
        kill(process.pid, signal.SIGINT)
        time.sleep(0.01)
        kill(process.pid, signal.SIGINT)
        assert "Traceback" not in process.communicate(timeout=60)[1]
        assert process.returncode == 1
        assert not list(tmp_path.rglob("*.tmp"))
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)


@pytest.mark.parametrize(
    ("method", "is_guarded"), [("spawn", False), ("forkserver", True)]
)
def test_script_without_guard(tiny_store, tmp_path, method, is_guarded):
    """It is named, and is not taken for a lack of memory."""
    donors = {"obs_ids": [3, 4, 5]}
    content = settings(tiny_store, tmp_path / "out", donors=donors, n_mimics=1)
    config = write_config(tmp_path / "c.yaml", content)
    lines = [
        "import multiprocessing",
        "from gammapy_mimic import MimicCampaign",
        f"multiprocessing.set_start_method({method!r}, force=True)",
        f"print(MimicCampaign.from_yaml({str(config)!r}).run(n_jobs=2).summary())",
    ]
    if is_guarded:
        lines[2:2] = ["if __name__ == '__main__':"]
        lines[3:] = [f"    {line}" for line in lines[3:]]
    script = tmp_path / "script.py"
    script.write_text("\n".join(lines))
    result = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120
    )
    if is_guarded:
        assert "1 mimic set with 2 runs (2 made, 0 kept)" in result.stdout
        return
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("ChildProcessError: no process could be started: a script")
    assert 'has to guard its calls by "if __name__ == "__main__":"' in last
    assert "lack of memory" not in result.stderr
    assert "another campaign" not in result.stderr
    assert not list(Path(tmp_path).rglob("*.tmp"))
