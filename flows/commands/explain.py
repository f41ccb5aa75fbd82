"""`plumbline explain`: which stages of a run ran and why, or how two runs differ."""

from pathlib import Path

from tasks.core.runs.explain import compare_runs, stages_of_run
from tasks.core.storage.workspaces import open_existing
from tasks.display import console


def explain(run: str = "last", later: str | None = None, workspace: Path | None = None) -> None:
    """Show which stages of a run ran and why, or in which ingredients two runs differ.

    Args:
        run: A run's id, or "last".
        later: Another run's id, or "last": show what changed from the first run to this one.
        workspace: The workspace: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.
    """
    opened = open_existing(workspace)
    rows = compare_runs(run, later, opened) if later else stages_of_run(run, opened)
    console.table(rows)
