"""What all benchmarks share: lines told to the user, exponents of growth.

    pytest -o python_functions="bench_*" tests/benchmarks/bench_*.py

Only ratios of one run mean something on another machine: the numbers in brackets, and
the lines of `tell`.
"""

import time

import numpy as np
import pytest


@pytest.fixture
def tell(request):
    """Write a line to the terminal, whatever is captured."""
    plugins = request.config.pluginmanager
    reporter = plugins.get_plugin("terminalreporter")

    def write(text):
        with plugins.get_plugin("capturemanager").global_and_fixture_disabled():
            reporter.write_line(f"\n{request.node.name}: {text}")

    return write


def _best_time(function, rounds=3):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.fixture
def tell_growth(tell):
    """Tell the times for several sizes and the slope of log(time) on log(size)."""

    def measure(functions):
        times = {size: _best_time(function) for size, function in functions.items()}
        sizes, seconds = np.log(list(times)), np.log(list(times.values()))
        exponent = np.polyfit(sizes[-2:], seconds[-2:], 1)[0]
        steps = ", ".join(f"{size}: {value:.3f} s" for size, value in times.items())
        tell(f"{steps}; exponent of the last step {exponent:.2f}")

    return measure
