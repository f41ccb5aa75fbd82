"""`plumbline explain`: which stages of a run ran and why, or in what two runs differ."""

from pathlib import Path

from tasks import console
from tasks.core.results import explanation
from tasks.core.workspace import Workspace


def explain(run: str = "last", later: str | None = None, workspace: Path | None = None) -> None:
    """Show which stages of a run ran and why; of two runs, in which ingredients they differ.

    Args:
        run: A run's id, or "last".
        later: Another run's id, or "last": what has changed from the first to this one.
        workspace: Where everything is kept. Default: PLUMBLINE_WORKSPACE, else ./workspace.
    """
    place = Workspace.open(workspace)
    rows = explanation.between(run, later, place) if later else explanation.of_run(run, place)
    console.table(rows)
