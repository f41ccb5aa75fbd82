"""`plumbline doctor`: what is wrong with the installation, the server or a workspace, and how to fix it."""

import sys
from pathlib import Path

from rich.text import Text

from tasks.core.operations.doctor import diagnostics
from tasks.core.operations.doctor.finding import Finding
from tasks.core.storage.workspaces import open_existing
from tasks.display import console


def doctor(min_free_gb: float = 2.0, fix: bool = False, workspace: Path | None = None) -> None:
    """Check versions, Prefect's server, pools and workers, the disk, and every byte of the workspace.

    Each problem is shown with a way to fix it. If there is one, the exit code is 1. Without --fix nothing is
    changed.

    Args:
        min_free_gb: Minimum free disk space in GB.
        fix: Remove what killed processes were writing, if no running process has the lock, and damaged
            outputs, which the next run builds again; write the aliases again from the registry's log; go on
            with the intact part of tables and logs. Published models are not touched.
        workspace: The workspace: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.
    """
    opened = open_existing(workspace)
    for done in diagnostics.mend(opened) if fix else []:
        console.console.print(Text(done))
    with console.progress_bar() as bar:
        row = bar.add_task("checking", total=None, note="")
        findings = diagnostics.run_checks(
            opened,
            min_free_gb,
            lambda done, total, note="": bar.update(row, completed=done, total=total, note=note),
        )
    for finding in findings:
        _print(finding)
    if any(finding.fix for finding in findings):
        sys.exit(1)


def _print(finding: Finding) -> None:
    """Print one line for a check, and below it how to fix a problem."""
    mark = ("wrong", "bold red") if finding.fix else ("ok   ", "green")
    console.console.print(Text.assemble(mark, f" {finding.about:<10} {finding.found}"))
    if finding.fix:
        console.console.print(Text.assemble(("      to fix     ", "dim"), finding.fix))
