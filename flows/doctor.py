"""`plumbline doctor`: what is wrong with the installation, the server or a workspace, and how to mend it."""

import sys
from pathlib import Path

from tasks import console
from tasks.core import checkup
from tasks.core.workspace import Workspace


def doctor(least_free: float = 2.0, workspace: Path | None = None) -> None:
    """Check versions, Prefect's server, pools and workers, the disk, and every byte of the workspace.

    Each thing that is wrong is shown with how to mend it; then the exit code is 1. Nothing is changed.

    Args:
        least_free: GB of the workspace's disk that shall be free.
        workspace: Where everything is kept. Default: PLUMBLINE_WORKSPACE, else ./workspace.
    """
    with console.bar() as bar:
        row = bar.add_task("checking", total=None, note="")
        findings = checkup.examine(
            Workspace.open(workspace),
            least_free,
            lambda done, total, note="": bar.update(row, completed=done, total=total, note=note),
        )
    for finding in findings:
        console.finding(finding)
    if any(finding.todo for finding in findings):
        sys.exit(1)
