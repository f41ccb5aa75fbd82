"""The parts of a table in an object store: one object a run, written once, never changed or removed.

A store cannot replace several objects in one step, and readers fetch an object in pieces. So the store has no
parts that grow: each run's rows are an object `dataset=cifar10/<run id>.parquet`. The mirror of each machine
adds them to its own parts (`filling`), and downloads only the runs that it does not have.
"""

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from tasks.core.data.files.parquet_part import is_readable
from tasks.core.runs.table_files import filling, parts
from tasks.core.storage.mirror import Mirror, check_inside

SUFFIX = ".parquet"
log = logging.getLogger("plumbline.metrics")


def pull(remote: Mirror, table_folder: Path, below: Path, converted: Callable[[pa.Table], pa.Table]) -> None:
    """Add the runs to the mirror's parts that only the store has; the caller holds the table's lock.

    Args:
        remote: The mirror.
        table_folder: The folder of the table in the mirror.
        below: The same folder, or that of one dataset.
        converted: Gives rows the present columns.
    """
    stored: dict[Path, list[str]] = {}
    for name in sorted(remote.store.listing(remote.name(below))):
        path = remote.root / check_inside(name)
        is_part = path.suffix == SUFFIX and path.name != parts.COLUMNS_FILE and path.parent != table_folder
        if is_part and not path.name.startswith((".", "_")):
            stored.setdefault(path.parent, []).append(name)
    for folder, names in stored.items():
        known = filling.run_ids(folder, table_folder)
        missing = [name for name in names if Path(name).stem not in known]
        for first, rows in _groups(_downloaded(remote, missing), converted):
            filling.add(rows, folder, table_folder, first)


def push(remote: Mirror, table_folder: Path, folder: Path, schema: pa.Schema) -> None:
    """Upload the runs of a dataset that the store lacks, also those that a killed run did not upload.

    Args:
        remote: The mirror.
        table_folder: The folder of the table in the mirror; the caller holds its lock.
        folder: The folder of the dataset in it.
        schema: The present columns of the table.
    """
    uploaded = remote.store.listing(remote.name(folder))
    with tempfile.TemporaryDirectory() as scratch:
        for run in sorted(filling.run_ids(folder, table_folder)):
            name, path = f"{remote.name(folder)}/{run}{SUFFIX}", Path(scratch) / "part"
            part = None if name in uploaded else filling.part_of(run, folder, table_folder)
            if part is not None:
                parts.write_file(path, filling.rows_of(run, part, schema))
                remote.store.upload(path, name)
    columns = folder / parts.COLUMNS_FILE
    if uploaded.get(remote.name(columns)) != columns.stat().st_size:
        remote.store.upload(columns, remote.name(columns))


def _downloaded(remote: Mirror, names: list[str]) -> Iterator[tuple[str, pa.Table]]:
    """The rows of objects by run. A damaged object is left out, with a warning."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "part"
        for name, content in sorted(remote.store.read_many(names).items()):
            path.write_bytes(content)
            if is_readable(path):
                yield Path(name).stem, filling.read(path)
            else:
                log.warning("%s/%s is damaged: its rows are left out", remote.store.address, name)


def _groups(
    runs: Iterable[tuple[str, pa.Table]], converted: Callable[[pa.Table], pa.Table]
) -> Iterator[tuple[str, pa.Table]]:
    """Tables of several runs that each fill a part, with the name of the first run."""
    group: list[pa.Table] = []
    first = ""
    for run, rows in runs:
        first = first or run
        group.append(converted(rows))
        if sum(map(len, group)) >= filling.FULL_ROWS:
            yield first, pa.concat_tables(group)
            group, first = [], ""
    if group:
        yield first, pa.concat_tables(group)
