"""What every stage shares: a digest of its ingredients, a manifest, an atomic publish.

A finished stage is a directory named by the digest of its ingredients. It is built as a temporary
sibling, synced, given its manifest last, and renamed into place: it is there whole or not at all.
"""

import resource
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tasks.core.stage.ingredients import Ingredients
from tasks.core.storage import atomic, lock, manifests, mirror


def publish(
    directory: Path,
    ingredients: Ingredients,
    build: Callable[[Path], Mapping[str, Any]],
    *,
    refresh: bool = False,
) -> dict[str, Any]:
    """Return the manifest of `directory`, building the directory first unless it is there and whole.

    In a workspace at an address it is brought from the store, or sent there. If another machine was first
    with other bytes (floating-point sums differ between processors), those take the place of ours.

    Args:
        directory: The final place; its name is the digest of `ingredients`.
        ingredients: What the output follows from.
        build: Writes the files into the (temporary, empty) directory that it is given and returns facts
            for the manifest: JSON values.
        refresh: Build again even if a whole one is there.

    Raises:
        Whatever `build` raises; then nothing is left behind and what was there stays.
        NetworkError: The store could not be reached; what was built stays here.
    """
    remote = mirror.of_directory(directory)
    with locked(directory):
        if refresh or not (manifests.is_complete(directory) or (remote and remote.fetch(directory))):
            _build(directory, ingredients, build)
        if remote and not remote.push(directory, replace=refresh):
            remote.fetch(directory)
        return manifests.read(directory)


def locked(directory: Path) -> AbstractContextManager[None]:
    """Be the only one that makes, brings or replaces a directory."""
    return lock.exclusive(lock_path(directory))


def lock_path(directory: Path) -> Path:
    """The lock file of a directory."""
    return directory.with_name(f".{directory.name}.lock")


def _build(directory: Path, ingredients: Ingredients, build: Callable[[Path], Mapping[str, Any]]) -> None:
    atomic.remove_leftovers(directory)
    with atomic.staging_directory(directory) as staging:
        with Stopwatch() as stopwatch:
            facts = dict(build(staging))
        manifests.write(staging, ingredients.record(), facts, stopwatch.cost)
        atomic.replace_directory(staging, directory)


class Stopwatch:
    """Wall and CPU seconds of a block, and the process's peak memory at its end, as `cost`."""

    def __enter__(self) -> "Stopwatch":
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux
        self.cost = {
            "wall_seconds": round(time.perf_counter() - self._wall, 3),
            "cpu_seconds": round(time.process_time() - self._cpu, 3),
            "peak_memory_mb": round(peak * 1024 / 1e6, 1),
        }


def ensure_local(directory: Path) -> str:
    """Have a finished directory here, from the workspace's store if need be; what is wrong, or empty."""
    problem = manifests.find_damage(directory)
    remote = mirror.of_directory(directory) if problem else None
    if remote is None:
        return problem
    with locked(directory):
        return manifests.find_damage(directory) if remote.fetch(directory) else problem


def ensure_manifest(directory: Path) -> Path:
    """The directory, its manifest brought from the workspace's store if it is only there."""
    remote = mirror.of_directory(directory)
    if remote is not None and not (directory / manifests.MANIFEST).exists():
        with locked(directory):
            remote.fetch_manifest(directory)
    return directory


def exists_anywhere(directory: Path) -> bool:
    """Whether the directory is whole, here or in the workspace's store."""
    remote = mirror.of_directory(directory)
    return manifests.is_complete(directory) or (remote is not None and remote.has(directory))


def is_manifest_only(directory: Path) -> bool:
    """Whether only the manifest is here, as in a mirror that had no need of the files."""
    return mirror.of_directory(directory) is not None and [path.name for path in directory.iterdir()] == [
        manifests.MANIFEST
    ]
