"""One run of a dataset at a time in a workspace, and who has it.

The holder's name stands in the lock file and is taken out when the run ends. If the lock is free and a
name still stands there, that run was killed.
"""

import json
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from tasks.core.config import IfRunning
from tasks.core.storage import lock
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.flight")


@dataclass(frozen=True)
class RunOwner:
    """Who runs.

    Args:
        flow_run_id: Prefect's id of the flow run.
        name: Its name.
        host, pid: Where.
        since: ISO time, UTC.
    """

    flow_run_id: str
    name: str
    host: str
    pid: int
    since: str

    @classmethod
    def this(cls, flow_run_id: str, name: str) -> "RunOwner":
        """This process."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(flow_run_id, name, platform.node(), os.getpid(), now)

    def __str__(self) -> str:
        return f'"{self.name}" (process {self.pid} on {self.host}, since {self.since})'


class DatasetBusy(Exception):  # noqa: N818 - an event, not a fault: the flow ends as skipped
    """Another run has the dataset, and this one shall not wait; its text says who."""


@contextmanager
def exclusive_run(
    dataset: str, holder: RunOwner, if_running: IfRunning, workspace: Workspace
) -> Iterator[RunOwner | None]:
    """Be the dataset's only run for the block.

    Args:
        dataset: Under which name it is filed.
        holder: This run.
        if_running: Whether to wait for another one.
        workspace: Whose runs must not meet; on a shared file system also those of other machines.

    Yields:
        The run before, if it was killed; else None.

    Raises:
        Busy: Another run has it, and `if_running` is drop.
    """
    with lock.opened(workspace.root / ".running" / f"{dataset}.lock") as descriptor:
        if not lock.taken(descriptor):
            _wait_or_raise(dataset, _read(descriptor), if_running)
            lock.wait(descriptor)
        killed = _read(descriptor)
        _write(descriptor, json.dumps(asdict(holder)).encode())
        try:
            yield killed
        finally:
            _write(descriptor, b"")


def active_runs(workspace: Workspace) -> Iterator[tuple[str, RunOwner, bool]]:
    """Dataset, run, and whether it lives, for each run under way and each that was killed."""
    for path in sorted((workspace.root / ".running").glob("*.lock")):
        with lock.opened(path) as descriptor:
            alive = not lock.taken(descriptor)
            if holder := _read(descriptor):
                yield path.stem, holder, alive


def _wait_or_raise(dataset: str, other: RunOwner | None, if_running: IfRunning) -> None:
    words = f"another run of {dataset} is under way: {other or 'it has just begun'}"
    if if_running is IfRunning.drop:
        raise DatasetBusy(words)
    log.info("%s; waiting for its end", words)


def _read(descriptor: int) -> RunOwner | None:
    content = os.pread(descriptor, 1 << 16, 0)
    try:
        return RunOwner(**json.loads(content))
    except (ValueError, TypeError):  # empty, or being written
        return None


def _write(descriptor: int, content: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, content, 0)
