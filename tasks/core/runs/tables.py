"""The metrics tables.

They are runs, epochs, classes, operating_points, slices, predictions, candidates, leaderboard, trials and
evaluations. A part of a table has the rows of the runs of a dataset, up to 1 MB or 1,000 rows:

    metrics/runs/dataset=cifar10/<first run id>.parquet

A run replaces the last part by one with its rows added (`table_files.filling`), so that the number of parts
hardly grows with that of the runs. In a workspace at an address the store has one object for each run; each
is complete or absent. Any tool for hive-partitioned parquet can read a table; the column `dataset` comes
from the name of the folder. `columns/schemas.py` has the columns with their meaning; older parts have null in
columns that came later.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from tasks.core.errors import UsageError
from tasks.core.runs.columns.schemas import SCHEMAS
from tasks.core.runs.table_files import filling, folding, parts, stored, upgrading
from tasks.core.storage import lock, mirror
from tasks.core.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

TRIES = 5  # readings of a table whose folder is exchanged meanwhile


def append(table: str, dataset: str, run_id: str, frame: "pd.DataFrame", workspace: Workspace) -> Path:
    """Add a run's rows to a table atomically. The rows of a run never change afterwards.

    Args:
        table: Name of a table in `SCHEMAS`.
        dataset: Name of the dataset.
        run_id: The value of the column `run_id`, and the name of a new part.
        frame: Columns of the table; missing columns become null.
        workspace: The workspace with the metrics tables.

    Returns:
        The path of the part with the rows.

    Raises:
        UsageError: The table does not have a column, a column cannot hold a value, the run id cannot be a
            file name, or this run has other rows already.
    """
    return append_rows(table, dataset, run_id, _as_table(table, frame.assign(run_id=run_id)), workspace)


def as_row(columns: Mapping[str, Any]) -> "pd.DataFrame":
    """One row by column; mappings become JSON."""
    import pandas as pd

    texts = {name: json.dumps(value) for name, value in columns.items() if isinstance(value, Mapping)}
    return pd.DataFrame([{**columns, **texts}])


def append_rows(table: str, dataset: str, run_id: str, content: pa.Table, workspace: Workspace) -> Path:
    """Do as `append` with rows that have the table's schema; pandas is not imported."""
    if not run_id or Path(run_id).name != run_id or run_id.startswith((".", "_")):
        raise UsageError("a run id must be usable as a file name", found=repr(run_id))
    folder, of_dataset = workspace.metrics / table, _folder(table, dataset, workspace)
    with lock.exclusive(folder / ".lock"):
        of_dataset.mkdir(exist_ok=True)
        upgrading.modernize(table, folder, SCHEMAS[table])
        parts.list_new(folder)
        part = filling.part_of(run_id, of_dataset, folder)
        if part is None:
            part = filling.add(content, of_dataset, folder, run_id)
            folding.fold(of_dataset, folder, SCHEMAS[table])
        else:
            _must_equal(part, run_id, content)
        if remote := mirror.of_workspace(workspace):  # also runs that a killed run did not upload
            stored.push(remote, folder, of_dataset, SCHEMAS[table])
    return part


def read(
    table: str,
    workspace: Workspace,
    dataset: str | None = None,
    columns: Sequence[str] | None = None,
    filters: Sequence[tuple[str, str, Any]] | None = None,
) -> "pd.DataFrame":
    """The rows of a table as a data frame; see `read_rows`."""
    return read_rows(table, workspace, dataset, columns, filters).to_pandas()


def read_rows(
    table: str,
    workspace: Workspace,
    dataset: str | None = None,
    columns: Sequence[str] | None = None,
    filters: Sequence[tuple[str, str, Any]] | None = None,
) -> pa.Table:
    """The rows of a table, with the column `dataset` first. pandas is not imported.

    Columns that are newer than a part are null in its rows. A table without parts is empty. Parts that
    Plumbline 0.1.0 wrote are rewritten first, with the present column names. A damaged part is left out, with
    a warning.

    Args:
        table: Name of a table in `SCHEMAS`.
        workspace: The workspace with the tables.
        dataset: Only the rows of this dataset; None reads all.
        columns: Only these columns, in this order; None reads all.
        filters: Only the rows for which all of these hold, such as `("evaluation", "==", digest)`; as those
            of `pandas.read_parquet`.
    """
    folder = workspace.metrics / table
    remote = mirror.of_workspace(workspace)
    if remote:
        folder.mkdir(parents=True, exist_ok=True)
    elif not folder.is_dir():  # reading creates nothing
        return _all_columns(table).empty_table().select(columns or _all_columns(table).names)
    if remote or upgrading.is_version_1(folder):
        with lock.exclusive(folder / ".lock"):
            upgrading.modernize(table, folder, SCHEMAS[table])
            if remote:
                below = folder if dataset is None else _folder(table, dataset, workspace)
                stored.pull(
                    remote, folder, below, lambda rows: upgrading.converted(table, rows, SCHEMAS[table])
                )
    conditions = ([] if dataset is None else [("dataset", "==", dataset)]) + list(filters or ())
    condition = pq.filters_to_expression(conditions) if conditions else None
    for attempt in range(TRIES):
        try:
            return parts.read(_parts(table, folder), folder, condition, columns)
        except FileNotFoundError:  # a part was folded after the folder was listed
            time.sleep(0.05 * attempt)
    return parts.read(_parts(table, folder), folder, condition, columns)


def _folder(table: str, dataset: str, workspace: Workspace) -> Path:
    return workspace.metrics / table / f"dataset={quote(dataset, safe=' ')}"


def _as_table(table: str, frame: "pd.DataFrame") -> pa.Table:
    schema = SCHEMAS[table]
    unknown = sorted(set(frame.columns) - set(schema.names))
    if unknown:
        raise UsageError(
            f"the table {table} has no such column",
            expected=", ".join(schema.names),
            found=", ".join(unknown),
            done="nothing was written",
        )
    columns = [_column(field, frame) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _column(field: pa.Field, frame: "pd.DataFrame") -> pa.Array:
    if field.name not in frame:
        return pa.nulls(len(frame), field.type)
    try:
        return pa.array(frame[field.name], type=field.type, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise UsageError(
            f"a value doesn't fit its column {field.name}",
            expected=str(field.type),
            found=str(error),
            done="nothing was written",
        ) from error


def _must_equal(part: Path, run_id: str, content: pa.Table) -> None:
    if not filling.rows_of(run_id, part, content.schema).equals(content):
        raise UsageError(
            f"the run {run_id} is in {part} already with other content",
            expected="a run id that was not used before: the rows of a run are never changed",
            done="nothing was written",
        )


def _all_columns(table: str) -> pa.Schema:
    return SCHEMAS[table].insert(0, pa.field("dataset", pa.string()))


def _parts(table: str, folder: Path) -> ds.Dataset:
    return ds.dataset(
        folder,
        schema=_all_columns(table),
        format="parquet",
        partitioning=ds.partitioning(pa.schema([("dataset", pa.string())]), flavor="hive"),
        exclude_invalid_files=False,
    )
