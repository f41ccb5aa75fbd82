"""Checks of a parquet file in a folder that has a list of checksums in place of a manifest."""

from pathlib import Path

import pyarrow.parquet as pq

from tasks.core.storage.checksum_list import ChecksumList


def is_damaged(path: Path, listed: ChecksumList) -> bool:
    """Whether a file is not what was written. A file without a checksum is read, with those of its pages."""
    return listed.differs(path) if listed.is_listed(path) else not is_readable(path)


def is_readable(path: Path) -> bool:
    """Whether all of a file can be read, with the checksums of its pages if it has some."""
    try:
        pq.read_table(path, partitioning=None, page_checksum_verification=True)
    except (OSError, ValueError):  # pyarrow's errors are of these types
        return False
    return True
