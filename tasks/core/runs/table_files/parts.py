"""The parts of a metrics table: written with page checksums, and compared with a list of checksums.

A damaged part is left out of what is read, with a warning that names it. `plumbline doctor` names it, too.
"""

import logging
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from tasks.core.data.files.parquet_part import is_damaged, is_readable
from tasks.core.storage import atomic, checksum_list

PARTS = "**/*.parquet"
# Readers take the columns from the first file, which may be an old part. This file has no rows and all
# columns. Each dataset's folder has one, and its name sorts before those of the parts.
COLUMNS_FILE = "00-columns.parquet"
READING = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
# Bytes of a column's dictionary; one that grows larger is given up. With one for each column, up to 1 MB, the
# rows of 15,000 images took 33 MB and 62 ms to write instead of 6 and 15, and a third more of the disk.
DICTIONARY = 1 << 16
TRIES = 5  # looks at a part that a writer may be replacing
log = logging.getLogger("plumbline.metrics")
_said: set[str] = set()  # parts that this process has named


def write(path: Path, content: pa.Table) -> None:
    """Write a part atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(path) as staging:
        write_file(staging, content)


def write_file(path: Path, content: pa.Table) -> None:
    """Write the rows to a file, as one group of rows, with page checksums."""
    numbers = (pa.types.is_floating, pa.types.is_list)
    repeated = [field.name for field in content.schema if not any(known(field.type) for known in numbers)]
    pq.write_table(
        content,
        path,
        compression="zstd",
        write_page_checksum=True,
        use_dictionary=repeated,
        dictionary_pagesize_limit=DICTIONARY,
    )


def list_new(folder: Path) -> None:
    """Add the checksums of readable parts that have none yet to the list of a table's folder.

    Args:
        folder: The folder of the table; the caller holds its lock.
    """
    listed = checksum_list.read(folder)
    new = {path for path in folder.glob(PARTS) if not listed.is_listed(path) and is_readable(path)}
    checksum_list.add(folder, sorted(new))


def damaged(folder: Path, parts: Iterable[Path]) -> list[Path]:
    """The parts that are not what was written: by their checksums, or if they have none, by reading them."""
    broken = list(parts)
    for attempt in range(TRIES):
        listed = checksum_list.read(folder)
        broken = [path for path in broken if is_damaged(path, listed)]
        if not broken:
            return []
        time.sleep(0.002 * attempt)  # a writer may have replaced it after the list was read
    return broken


def read(
    dataset: ds.Dataset, folder: Path, condition: ds.Expression | None, columns: Sequence[str] | None
) -> pa.Table:
    """Read the intact parts of a table.

    Args:
        dataset: The parts.
        folder: The folder of the table.
        condition: Which rows.
        columns: Which columns; None reads all.
    """
    fragments = {Path(fragment.path): fragment for fragment in dataset.get_fragments(condition)}
    for path in damaged(folder, fragments):
        _warn(path)
        del fragments[path]
    intact = ds.FileSystemDataset(
        list(fragments.values()), dataset.schema, ds.ParquetFileFormat(), dataset.filesystem
    )
    chosen = None if columns is None else list(columns)
    return intact.to_table(columns=chosen, filter=condition, fragment_scan_options=READING)


def write_columns(folders: Collection[Path], table_folder: Path, schema: pa.Schema) -> list[Path]:
    """Write the file with all columns where it is missing, damaged or old. Returns the written files.

    Args:
        folders: The folders of datasets in the table.
        table_folder: The folder of the table; the caller holds its lock.
        schema: The present columns.
    """
    files = [folder / COLUMNS_FILE for folder in folders]
    broken = set(damaged(table_folder, [path for path in files if path.exists()]))
    old = [path for path in files if not path.exists() or path in broken or not _has(path, schema)]
    for path in old:
        write(path, schema.empty_table())
    checksum_list.add(table_folder, old)
    return old


def _has(path: Path, schema: pa.Schema) -> bool:
    return bool(pq.read_schema(path).equals(schema, check_metadata=True))


def _warn(path: Path) -> None:
    if str(path) not in _said:
        _said.add(str(path))
        log.warning("%s is damaged: its rows are left out; restore it from a copy", path)
