"""`plumbline reproduce`: make a past run again in a scratch workspace, and judge what comes out."""

import subprocess
import sys
import tempfile
from pathlib import Path

from tasks import console
from tasks.core.command import options
from tasks.core.results import explanation, reproduction
from tasks.core.results.reproduction import Outcome
from tasks.core.workspace import Workspace

SCRIPT = Path(__file__).with_name("train_flow.py")


def reproduce(run: str = "last", workspace: Path | None = None) -> None:
    """Make a past run again from its parameters, and judge: identical, within noise, or not reproduced.

    The run is made in a scratch workspace that is removed afterwards; nothing in the workspace changes.
    Exit code 3: it was not reproduced.

    Args:
        run: A run's id (`plumbline compare --columns run_id`), or "last".
        workspace: Where the run was. Default: PLUMBLINE_WORKSPACE, else ./workspace.
    """
    place = Workspace.open(workspace)
    past = explanation.run_of(run, place)
    with tempfile.TemporaryDirectory(prefix="plumbline-reproduce-") as folder:
        scratch = Workspace(Path(folder) / "workspace")
        reproduction.lend_downloads(place, scratch)
        words = options(reproduction.parameters(past))
        command = [sys.executable, str(SCRIPT), *words, "--workspace", str(scratch.root)]
        failed = subprocess.run(command, check=False).returncode
        if failed:
            sys.exit(failed)
        judgement = reproduction.judge(past, place, scratch)
    console.facts(f"{past['run_id']}: {judgement.outcome}", {"because": judgement.words})
    for line in judgement.differences:
        console.console.print(f"  differs  {line}")
    if judgement.outcome is Outcome.not_reproduced:
        sys.exit(3)
