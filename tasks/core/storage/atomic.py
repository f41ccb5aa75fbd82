"""Files and directories that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file so that a reader sees the old content or the new, never a part."""
    with replacing(path) as staging:
        staging.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write a file at, which then takes the place of `path` in one step."""
    staging = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    yield staging
    sync(staging)
    staging.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file, or a directory's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_directory(staging: Path, directory: Path) -> None:
    """Let a finished directory take its place by a rename; the lock must be held."""
    sync(staging)
    if directory.exists():
        aside = staging.with_name(f".{directory.name}.old.tmp")
        shutil.rmtree(aside, ignore_errors=True)
        directory.rename(aside)
        staging.rename(directory)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        staging.rename(directory)
    sync(directory.parent)
