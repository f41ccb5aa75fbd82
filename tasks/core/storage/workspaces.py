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
        UsageError: The address cannot hold a workspace.
        NetworkError: The store does not answer.
    """
    workspace = Workspace.open(path)
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
            found="a file" if workspace.root.exists() else "no such folder",
            done="nothing was created",
        )
    return workspace
