"""Which processes train together: TensorFlow's own TF_CONFIG, read before TensorFlow is loaded.

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
    """The processes of one training, and which of them this is.

    Args:
        addresses: host:port of each process, the leader's first.
        index: Of this process among them.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this process keeps checkpoints and publishes: exactly one does."""
        return self.index == 0

    def __str__(self) -> str:
        return f"process {self.index + 1} of {len(self.addresses)}"


def this_cluster() -> Cluster | None:
    """This process's place in its cluster; None without TF_CONFIG, or if it names one process only.

    Raises:
        UsageError: TF_CONFIG is not what TensorFlow documents, or has parameter servers or evaluators.
    """
    text = os.environ.get(VARIABLE, "")
    if not text.strip():
        return None
    try:
        cluster = _parsed(json.loads(text))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise _refused(text, f"{type(error).__name__}: {error}") from error
    return cluster if len(cluster.addresses) > 1 else None


def refuse_cluster(what: str) -> None:
    """Refuse what cannot be done by several processes that train one model together.

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
    """Whether this process only trains along with a leader; False as well where TF_CONFIG is no good."""
    try:
        cluster = this_cluster()
    except UsageError:
        return False
    return cluster is not None and not cluster.is_chief


def _parsed(config: dict[str, Any]) -> Cluster:
    jobs, task = config.get("cluster") or {}, config.get("task") or {}
    if unknown := set(jobs) - {"chief", "worker"}:
        raise ValueError(f"jobs {sorted(unknown)}; only chief and worker train synchronously")
    chiefs, workers = list(jobs.get("chief", [])), list(jobs.get("worker", []))
    if not chiefs + workers:
        return Cluster((), 0)
    index = int(task["index"])
    of_job = {"chief": chiefs, "worker": workers}[task["type"]]
    if len(chiefs) > 1 or not 0 <= index < len(of_job):
        raise IndexError(f"{task['type']} {index} of {len(of_job)}, {len(chiefs)} chiefs")
    return Cluster(
        tuple(map(str, chiefs + workers)), index + (len(chiefs) if task["type"] == "worker" else 0)
    )


def _refused(text: str, problem: str) -> UsageError:
    return UsageError(
        f"{VARIABLE} does not name a cluster to train on",
        expected=EXAMPLE,
        found=f"{text[:200]} ({problem})",
        done="nothing was started",
        todo=f"mend it on every machine, or unset {VARIABLE} to train on this one alone",
    )
