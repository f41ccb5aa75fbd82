"""`plumbline compare`: runs side by side, from the metrics tables, without Prefect or TensorFlow."""

from pathlib import Path

from tasks.core.runs import compare as runs_compare
from tasks.core.runs.compare import as_text, plot_accuracy_against_cost, select, write
from tasks.core.storage.mirror import open_workspace
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
    """Put runs side by side.

    Args:
        dataset: Only this dataset's runs.
        columns: Names with commas between them, or "all"; a dot reaches into a column of JSON, such as
            parameters.epochs or stages.train.cpu_seconds.
        where: A condition such as "accuracy>0.7", "recipe=fast" or "parameters.augment!=false"; ~ asks
            whether a text is contained. May be repeated; all must hold.
        sort: The column to sort by; a minus before it puts the largest first.
        last: Only the last so many rows of the sorted table.
        out: Write the table to this .csv or .parquet file instead of printing it.
        plot: Draw accuracy against cost (CPU-seconds) into this .png or .svg file.
        workspace: Where everything is kept. Default: PLUMBLINE_WORKSPACE, else ./workspace.
    """
    place = open_workspace(workspace)
    runs = select(runs_compare.runs(place, dataset), where or [], sort, last)
    if plot is not None:
        plot_accuracy_against_cost(runs, plot)
        console.console.print(f"{plot}: accuracy against cost of {len(runs)} runs")
    table = runs_compare.columns(runs, columns)
    if out is not None:
        write(table, out)
        console.console.print(f"{out}: {len(runs)} runs")
    elif plot is None:
        console.table(as_text(table), "no such runs: `plumbline train` makes the first one")
