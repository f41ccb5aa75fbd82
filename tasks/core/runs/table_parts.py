"""The parts of a metrics table: written with page checksums, and compared with a list of checksums.

A damaged part is left out of what is read, with a warning that names it. `plumbline doctor` names it, too.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from tasks.core.data.files.parquet_part import is_damaged, is_readable
from tasks.core.storage import atomic, checksum_list

PARTS = "**/*.parquet"
READING = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
log = logging.getLogger("plumbline.metrics")
_said: set[str] = set()  # parts that this process has named


def write(path: Path, content: pa.Table) -> None:
    """Write a part atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(path) as staging:
        pq.write_table(content, staging, compression="zstd", write_page_checksum=True)


def list_new(folder: Path, written: Iterable[Path] = ()) -> None:
    """Add the checksums of parts to the list of a table's folder.

    Args:
        folder: The folder of the table; the caller holds its lock.
        written: Parts that were written just now. Readable ones that have no checksum yet are added, too.
    """
    listed = checksum_list.read(folder)
    new = {path for path in folder.glob(PARTS) if not listed.is_listed(path) and is_readable(path)}
    checksum_list.add(folder, sorted(new | set(written)))


def damaged(folder: Path, parts: Iterable[Path]) -> list[Path]:
    """The parts that are not what was written: by their checksums, or if they have none, by reading them."""
    listed = checksum_list.read(folder)
    return [path for path in parts if is_damaged(path, listed)]


def read(dataset: ds.Dataset, folder: Path, condition: ds.Expression | None) -> pa.Table:
    """Read the intact parts of a table.

    Args:
        dataset: The parts.
        folder: The folder of the table.
        condition: Which rows.
    """
    fragments = {Path(fragment.path): fragment for fragment in dataset.get_fragments(condition)}
    broken = damaged(folder, fragments)
    for path in broken:
        _warn(path)
        del fragments[path]
    intact = ds.FileSystemDataset(
        list(fragments.values()), dataset.schema, ds.ParquetFileFormat(), dataset.filesystem
    )
    return intact.to_table(filter=condition, fragment_scan_options=READING)


def _warn(path: Path) -> None:
    if str(path) not in _said:
        _said.add(str(path))
        log.warning("%s is damaged: its rows are left out; restore it from a copy", path)
