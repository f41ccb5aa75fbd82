"""`plumbline reproduce`: make a past run again in a scratch workspace, and judge what comes out."""

import subprocess
import sys
import tempfile
from pathlib import Path

from tasks.core.operations.command_line import options
from tasks.core.runs import explain
from tasks.core.runs.reproduce import Reproducibility, judge, lend_downloads, parameters
from tasks.core.storage.mirror import open_workspace
from tasks.core.workspace import Workspace
from tasks.display import console

SCRIPT = Path(__file__).parents[1] / "train_flow.py"


def reproduce(run: str = "last", workspace: Path | None = None) -> None:
    """Make a past run again from its parameters, and judge: identical, within noise, or not reproduced.

    The run is made in a scratch workspace that is removed afterwards; nothing in the workspace changes.
    Exit code 3: it was not reproduced.

    Args:
        run: A run's id (`plumbline compare --columns run_id`), or "last".
        workspace: Where the run was. Default: PLUMBLINE_WORKSPACE, else ./workspace.
    """
    place = open_workspace(workspace)
    past = explain.run_of(run, place)
    with tempfile.TemporaryDirectory(prefix="plumbline-reproduce-") as folder:
        scratch = Workspace(Path(folder) / "workspace")
        lend_downloads(place, scratch)
        words = options(parameters(past))
        command = [sys.executable, str(SCRIPT), *words, "--workspace", str(scratch.root)]
        failed = subprocess.run(command, check=False).returncode
        if failed:
            sys.exit(failed)
        judgement = judge(past, place, scratch)
    console.facts(f"{past['run_id']}: {judgement.outcome}", {"because": judgement.words})
    for line in judgement.differences:
        console.console.print(f"  differs  {line}")
    if judgement.outcome is Reproducibility.not_reproduced:
        sys.exit(3)
