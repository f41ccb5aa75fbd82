"""A dataset's directory in the registry: its lock, versions, aliases and log.

    models/<dataset>/v0001/         a version
    models/<dataset>/aliases.json   names for versions
    models/<dataset>/log.jsonl      every change

A version appears by a rename, and aliases change by a rename, both only under the lock. The registry is
therefore consistent for every reader and after a kill at any moment. If a killed writer did not log its
change, the next writer logs it. In a workspace at an address, this directory mirrors the commits in the store
(see `commits`).
"""

import json
import unicodedata
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
    """The directory of the dataset's models.

    Raises:
        UsageError: The name cannot be the name of a folder.
    """
    if not dataset or Path(dataset).name != dataset or dataset.startswith("."):
        raise UsageError("a dataset's name must be usable as a folder's name", found=repr(dataset))
    return workspace.models / unicodedata.normalize("NFC", dataset)


def synced_folder(dataset: str, workspace: Workspace) -> Path:
    """The dataset's directory for reading, updated from the workspace's store if it has one."""
    directory = folder(dataset, workspace)
    commits.pull(directory, mirror.of_workspace(workspace))
    return directory


@contextmanager
def locked_folder(dataset: str, workspace: Workspace, *, create: bool = False) -> Iterator[Path]:
    """Context manager: the dataset's directory for one writer, without the leftovers of killed writers.

    Args:
        dataset: Name of the dataset.
        workspace: The workspace with the registry.
        create: Whether the directory may be new.

    Raises:
        RegistryError: There is no such dataset, and `create` is false.
        CommitConflict: See `commits.retry_on_conflict`, which decorates every caller.
    """
    directory = folder(dataset, workspace)
    if not create and not version_names(synced_folder(dataset, workspace)):
        raise unknown(dataset, "", [])
    with lock.exclusive(directory / ".lock"), commits.transaction(directory, mirror.of_workspace(workspace)):
        for leftover in directory.glob(".*.tmp"):
            atomic.remove(leftover)
        _log_missing_entries(directory, exclusive=not workspace.address)
        yield directory


def version_names(directory: Path) -> list[str]:
    """Names of the existing versions, sorted by number."""
    names = [path.name for path in directory.glob("v*") if VERSION.fullmatch(path.name) and path.is_dir()]
    return sorted(names, key=lambda name: int(name[1:]))


def next_version_name(directory: Path) -> str:
    """The next version name that was never used, not even by a version that is deleted now."""
    used = [
        *version_names(directory),
        *(change.get("version") or "v0" for change in log.read(directory / LOG)),
    ]
    return f"v{max((int(name[1:]) for name in used), default=0) + 1:04d}"


def find_version(dataset: str, name: str, directory: Path) -> str:
    """The existing version that a user means.

    Args:
        dataset: Name of the dataset.
        name: A version such as "v0001", its number, or an alias.
        directory: The dataset's directory.

    Raises:
        RegistryError: There is no such version.
    """
    known, names = aliases(directory), version_names(directory)
    version = known.get(name) or (f"v{int(name):04d}" if name.isdecimal() else name)
    if version not in names:
        raise unknown(dataset, name, [*known, *names])
    return version


def unknown(dataset: str, name: str, known_names: list[str]) -> RegistryError:
    """The error for a version that a dataset does not have."""
    if known_names:
        return RegistryError(
            f"{dataset} has no model {name}",
            expected=f"one of {', '.join(known_names)}",
            found="none of that name",
            done="nothing was changed",
        )
    return RegistryError(
        f"{dataset} has no published model",
        expected=name or "the name of a dataset with published models",
        found="nothing published under this name",
        done="nothing was changed",
        todo="train a model first; `plumbline models list` shows the published models",
    )


def aliases(directory: Path) -> dict[str, str]:
    """The version of each alias."""
    return dict(_read(directory)["aliases"])


def write_aliases(directory: Path, aliases: Mapping[str, str], change: Mapping[str, Any]) -> None:
    """Replace all aliases in one rename and log the change; the caller holds the lock."""
    content = {"format": FORMAT, "aliases": dict(sorted(aliases.items())), "change": dict(change)}
    atomic.write_bytes(directory / ALIASES, json.dumps(content, indent=1).encode())
    log.append(directory / LOG, change)


def _read(directory: Path) -> dict[str, Any]:
    path = directory / ALIASES
    if not path.exists():
        return {"aliases": {}, "change": None}
    content = dict(json.loads(path.read_bytes()))
    if content.get("format") != FORMAT:
        raise RegistryError(
            f"{path} is of an unknown format", expected=f"format {FORMAT}", found=str(content.get("format"))
        )
    return content


def _log_missing_entries(directory: Path, exclusive: bool) -> None:
    """Log the changes that other writers made and did not log.

    Args:
        directory: The dataset's directory.
        exclusive: Whether this process holds the only lock, so that those writers were interrupted. Without
            it, another machine that shares the store may be about to write the same line.
    """
    entries = log.read(directory / LOG)
    change = _read(directory)["change"]
    if change and change not in entries:
        log.append(directory / LOG, change)
    published = {line["version"] for line in entries if line["action"] == "publish"}
    for name in version_names(directory):
        if name not in published:
            who = str(manifests.read(directory / name)["facts"].get("who", ""))
            why = "found unlogged: its writer was interrupted" if exclusive else LOGGED_BY_RUN
            log.append(directory / LOG, log.record("publish", who, why, version=name))
