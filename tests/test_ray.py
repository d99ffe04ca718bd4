"""Campaigns with ray, on a cluster of this machine: the same as in one process."""

import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from astropy.table import Table
from helpers.campaigns import contents, settings, write_config
from helpers.ensembles import to_analyse
from helpers.runs import write_raw

from gammapy_mimic.matching import PairTable

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs ray"
)

TARGETS, DONORS = range(1, 5), range(5, 17)
TWO = ("--n-jobs", "2")
RAY = (*TWO, "--backend", "ray")
THREE = ("--n-jobs", "3", "--backend", "ray")
# files of the cluster's processes have another mode than those of the campaign's
CLUSTER_UMASK, UMASK = 0o077, 0o022
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # or ray listens to the whole network on Linux, whatever address it is given
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}


def program(name):
    return str(Path(sys.executable).with_name(name))


@pytest.fixture(scope="module")
def environment():
    """Variables of ray; the paths of its sockets must not be long."""
    others = {it: os.environ[it] for it in os.environ if not it.startswith("RAY_")}
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        yield {**others, **ENVIRONMENT, "RAY_TMPDIR": folder}


@contextmanager
def node(environment, folder, *options):
    """Start a node of a cluster."""
    command = [program("ray"), "start", "--block", *options]
    command += ["--node-ip-address=127.0.0.1", "--object-store-memory=100000000"]
    folder.mkdir(exist_ok=True)
    output = folder / "output"
    options = {"cwd": folder, "env": environment, "umask": CLUSTER_UMASK}
    with output.open("w") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, start_new_session=True, **options
        )
        while "Ray runtime started" not in output.read_text():
            assert process.poll() is None, output.read_text()
            time.sleep(0.1)
        yield process
        process.terminate()
        process.wait()


def lose(process):
    """Kill a node and its workers at once, as if its machine were lost."""
    command = ["/bin/ps", "-A", "-o", "pid=,ppid="]
    ps = subprocess.run(command, capture_output=True, text=True)
    pairs = [tuple(map(int, line.split())) for line in ps.stdout.splitlines()]
    lost = {process.pid}
    while more := {pid for pid, parent in pairs if parent in lost} - lost:
        lost |= more
    for pid in lost:
        os.kill(pid, signal.SIGKILL)


@contextmanager
def cluster(environment, folder, n_cpus):
    """Cluster that knows neither the campaign's folder nor where the data are."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--head", f"--port={port}", "--include-dashboard=false"]
    with node(environment, folder, *options, f"--num-cpus={n_cpus}"):
        yield f"127.0.0.1:{port}"


@contextmanager
def two_nodes(environment, folder):
    """Cluster of one CPU, and a node of two more: its address, and the node."""
    # ray takes a single node for the only one that has no network
    environment = {**environment, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
    with cluster(environment, folder / "head", 1) as address:
        options = ["--num-cpus=2", f"--address={address}"]
        with node(environment, folder / "node", *options) as other:
            yield address, other


@pytest.fixture(scope="module")
def address(environment, tmp_path_factory):
    with cluster(environment, tmp_path_factory.mktemp("cluster"), 2) as address:
        yield address


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs, and a catalog with one source 0.8 deg from their pointings."""
    path = tmp_path_factory.mktemp("campaigns")
    write_raw(["full"] * (len(TARGETS) + len(DONORS)), path / "raw", n_events=1000)
    (path / "data" / "catalogs").mkdir(parents=True)
    source = {"source_name": "2HWC J0534+223", "ra": 83.63, "dec": 22.3}
    Table([source]).write(path / "data" / "catalogs" / "2HWC.ecsv")
    return path


@pytest.fixture(scope="module")
def run(folder, environment):
    """Start ``gammapy-mimic run`` in a folder of its own; it writes to ``out``."""

    def start(name, *options, **variables):
        changes = {"scramble": {"catalogs": ["2hwc"]}, "n_mimics": 3}
        changes["donors"] = {"obs_ids": list(DONORS)}
        config = settings(folder / "raw", "out", **changes)
        config["observations"]["obs_ids"] = list(TARGETS)
        (folder / name).mkdir(exist_ok=True)
        write_config(folder / name / "config.yaml", config)
        return command("run", folder / name, options, environment, variables)

    return start


