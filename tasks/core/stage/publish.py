"""Builds and publishes the output of a stage: atomically, with a manifest, and mirrored in a store if any.

A finished output is a directory whose name is the digest of its ingredients. It is built in a temporary
sibling directory, synced, given its manifest last, and renamed. So a reader sees the complete output or none.
"""

import resource
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tasks.core.stage.ingredients import Ingredients
from tasks.core.storage import atomic, lock, manifests, mirror, verification


def publish(
    directory: Path,
    ingredients: Ingredients,
    build: Callable[[Path], Mapping[str, Any]],
    *,
    refresh: bool = False,
) -> dict[str, Any]:
    """Return the manifest of `directory`; build the directory first unless it is complete.

    In a workspace at an address, the output is downloaded from the store instead of built, or uploaded after
    it was built. If another machine has already uploaded other bytes (floating-point sums differ between
    processors), its output replaces the one built here.

    Args:
        directory: The final path; its name is the digest of `ingredients`.
        ingredients: What decides the output.
        build: Is called with a temporary, empty directory, writes the files into it, and returns facts for
            the manifest: JSON values.
        refresh: Build again even if the output is complete.

    Raises:
        Exception: Whatever `build` raises. The temporary directory is removed, and an earlier output stays.
        NetworkError: The store could not be reached. The built output stays on this machine.
    """
    remote = mirror.of_directory(directory)
    with locked(directory):
        if refresh or not (manifests.is_complete(directory) or (remote and remote.fetch(directory))):
            _build(directory, ingredients, build)
        if remote and not remote.push(directory, replace=refresh):
            remote.fetch(directory)
        return manifests.read(directory)


def locked(directory: Path) -> AbstractContextManager[None]:
    """Return a context manager that holds the lock for building, downloading or replacing a directory."""
    return lock.exclusive(lock_path(directory))


def lock_path(directory: Path) -> Path:
    """Return the path of the lock file of a directory."""
    return directory.with_name(f".{directory.name}.lock")


def _build(directory: Path, ingredients: Ingredients, build: Callable[[Path], Mapping[str, Any]]) -> None:
    atomic.remove_leftovers(directory)
    with atomic.staging_directory(directory) as staging:
        with Stopwatch() as stopwatch, verification.required():
            _verify_predictions(directory.parent.parent, ingredients)
            facts = dict(build(staging))
        manifests.write(staging, ingredients.record(), facts, stopwatch.cost)
        atomic.replace_directory(staging, directory)


def _verify_predictions(root: Path, ingredients: Ingredients) -> None:
    """Verify the predictions of an evaluation: it names them by their path, and not by a handle."""
    evaluation = root / "evaluations" / ingredients.inputs.get("evaluation", "")
    if (evaluation / manifests.MANIFEST).exists():
        predictions = manifests.read(evaluation)["ingredients"]["inputs"].get("predictions", "")
        verification.verify(root / "predictions" / predictions)


class Stopwatch:
    """Measures a block: wall and CPU seconds, and the peak memory of the process in MB.

    Attributes:
        cost: The measurements, set at the end of the block.
    """

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
    """Make sure that a directory is complete locally; download it if necessary.

    Returns:
        The remaining problem, as text; empty if the directory is complete.
    """
    problem = manifests.find_damage(directory)
    remote = mirror.of_directory(directory) if problem else None
    if remote is None:
        return problem
    with locked(directory):
        return manifests.find_damage(directory) if remote.fetch(directory) else problem


def ensure_manifest(directory: Path) -> Path:
    """Download the manifest of a directory if it is only in the store. Returns the directory."""
    remote = mirror.of_directory(directory)
    if remote is not None and not (directory / manifests.MANIFEST).exists():
        with locked(directory):
            remote.fetch_manifest(directory)
    return directory


def exists_anywhere(directory: Path) -> bool:
    """Whether the directory is complete, locally or in the workspace's store."""
    remote = mirror.of_directory(directory)
    return manifests.is_complete(directory) or (remote is not None and remote.has(directory))


def is_manifest_only(directory: Path) -> bool:
    """Whether only the manifest is local, as in a mirror that did not need the files."""
    return mirror.of_directory(directory) is not None and [path.name for path in directory.iterdir()] == [
        manifests.MANIFEST
    ]
