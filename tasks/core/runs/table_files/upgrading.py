"""Brings a table that an earlier version of Plumbline wrote up to date."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.data.files.parquet_part import is_readable
from tasks.core.runs.table_files import filling, parts, tables_v1
from tasks.core.storage import checksum_list

VERSION = 2  # of the columns; version 1 has other names for some of them, see `tables_v1`
SCHEMA_VERSION = b"plumbline_schema"


def is_version_1(table_folder: Path) -> bool:
    """Whether parts of a table may be of version 1."""
    return _version(table_folder / parts.COLUMNS_FILE) == 1


def modernize(table: str, table_folder: Path, schema: pa.Schema) -> None:
    """Rewrite parts of version 1, and write a file of all columns for each dataset in place of one of all.

    The next call completes what was killed: the old file of all columns is removed last.

    Args:
        table: Name of the table.
        table_folder: The folder of the table; the caller holds its lock.
        schema: The present columns.
    """
    old = table_folder / parts.COLUMNS_FILE
    if is_version_1(table_folder):
        for path in sorted(table_folder.glob("dataset=*/*.parquet")):
            if _version(path) == 1:
                filling.replace(path, converted(table, filling.read(path), schema), table_folder)
    datasets = [path for path in sorted(table_folder.glob("dataset=*")) if path.is_dir()]
    parts.write_columns(datasets, table_folder, schema)
    if old.exists():
        old.unlink()
        checksum_list.update(table_folder, removed=[old])


def converted(table: str, rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows of any version with the present columns.

    Args:
        table: Name of the table.
        rows: The rows, with the version in the metadata of their schema.
        schema: The present columns.
    """
    if int((rows.schema.metadata or {}).get(SCHEMA_VERSION, VERSION)) == 1:
        return tables_v1.upgraded(table, rows, schema)
    return filling.with_columns(rows, schema)


def _version(path: Path) -> int:
    """The schema version of a part; the present version if the file does not exist or is damaged."""
    if not path.exists() or not is_readable(path):
        return VERSION
    return int((pq.read_schema(path).metadata or {}).get(SCHEMA_VERSION, VERSION))