def command(name, folder, options, environment, variables):
    return subprocess.Popen(
        [program("gammapy-mimic"), name, "config.yaml", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={
            **environment,
            "GAMMAPY_DATA": str(folder.parent / "data"),
            **variables,
        },
        umask=UMASK,
    )


@pytest.fixture(scope="module")
def reference(folder, run):
    """Campaign of one process."""
    code, output, _ = end_of(run("one"))
    assert code == 0
    assert "3 mimic sets with 12 runs (12 made, 0 kept) in out\n" in output
    return contents(folder / "one" / "out")


def end_of(process):
    return process.wait(300), *process.communicate()


def modes(path, pattern):
    return {file.stat().st_mode & 0o777 for file in path.glob(pattern)}


def test_two_processes(folder, run, reference):
    end_of(run("two", *TWO))
    assert contents(folder / "two" / "out") == reference


def test_ray_of_its_own(folder, run, reference):
    end_of(run("local", *RAY))
    assert contents(folder / "local" / "out") == reference


def test_cluster(folder, run, reference, address):
    end_of(run("cluster", *RAY, RAY_ADDRESS=address))
    out = folder / "cluster" / "out"
    # the cluster has made the mimics, the campaign the rest
    assert modes(out, "mimic_*/*.fits") == {0o666 & ~CLUSTER_UMASK}
    assert modes(out, "mimic_*/*.gz") == {0o666 & ~UMASK}
    assert contents(out) == reference


def test_killed(folder, run, reference, address):
    """Killed again and again, after one more mimic, and started again at once."""
    out = folder / "killed" / "out"
    for _ in range(3):
        before = len(list(out.glob("mimic_*/*.fits")))
        campaign = run("killed", *RAY, RAY_ADDRESS=address)
        while len(list(out.glob("mimic_*/*.fits"))) <= before:
            assert campaign.poll() is None
            time.sleep(0.001)
        campaign.kill()
        end_of(campaign)
    code, output, errors = end_of(run("killed", *RAY, RAY_ADDRESS=address))
    assert code == 0, errors
    assert "0 kept" not in output
    assert contents(out) == reference
    assert not list(out.rglob("*.tmp"))


def test_machine_that_is_lost(folder, run, reference, environment, tmp_path):
    """One of two nodes ends in the middle; the other makes its mimics again."""
    with two_nodes(environment, tmp_path) as (address, other):
        campaign = run("lost", *THREE, RAY_ADDRESS=address)
        while len(list((folder / "lost").rglob("*.fits"))) < 3:
            assert campaign.poll() is None
            time.sleep(0.001)
        lose(other)
        assert end_of(campaign)[0] == 0
    assert contents(folder / "lost" / "out") == reference


def test_analyses_of_a_machine_that_is_lost(environment, tmp_path):
    """The other node analyses its mimic sets again: the same tables."""
    content = to_analyse(tmp_path, n_sets=6, n_donors=16)
    write_config(tmp_path / "config.yaml", content)

    def analyse(*options, **variables):
        return command("analyse", tmp_path, options, environment, variables)

    def tables():
        return {
            path.name: path.read_bytes()
            for path in tmp_path.glob("mimics/analysis/ensemble.*")
        }

    assert end_of(command("run", tmp_path, (), environment, {}))[0] == 0
    assert end_of(analyse())[0] == 0
    reference = tables()
    assert len(reference) == 2
    records = tmp_path / "mimics" / ".campaign" / "analysis"
    started = time.time()
    with two_nodes(environment, tmp_path) as (address, other):
        job = analyse(*THREE, "--overwrite", RAY_ADDRESS=address)
        while not any(
            path.stat().st_mtime > started for path in records.rglob("mimic_*.json")
        ):
            assert job.poll() is None, end_of(job)
            time.sleep(0.001)
        lose(other)
        code, output, errors = end_of(job)
    assert code == 0, errors
    assert "6 mimic sets" in output
    assert tables() == reference


def test_broken_donor(folder, run, reference, address):
    """What cannot be made is told in the same words."""
    donor = PairTable.read(folder / "one" / "out" / "pairs.ecsv")["DONOR_OBS_ID"][0]
    path = folder / "raw" / f"run_{donor}.fits"
    whole = path.read_bytes()
    path.write_bytes(whole[:30000])
    one = end_of(run("broken_one"))
    ray = end_of(run("broken_ray", *RAY, RAY_ADDRESS=address))
    path.write_bytes(whole)
    assert one[0] == 1
    assert f"from donor {donor} failed: " in one[1]
    assert ray[:2] == one[:2]
    out = contents(folder / "broken_one" / "out")
    assert set(out) < set(reference)
    assert contents(folder / "broken_ray" / "out") == out
