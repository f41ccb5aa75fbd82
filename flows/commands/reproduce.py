"""`plumbline reproduce`: repeat a past run in a scratch workspace and compare the results."""

import subprocess
import sys
import tempfile
from pathlib import Path

from tasks.core.operations.command_line import options
from tasks.core.runs import explain
from tasks.core.runs.reproduce import Reproducibility, judge, lend_downloads, parameters
from tasks.core.storage.mirror import open_existing
from tasks.core.workspace import Workspace
from tasks.display import console

SCRIPT = Path(__file__).parents[1] / "train_flow.py"


def reproduce(run: str = "last", workspace: Path | None = None) -> None:
    """Repeat a past run from its parameters; the result is identical, within noise, or not reproduced.

    The run uses a scratch workspace that is removed afterwards; nothing in the workspace changes. If it was
    not reproduced, the exit code is 3.

    Args:
        run: A run's id (`plumbline compare --columns run_id`), or "last".
        workspace: The workspace of the run: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.
    """
    opened = open_existing(workspace)
    past = explain.run_of(run, opened)
    with tempfile.TemporaryDirectory(prefix="plumbline-reproduce-") as folder:
        scratch = Workspace(Path(folder) / "workspace")
        lend_downloads(opened, scratch)
        arguments = options(parameters(past))
        command = [sys.executable, str(SCRIPT), *arguments, "--workspace", str(scratch.root)]
        exit_code = subprocess.run(command, check=False).returncode
        if exit_code:
            sys.exit(exit_code)
        result = judge(past, opened, scratch)
    console.facts(f"{past['run_id']}: {result.outcome}", {"because": result.reason})
    for difference in result.differences:
        console.console.print(f"  differs  {difference}")
    if result.outcome is Reproducibility.not_reproduced:
        sys.exit(3)
