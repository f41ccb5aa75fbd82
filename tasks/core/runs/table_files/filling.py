"""Adds the rows of runs to the parts of a table, so that there are few parts, whatever the number of runs.

A run's rows are added to the dataset's open part: the newest one that is smaller than `FULL_BYTES` and has
fewer than `FULL_ROWS` rows. The part is written again with the new rows and replaces the old one by one
rename. So every reader that opens files by name, also one that knows nothing of Plumbline, sees each row
once, and a kill at any moment leaves the old part or the new one. A full part never changes again.

The checksum of the new part is listed before the rename; the one before it stays valid (`checksum_list`).
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from tasks.core.runs.table_files import parts
from tasks.core.storage import atomic, checksum_list, hashing

# Of 1,000 rows of `runs`, 8 to 13 ms go into writing the part again (benchmarks/tables.py).
FULL_BYTES = 1 << 20
FULL_ROWS = 1_000
RUN_ID = "run_id"


def add(rows: pa.Table, folder: Path, table_folder: Path, name: str) -> Path:
    """Add rows to the open part of a dataset, or to a new part; the caller holds the table's lock.

    Args:
        rows: The rows, with the present columns of the table.
        folder: The folder of the dataset in the table.
        table_folder: The folder of the table, which has the list of checksums.
        name: Name of a new part, without the suffix.

    Returns:
        The path of the part that has the rows.
    """
    part = _open_part(folder, table_folder)
    if part is None:
        part = _unused(folder, name)
        parts.write(part, rows)
        checksum_list.add(table_folder, [part])
    else:
        replace(part, pa.concat_tables([with_columns(read(part), rows.schema), rows]), table_folder)
    return part


def replace(part: Path, rows: pa.Table, table_folder: Path) -> None:
    """Replace a part in one rename; before and after, the list has the checksum of what is there."""
    with atomic.replacing(part) as staging:
        parts.write_file(staging, rows)
        name = part.relative_to(table_folder).as_posix()
        checksum_list.record(table_folder, {name: hashing.sha256_file(staging)})


def paths(folder: Path) -> list[Path]:
    """The parts of a dataset, without the file of all columns, by name."""
    found = folder.glob("[!._]*.parquet")
    return sorted(path for path in found if path.name != parts.COLUMNS_FILE)


def read(part: Path) -> pa.Table:
    """All rows of a part, as they are in the file."""
    return pq.read_table(part, partitioning=None, page_checksum_verification=True)


def with_columns(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows of an older part with the present columns; new ones are null."""
    if rows.schema.equals(schema):
        return rows.replace_schema_metadata(schema.metadata)
    columns = [
        rows[field.name] if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(
        [column.cast(field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


def run_ids(folder: Path, table_folder: Path) -> set[str]:
    """The runs that have rows in the intact parts of a dataset."""
    dataset = _intact(folder, table_folder)
    return set() if dataset is None else set(pc.unique(dataset.to_table([RUN_ID])[RUN_ID]).to_pylist())


def part_of(run_id: str, folder: Path, table_folder: Path) -> Path | None:
    """The intact part with the rows of a run; None if there is none."""
    dataset = _intact(folder, table_folder)
    if dataset is None:
        return None
    found = dataset.to_table(["__filename"], filter=ds.field(RUN_ID) == run_id)
    return Path(found["__filename"][0].as_py()) if len(found) else None


def rows_of(run_id: str, part: Path, schema: pa.Schema) -> pa.Table:
    """The rows of a run in a part, with the present columns."""
    found = pq.read_table(part, partitioning=None, filters=ds.field(RUN_ID) == run_id)
    return with_columns(found, schema)


def is_full(part: Path) -> bool:
    """Whether no more rows are added to a part."""
    return part.stat().st_size >= FULL_BYTES or pq.read_metadata(part).num_rows >= FULL_ROWS


def _intact(folder: Path, table_folder: Path) -> ds.Dataset | None:
    """The intact parts of a dataset; None if there is none."""
    known = paths(folder)
    broken = set(parts.damaged(table_folder, known))
    intact = [str(path) for path in known if path not in broken]
    return ds.dataset(intact, format="parquet", partitioning=None) if intact else None


def _open_part(folder: Path, table_folder: Path) -> Path | None:
    """The newest part if it takes more rows; None if it is full or damaged, or there is no part."""
    newest = max(paths(folder), key=lambda path: (path.stat().st_mtime_ns, path.name), default=None)
    if newest is None or parts.damaged(table_folder, [newest]) or is_full(newest):
        return None
    return newest


def _unused(folder: Path, name: str) -> Path:
    """A path that no part has: a part may have the name of a run whose rows are in another one."""
    candidates = [folder / f"{name}.parquet", *(folder / f"{name}-{n}.parquet" for n in range(2, 1_000))]
    return next(path for path in candidates if not path.exists())
