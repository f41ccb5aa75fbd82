"""Atomic writes of files and directories: write to a temporary sibling, sync, rename.

The temporary sibling is always called `.<name>.<process id>.tmp`, in the folder of the finished file or
directory. So one rule finds what killed writers left (`leftovers`).
"""

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def staging_path(path: Path) -> Path:
    """Return the temporary sibling of `path` that this process writes to."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file atomically: a reader sees either the old content or the new content."""
    with replacing(path) as staging:
        staging.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write a file to, and replace `path` by it atomically at the end of the block.

    If the block fails, the temporary file is removed and `path` is not changed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = staging_path(path)
    try:
        yield staging
        move_file(staging, path)
    finally:
        staging.unlink(missing_ok=True)


@contextmanager
def staging_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory in which `path` is built; at the end it is removed unless it was renamed."""
    staging = staging_path(path)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def move_file(staging: Path, path: Path) -> None:
    """Sync the finished file `staging` and rename it to `path`."""
    sync(staging)
    staging.replace(path)
    sync(path.parent)


def replace_directory(staging: Path, directory: Path) -> None:
    """Sync the finished directory `staging` and rename it to `directory`, whose lock must be held.

    An earlier `directory` is renamed first and removed last.
    """
    sync(staging)
    if directory.exists():
        old = staging_path(directory.with_name(f"{directory.name}.old"))
        shutil.rmtree(old, ignore_errors=True)
        directory.rename(old)
        staging.rename(directory)
        shutil.rmtree(old, ignore_errors=True)
    else:
        staging.rename(directory)
    sync(directory.parent)


def remove_directory(directory: Path) -> None:
    """Remove a directory atomically: it is renamed first, so that no reader sees a part of it."""
    renamed = staging_path(directory)
    directory.rename(renamed)
    sync(directory.parent)
    shutil.rmtree(renamed)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files and directories of killed writers of `path`, whose lock must be held."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        remove(leftover)


def remove(path: Path) -> None:
    """Remove a file, or a directory with its content; neither needs to exist."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def leftovers(root: Path) -> list[Path]:
    """Return the temporary files and directories below `root` whose writers do not run here, sorted.

    A writer on another machine counts as not running. The content of such a directory is not listed.
    """
    paths: list[Path] = []
    for parent, directories, files in os.walk(root):
        stale = [name for name in (*directories, *files) if _is_staging(name) and not _is_alive(name)]
        paths += [Path(parent, name) for name in stale]
        directories[:] = [name for name in directories if not _is_staging(name)]
    return sorted(paths)


def finished_path(leftover: Path) -> Path:
    """Return the final path of a leftover. The lock of that path is the one that the writer held."""
    return leftover.with_name(leftover.name.removeprefix(".").removesuffix(".tmp").rpartition(".")[0])


def _is_staging(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


def _is_alive(name: str) -> bool:
    """Whether the writer in the name runs on this machine; False also if it runs on another machine."""
    pid = name.removesuffix(".tmp").rpartition(".")[2]
    if not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def sync(path: Path) -> None:
    """Flush a file, or the entries of a directory, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
