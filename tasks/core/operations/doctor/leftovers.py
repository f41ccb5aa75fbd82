"""What killed processes were writing: found, told from what is still being written, and removed."""

from contextlib import ExitStack
from pathlib import Path

from tasks.core.stage import publish
from tasks.core.storage import atomic, lock
from tasks.core.workspace import Workspace

COPIES = ("*.copy",)  # what killed copies of earlier versions are called


def find(workspace: Workspace) -> list[Path]:
    """Files and directories whose writers do not run any more, sorted.

    A writer may run on another machine, or in another container. Then it holds a lock.
    """
    copies = {path for pattern in COPIES for path in workspace.root.rglob(pattern)}
    return [
        path for path in sorted({*atomic.leftovers(workspace.root), *copies}) if not _is_held(path, workspace)
    ]


def remove(workspace: Workspace) -> list[Path]:
    """Remove them, each while its locks are held. Returns the removed paths."""
    return [path for path in find(workspace) if _remove_locked(path, workspace)]


def _is_held(leftover: Path, workspace: Workspace) -> bool:
    return any(_is_locked(path) for path in _locks_of(leftover, workspace))


def _is_locked(path: Path) -> bool:
    with lock.opened(path) as descriptor:
        return not lock.try_lock(descriptor)


def _remove_locked(leftover: Path, workspace: Workspace) -> bool:
    with ExitStack() as stack:
        for path in _locks_of(leftover, workspace):
            if not lock.try_lock(stack.enter_context(lock.opened(path))):
                return False
        atomic.remove(leftover)
    return True


def _locks_of(leftover: Path, workspace: Workspace) -> list[Path]:
    """The locks that its writer may hold: those of its final path and of the folders around it.

    Temporary folders of a stage's portions have the name of another digest, so all locks of the folder count.
    """
    finished = atomic.finished_path(leftover)
    of_path = {publish.lock_path(finished), publish.lock_path(finished.with_suffix(""))}
    if finished.name.startswith("portions."):
        of_path |= set(leftover.parent.glob(".*.lock"))
    of_folders = {parent / ".lock" for parent in leftover.parents if parent.is_relative_to(workspace.root)}
    return sorted(path for path in of_path | of_folders if path.exists())
