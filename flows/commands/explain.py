"""`plumbline explain`: which stages of a run ran and why, or in what two runs differ."""

from pathlib import Path

from tasks.core.runs.explain import compare_runs, stages_of_run
from tasks.core.storage.mirror import open_workspace
from tasks.display import console


def explain(run: str = "last", later: str | None = None, workspace: Path | None = None) -> None:
    """Show which stages of a run ran and why; of two runs, in which ingredients they differ.

    Args:
        run: A run's id, or "last".
        later: Another run's id, or "last": what has changed from the first to this one.
        workspace: Where everything is kept. Default: PLUMBLINE_WORKSPACE, else ./workspace.
    """
    place = open_workspace(workspace)
    rows = compare_runs(run, later, place) if later else stages_of_run(run, place)
    console.table(rows)
