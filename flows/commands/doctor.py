"""`plumbline doctor`: what is wrong with the installation, the server or a workspace, and how to mend it."""

import sys
from pathlib import Path

from rich.text import Text

from tasks.core.operations import diagnostics
from tasks.core.operations.diagnostics import Finding
from tasks.core.storage.mirror import open_workspace
from tasks.display import console


def doctor(least_free: float = 2.0, workspace: Path | None = None) -> None:
    """Check versions, Prefect's server, pools and workers, the disk, and every byte of the workspace.

    Each thing that is wrong is shown with how to mend it; then the exit code is 1. Nothing is changed.

    Args:
        least_free: GB of the workspace's disk that shall be free.
        workspace: Where everything is kept. Default: PLUMBLINE_WORKSPACE, else ./workspace.
    """
    with console.progress_bar() as bar:
        row = bar.add_task("checking", total=None, note="")
        findings = diagnostics.run_checks(
            open_workspace(workspace),
            least_free,
            lambda done, total, note="": bar.update(row, completed=done, total=total, note=note),
        )
    for finding in findings:
        _print(finding)
    if any(finding.fix for finding in findings):
        sys.exit(1)


def _print(found: Finding) -> None:
    """Print one line of a check-up, and below it how to mend what is wrong."""
    mark = ("wrong", "bold red") if found.fix else ("ok   ", "green")
    console.console.print(Text.assemble(mark, f" {found.about:<10} {found.found}"))
    if found.fix:
        console.console.print(Text.assemble(("      to mend    ", "dim"), found.fix))
