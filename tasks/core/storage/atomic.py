"""Files and directories that appear whole or not at all: written beside their place, synced, renamed.

What is being written is called `.<name>.<process id>.tmp`, in the folder of the finished thing and nowhere
else: so one rule finds what killed writers left (`leftovers`).
"""

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def staging_path(path: Path) -> Path:
    """Where this process writes what will become `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file so that a reader sees the old content or the new, never a part."""
    with replacing(path) as staging:
        staging.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write a file at, which then takes the place of `path` in one step.

    If the block fails, nothing is left behind, and `path` stays as it was.
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
    """An empty directory to build `path` in; removed at the end unless it was renamed."""
    staging = staging_path(path)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def move_file(staging: Path, path: Path) -> None:
    """Sync a finished file and let it take its place."""
    sync(staging)
    staging.replace(path)
    sync(path.parent)


def replace_directory(staging: Path, directory: Path) -> None:
    """Let a finished directory take its place by a rename; the directory's lock must be held."""
    sync(staging)
    if directory.exists():
        aside = staging_path(directory.with_name(f"{directory.name}.old"))
        shutil.rmtree(aside, ignore_errors=True)
        directory.rename(aside)
        staging.rename(directory)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        staging.rename(directory)
    sync(directory.parent)


def remove_directory(directory: Path) -> None:
    """Remove a directory so that no reader sees a part of it."""
    aside = staging_path(directory)
    directory.rename(aside)
    sync(directory.parent)
    shutil.rmtree(aside)


def remove_leftovers(path: Path) -> None:
    """Remove what killed writers of `path` left; its lock must be held."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        remove(leftover)


def remove(path: Path) -> None:
    """Remove a file, or a directory with all that is in it."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def leftovers(root: Path) -> list[Path]:
    """Everything below `root` that a writer which is not alive on this machine was writing, sorted.

    What lies inside such a directory is not listed again.
    """
    found: list[Path] = []
    for folder, names, files in os.walk(root):
        stale = [name for name in (*names, *files) if _is_staging(name) and not _is_alive(name)]
        found += [Path(folder, name) for name in stale]
        names[:] = [name for name in names if not _is_staging(name)]
    return sorted(found)


def finished_path(leftover: Path) -> Path:
    """What a leftover was to become: its lock is the one that its writer held."""
    return leftover.with_name(leftover.name.removeprefix(".").removesuffix(".tmp").rpartition(".")[0])


def _is_staging(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


def _is_alive(name: str) -> bool:
    """Whether the writer that the name tells runs on this machine; false also if it runs on another one."""
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
    """Flush a file, or a directory's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
