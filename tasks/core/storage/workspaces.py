"""Opening a workspace: a folder, or the local mirror of a workspace at an address."""

import os
from pathlib import Path

from tasks.core.errors import UsageError
from tasks.core.storage import mirror
from tasks.core.workspace import VARIABLE, Workspace


def open_workspace(path: str | Path | None = None) -> Workspace:
    """Open a workspace with `Workspace.open`, and check the store of a workspace at an address.

    Args:
        path: A folder or an address; see `Workspace.open` for None.

    Raises:
        UsageError: The address cannot hold a workspace; and as `refuse_file`.
        NetworkError: The store does not answer.
    """
    workspace = Workspace.open(path)
    refuse_file(workspace)
    if remote := mirror.of_workspace(workspace):
        remote.check_conditional_create()
    return workspace


def open_existing(path: str | Path | None = None) -> Workspace:
    """Open a workspace that is only read: `open_workspace`, but a folder that is named must be there.

    Raises:
        UsageError: There is no such folder; and as `open_workspace`.
    """
    is_named = path is not None or VARIABLE in os.environ
    workspace = open_workspace(path)
    if is_named and not workspace.address and not workspace.root.is_dir():
        raise UsageError(
            f"there is no workspace {workspace.root}",
            expected="the folder of a workspace, which a run has made",
            found="no such folder",
            done="nothing was created",
            todo=f"name another one with --workspace or {VARIABLE}; `plumbline train` makes a new one",
        )
    return workspace


def refuse_file(workspace: Workspace) -> None:
    """Refuse a workspace that is a file, or lies below one: nothing could be written there.

    Raises:
        UsageError: It is, or does.
    """
    found = next(path for path in (workspace.root, *workspace.root.parents) if path.exists())
    if not found.is_dir() and not workspace.address:
        raise UsageError(
            f"there is no workspace {workspace.root}",
            expected="a folder, new or of earlier runs",
            found=f"{found} is a file",
            done="nothing was started",
            todo=f"name a folder with --workspace or {VARIABLE}",
        )
