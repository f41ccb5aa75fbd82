"""`plumbline compare`: a table of runs, from the metrics tables."""

from pathlib import Path

from tasks.core import shares
from tasks.core.errors import UsageError
from tasks.core.runs import compare as runs_compare
from tasks.core.runs.compare import as_text, plot_accuracy_against_cost, select, write
from tasks.core.storage.workspaces import open_existing
from tasks.core.workspace import Workspace
from tasks.display import console


def compare(
    dataset: str | None = None,
    columns: str | None = None,
    where: list[str] | None = None,
    sort: str = "started",
    last: int | None = None,
    out: Path | None = None,
    plot: Path | None = None,
    workspace: Path | None = None,
) -> None:
    """Compare runs in a table.

    Args:
        dataset: Only this dataset's runs.
        columns: Column names separated by commas, or "all". A dot selects a value of a JSON column, such as
            parameters.epochs or stages.train.cpu_seconds.
        where: A condition such as "test_accuracy>0.7", "recipe=fast" or "parameters.augment!=false"; ~ means
            that the column contains the text. May be repeated; all conditions must hold.
        sort: The column to sort by; a minus before it sorts in descending order.
        last: Show only this many rows, the last ones of the sorted table.
        out: Write the table to this .csv or .parquet file instead of printing it.
        plot: Plot accuracy against cost (CPU-seconds) to this .png or .svg file. The table is not printed
            then, except with --columns.
        workspace: The workspace: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.
    """
    opened = open_existing(workspace)
    if last is not None and last < 1:
        raise UsageError("--last is out of range", expected="1 or more", found=str(last))
    runs = select(runs_compare.runs(opened, dataset), where or [], sort, last)
    table = runs_compare.columns(runs, columns)  # refuses a column that is not there before a file is written
    if plot is not None:
        plot_accuracy_against_cost(runs, plot)
        console.console.print(f"{plot}: accuracy against cost of {shares.counted(len(runs), 'run')}")
    if out is not None:
        write(table, out)
        console.console.print(f"{out}: {shares.counted(len(runs), 'run')}")
    elif plot is None or columns is not None:
        console.table(as_text(table), _none_found(opened))


def _none_found(workspace: Workspace) -> str:
    every = runs_compare.runs(workspace, None)
    if every.empty:
        return "no runs found: `plumbline train` starts one"
    names = ", ".join(sorted(every["dataset"].unique()))
    verb = "is" if len(every) == 1 else "are"
    return f"no runs found that fit: there {verb} {len(every):,} of {names}"
