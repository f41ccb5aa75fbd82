"""What the user can set of the place where work runs: this process, processes, a Dask or Ray cluster."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from tasks.core.checked_settings import Checked, limited
from tasks.core.errors import UsageError


class RunnerName(StrEnum):
    """Where independent work runs.

    sequence: in this process, one after the other. processes: in processes of this machine. dask, ray: on a
    cluster that is there already, else on one of this machine that ends with the run.
    """

    sequence = "sequence"
    processes = "processes"
    dask = "dask"
    ray = "ray"


@dataclass(frozen=True)
class RunnerSettings(Checked):
    """Where independent work runs; none of it changes a byte of what comes out.

    Args:
        runner: Where images are decoded and a sweep's trials run: in this process (sequence), in
            processes, or on a Dask or Ray cluster. The results are byte-identical.
        workers: Processes of this machine, for a runner other than sequence. Default: one per CPU.
        address: Address of a running Dask scheduler (tcp://...) or Ray cluster (ray://..., or auto)
            that shares this workspace. Default: a cluster of this machine that ends with the run.
    """

    GROUP: ClassVar[str] = "Parallel work"

    runner: RunnerName = RunnerName.sequence
    workers: int | None = limited(None, 1, 1024)
    address: str | None = None

    def __post_init__(self) -> None:
        """Refuse an address without a cluster, and workers where there is nothing to choose."""
        super().__post_init__()
        if self.address and self.runner not in (RunnerName.dask, RunnerName.ray):
            raise UsageError("an address is that of a cluster", expected="--runner dask or --runner ray")
        if self.workers is not None and (self.address or self.runner is RunnerName.sequence):
            raise UsageError(
                "workers cannot be chosen here",
                expected="--runner processes, or dask or ray without an address",
                found="a cluster, which has its own" if self.address else "--runner sequence",
            )
