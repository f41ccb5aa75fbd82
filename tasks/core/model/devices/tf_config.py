"""Reads the cluster of processes that train together from TensorFlow's TF_CONFIG, without loading TensorFlow.

{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}
"""

import json
import os
from dataclasses import dataclass
from typing import Any

from tasks.core.errors import UsageError

VARIABLE = "TF_CONFIG"
EXAMPLE = '{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Cluster:
    """The processes that train one model together.

    Args:
        addresses: host:port of each process, that of the chief first.
        index: Index of this process in `addresses`.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this process writes checkpoints and publishes; exactly one process does."""
        return self.index == 0

    def __str__(self) -> str:
        return f"process {self.index + 1} of {len(self.addresses)}"


def this_cluster() -> Cluster | None:
    """The cluster of this process; None without TF_CONFIG, or if it names only one process.

    Raises:
        UsageError: TF_CONFIG has not the documented format, or has parameter servers or evaluators.
    """
    text = os.environ.get(VARIABLE, "")
    if not text.strip():
        return None
    try:
        cluster = _parse(json.loads(text))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise _invalid(text, f"{type(error).__name__}: {error}") from error
    return cluster if len(cluster.addresses) > 1 else None


def refuse_cluster(what: str) -> None:
    """Refuse an operation that several processes cannot do together.

    Args:
        what: Name of the operation, for the error.

    Raises:
        UsageError: TF_CONFIG names more than one process.
    """
    if cluster := this_cluster():
        raise UsageError(
            f"{what} is not for a training cluster",
            expected=f"no {VARIABLE}",
            found=str(cluster),
            todo=f"unset {VARIABLE}; trainings side by side: --runner processes, dask or ray",
        )


def is_worker() -> bool:
    """Whether this process trains in a cluster and is not the chief; False if TF_CONFIG is invalid."""
    try:
        cluster = this_cluster()
    except UsageError:
        return False
    return cluster is not None and not cluster.is_chief


def _parse(config: dict[str, Any]) -> Cluster:
    jobs, task = config.get("cluster") or {}, config.get("task") or {}
    if unknown := set(jobs) - {"chief", "worker"}:
        raise ValueError(f"jobs {sorted(unknown)}; only chief and worker train synchronously")
    chiefs, workers = list(jobs.get("chief", [])), list(jobs.get("worker", []))
    if not chiefs + workers:
        return Cluster((), 0)
    index = int(task["index"])
    processes = {"chief": chiefs, "worker": workers}[task["type"]]
    if len(chiefs) > 1 or not 0 <= index < len(processes):
        raise IndexError(f"{task['type']} {index} of {len(processes)}, {len(chiefs)} chiefs")
    return Cluster(
        tuple(map(str, chiefs + workers)), index + (len(chiefs) if task["type"] == "worker" else 0)
    )


def _invalid(text: str, problem: str) -> UsageError:
    return UsageError(
        f"{VARIABLE} does not name a cluster to train on",
        expected=EXAMPLE,
        found=f"{text[:200]} ({problem})",
        done="nothing was started",
        todo=f"correct it on every machine, or unset {VARIABLE} to train on this one alone",
    )
