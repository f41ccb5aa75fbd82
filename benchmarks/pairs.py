"""What the benchmarks share: rivals measured in turn (A B A B), their medians, and ratios with their spread.

A noisy machine disturbs all ways of a round alike. So a ratio is taken within each round, and the median,
the least and the largest of these ratios are kept. CPU-seconds are those of a process and all its children.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("tensorflow", "keras", "prefect", "numpy", "scikit-learn", "pandas", "pyarrow", "pillow")
Way = Callable[[], Mapping[str, float]]
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as where it is not set: a module is compiled once


def in_turn(ways: Mapping[str, Way], rounds: int) -> dict[str, list[Mapping[str, float]]]:
    """Measure each way once a round, in their order.

    Returns:
        The measurements of each way by round, such as {"cpu": seconds, "wall": seconds}.
    """
    measured: dict[str, list[Mapping[str, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            measured[name].append(way())
    return measured


def summary(values: Sequence[float]) -> dict[str, Any]:
    """n, median, least and largest of values."""
    return {
        "n": len(values),
        "median": round(statistics.median(values), 4),
        "least": round(min(values), 4),
        "largest": round(max(values), 4),
    }


def ratios(of: Sequence[float], to: Sequence[float]) -> dict[str, Any]:
    """The quotients within each round: above 1 where `of` is larger."""
    return summary([one / other for one, other in zip(of, to, strict=True)])


def comparison(
    topic: str, what: str, measured: Mapping[str, Sequence[Mapping[str, float]]], ours: str = ""
) -> dict[str, Any]:
    """One row of a results file: each measure of each way, and what a rival costs in units of ours.

    Args:
        topic: Group of rows, such as "Start".
        what: What was measured, such as "a run in which nothing changed".
        measured: Of `in_turn`.
        ours: The way that the ratios are taken to; without it there are none.
    """
    ways = {
        name: {
            measure: summary([one[measure] for one in rounds])
            for measure, value in rounds[0].items()
            if isinstance(value, int | float)
        }
        for name, rounds in measured.items()
    }
    row: dict[str, Any] = {"topic": topic, "what": what, "ways": ways}
    if ours:
        costs = {name: [one["cpu"] for one in rounds] for name, rounds in measured.items()}
        row |= {"ours": ours}
        row["ratios"] = {name: ratios(cost, costs[ours]) for name, cost in costs.items() if name != ours}
    return row


def process(
    command: Sequence[object], environment: Mapping[str, str], folder: Path = ROOT
) -> dict[str, float]:
    """Run a command that must succeed; seconds of wall time and of the CPU, children included."""
    with tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        running = subprocess.Popen(
            [str(word) for word in command],
            env=environment,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        _, status, usage = os.wait4(running.pid, 0)
        wall = time.perf_counter() - began
        running.returncode = os.waitstatus_to_exitcode(status)
        if running.returncode:
            errors.seek(0)
            raise RuntimeError(errors.read().decode())
    return {"cpu": usage.ru_utime + usage.ru_stime, "wall": wall}


def last_line(command: Sequence[object], environment: Mapping[str, str] | None = None) -> Any:
    """Run a Python script that must succeed; its last line, which is JSON."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def processor() -> str:
    lines = (
        Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if Path("/proc/cpuinfo").exists()
        else []
    )
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def machine() -> dict[str, Any]:
    """Where a benchmark runs, and with which versions."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "system": platform.platform(terse=True),
        "versions": versions,
    }


def load() -> float:
    """Processes that wanted a core in the last minute, ours included."""
    return round(os.getloadavg()[0], 1)


def device() -> str:
    """This machine as a table of results names it, for a benchmark without a GPU."""
    here = machine()
    return f"{here['cores']} cores of {here['processor']}, load {load()}, no GPU"
