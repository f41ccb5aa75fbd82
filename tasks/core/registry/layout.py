"""A dataset's place in the registry, on disk: its lock, its versions, its aliases, its log.

    models/<dataset>/v0001/         a version
    models/<dataset>/aliases.json   names for versions
    models/<dataset>/log.jsonl      every change

A version appears by a rename, an alias changes by a rename, and both only under the lock: a reader, or a
kill at any moment, finds a whole registry. What a killed writer did without logging it is logged by the
next one. In a workspace at an address all this mirrors what machines agree on in its store (`commits`).
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.core.errors import RegistryError, UsageError
from tasks.core.registry import commits, log
from tasks.core.registry.commits import ALIASES, LOG, VERSION
from tasks.core.storage import atomic, lock, manifests, mirror
from tasks.core.workspace import Workspace

__all__ = ["ALIASES", "FORMAT", "LOG", "VERSION"]
FORMAT = 1
LOGGED_BY_RUN = "made by a run"


def folder(dataset: str, workspace: Workspace) -> Path:
    """Where the dataset's models lie.

    Raises:
        UsageError: The name cannot be a folder's.
    """
    if not dataset or Path(dataset).name != dataset or dataset.startswith("."):
        raise UsageError("a dataset's name must be usable as a folder's name", found=repr(dataset))
    return workspace.models / dataset


def synced_folder(dataset: str, workspace: Workspace) -> Path:
    """The dataset's folder, for a reader: up to date with the workspace's store if it has one."""
    place = folder(dataset, workspace)
    commits.pull(place, mirror.of_workspace(workspace))
    return place


@contextmanager
def locked_folder(dataset: str, workspace: Workspace) -> Iterator[Path]:
    """The dataset's folder, for one writer alone, with what killed ones left cleared up.

    Raises:
        Overtaken: See `commits.retry_on_conflict`, which every caller is decorated with.
    """
    place = folder(dataset, workspace)
    with lock.exclusive(place / ".lock"), commits.transaction(place, mirror.of_workspace(workspace)):
        for leftover in place.glob(".*.tmp"):
            atomic.remove(leftover)
        _log_missing_entries(place, alone=not workspace.address)
        yield place


def version_names(place: Path) -> list[str]:
    """Versions that are there, by number."""
    found = [path.name for path in place.glob("v*") if VERSION.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda name: int(name[1:]))


def next_version_name(place: Path) -> str:
    """A version's name that was never given, not even to a version that was deleted since."""
    given = [*version_names(place), *(change.get("version") or "v0" for change in log.read(place / LOG))]
    return f"v{max((int(name[1:]) for name in given), default=0) + 1:04d}"


def aliases(place: Path) -> dict[str, str]:
    """Which version each alias names."""
    return dict(_read(place)["aliases"])


def write_aliases(place: Path, aliases: Mapping[str, str], change: Mapping[str, Any]) -> None:
    """Replace all aliases at once and log the change; the lock must be held."""
    content = {"format": FORMAT, "aliases": dict(sorted(aliases.items())), "change": dict(change)}
    atomic.write_bytes(place / ALIASES, json.dumps(content, indent=1).encode())
    log.append(place / LOG, change)


def _read(place: Path) -> dict[str, Any]:
    path = place / ALIASES
    if not path.exists():
        return {"aliases": {}, "change": None}
    content = dict(json.loads(path.read_bytes()))
    if content.get("format") != FORMAT:
        raise RegistryError(
            f"{path} is of an unknown format", expected=f"format {FORMAT}", found=str(content.get("format"))
        )
    return content


def _log_missing_entries(place: Path, alone: bool) -> None:
    """Log what others did.

    Args:
        place: The dataset's folder.
        alone: Whether they must be dead, since this process holds the only lock. A machine that shares the
            store may be just about to write the same line.
    """
    logged = log.read(place / LOG)
    change = _read(place)["change"]
    if change and change not in logged:
        log.append(place / LOG, change)
    published = {line["version"] for line in logged if line["action"] == "publish"}
    for name in version_names(place):
        if name not in published:
            who = str(manifests.read(place / name)["facts"].get("who", ""))
            why = "found unlogged: its writer was interrupted" if alone else LOGGED_BY_RUN
            log.append(place / LOG, log.record("publish", who, why, version=name))
