"""Where a finished directory is: here, or only in the store of a workspace at an address."""

from pathlib import Path

from tasks.core import stage
from tasks.core.workspace import elsewhere_of


def obtain(directory: Path) -> str:
    """Have a finished directory here, from the workspace's store if need be; what is wrong, or empty."""
    problem = stage.damage(directory)
    elsewhere = elsewhere_of(directory) if problem else None
    if elsewhere is None:
        return problem
    with stage.locked(directory):
        return stage.damage(directory) if elsewhere.fetch(directory) else problem


def glance(directory: Path) -> Path:
    """The directory, its manifest brought from the workspace's store if it is only there."""
    elsewhere = elsewhere_of(directory)
    if elsewhere is not None and not (directory / stage.MANIFEST).exists():
        with stage.locked(directory):
            elsewhere.glance(directory)
    return directory


def is_kept(directory: Path) -> bool:
    """Whether the directory is whole, here or in the workspace's store."""
    elsewhere = elsewhere_of(directory)
    return stage.is_whole(directory) or (elsewhere is not None and elsewhere.has(directory))


def is_glanced(directory: Path) -> bool:
    """Whether only the manifest is here, as in a mirror that had no need of the files."""
    return elsewhere_of(directory) is not None and [path.name for path in directory.iterdir()] == [
        stage.MANIFEST
    ]
