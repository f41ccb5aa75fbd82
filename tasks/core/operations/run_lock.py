"""The run lock: one run of a dataset at a time in a workspace.

The owner is written into the lock file and removed when the run ends. If the lock is free and the file still
has an owner, that run was killed.
"""

import json
import logging
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tasks.core.config import IfRunning
from tasks.core.storage import lock
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.run_lock")


@dataclass(frozen=True)
class RunOwner:
    """The run that holds a run lock.

    Args:
        flow_run_id: Prefect's id of the flow run.
        name: The name of the flow run.
        host, pid: The machine and the process id.
        since: ISO time at which the process asked for the lock, UTC.
    """

    flow_run_id: str
    name: str
    host: str
    pid: int
    since: str

    @classmethod
    def this(cls, flow_run_id: str, name: str) -> "RunOwner":
        """Return an owner that stands for this process."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(flow_run_id, name, platform.node(), os.getpid(), now)

    def __str__(self) -> str:
        return f'"{self.name}" (process {self.pid} on {self.host}, since {self.since})'


class DatasetBusy(Exception):  # noqa: N818 - an event, not a fault: the flow ends as skipped
    """Another run of the dataset holds the lock, and this run must not wait. The text names the other run."""


@contextmanager
def exclusive_run(
    dataset: str,
    owner: RunOwner,
    if_running: IfRunning,
    workspace: Workspace,
    on_waited: Callable[[], None] = lambda: None,
) -> Iterator[RunOwner | None]:
    """Hold the dataset's run lock during the block.

    Args:
        dataset: The name under which its models are stored.
        owner: This run.
        if_running: Whether to wait for another run, or to be dropped.
        workspace: The workspace whose runs exclude each other. On a shared file system this includes runs on
            other machines.
        on_waited: Called when another run had to end first.

    Yields:
        The previous run if it was killed; else None.

    Raises:
        DatasetBusy: Another run holds the lock, and `if_running` is drop.
    """
    with lock.opened(workspace.root / ".running" / f"{dataset}.lock", to_write=True) as descriptor:
        if not lock.try_lock(descriptor):
            _wait_or_raise(dataset, _read(descriptor), if_running)
            lock.wait(descriptor)
            on_waited()
        with _owned(descriptor, owner) as killed:
            yield killed


@contextmanager
def exclusive_writer(folder: Path, owner: RunOwner) -> Iterator[RunOwner | None]:
    """Hold the lock of the runs that write to a folder during the block; wait while another holds it.

    Args:
        folder: The folder; it is made if it is not there.
        owner: This run.

    Yields:
        The previous run if it was killed; else None.
    """
    with lock.opened(folder / ".run.lock", to_write=True) as descriptor:
        lock.wait(descriptor)
        with _owned(descriptor, owner) as killed:
            yield killed


@contextmanager
def _owned(descriptor: int, owner: RunOwner) -> Iterator[RunOwner | None]:
    killed = _read(descriptor)
    _write(descriptor, json.dumps(asdict(owner)).encode())
    try:
        yield killed
    finally:
        _write(descriptor, b"")


@contextmanager
def undisturbed(dataset: str, workspace: Workspace) -> Iterator[Callable[[RunOwner], None] | None]:
    """Hold the dataset's run lock during the block if no run holds it and none was killed.

    Args:
        dataset: The name under which its models are stored.
        workspace: The workspace whose runs exclude each other.

    Yields:
        A function that notes the owner of the lock until the end of the block; None if the lock is not held.
    """
    with lock.opened(workspace.root / ".running" / f"{dataset}.lock", to_write=True) as descriptor:
        if not lock.try_lock(descriptor) or _read(descriptor):
            yield None
            return
        noted: list[RunOwner] = []

        def note(owner: RunOwner) -> None:
            noted.append(owner)
            _write(descriptor, json.dumps(asdict(owner)).encode())

        try:
            yield note
        finally:
            if noted:
                _write(descriptor, b"")


def active_runs(workspace: Workspace) -> Iterator[tuple[str, RunOwner, bool]]:
    """Yield dataset, run, and whether it is alive, for each current run and each that was killed."""
    for path in sorted((workspace.root / ".running").glob("*.lock")):
        with lock.opened(path) as descriptor:
            alive = not lock.try_lock(descriptor)
            if owner := _read(descriptor):
                yield path.stem, owner, alive


def _wait_or_raise(dataset: str, other: RunOwner | None, if_running: IfRunning) -> None:
    text = f"another run of {dataset} is in progress: {other or 'it has just begun'}"
    if if_running is IfRunning.drop:
        raise DatasetBusy(text)
    log.info("%s; waiting for its end", text)


def _read(descriptor: int) -> RunOwner | None:
    content = os.pread(descriptor, 1 << 16, 0)
    try:
        return RunOwner(**json.loads(content))
    except (ValueError, TypeError):  # empty, or being written
        return None


def _write(descriptor: int, content: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, content, 0)
