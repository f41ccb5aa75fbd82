"""A dataset's directory in the registry: its lock, versions, aliases and log.

    models/<dataset>/v0001/         a version
    models/<dataset>/aliases.json   names for versions
    models/<dataset>/log.jsonl      every change

A version appears by a rename, and aliases change by a rename, both only under the lock. The registry is
therefore consistent for every reader and after a kill at any moment. If a killed writer did not log its
change, the next writer logs it. The log decides: if aliases.json is missing, damaged or edited, the aliases
are those of the log. In a workspace at an address, this directory mirrors the commits in the store
(see `commits`).
"""

import json
import logging
import time
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks.core.errors import FormatError, RegistryError, UsageError
from tasks.core.registry import commits, log
from tasks.core.registry.commits import ALIASES, LOG, VERSION
from tasks.core.storage import atomic, hashing, lock, manifests, mirror, names
from tasks.core.workspace import Workspace

__all__ = ["ALIASES", "FORMAT", "LOG", "VERSION"]
FORMAT = 1
LOGGED_BY_RUN = "made by a run"
UNSEALED = frozenset({"format", "aliases", "change"})  # the keys of an aliases.json of earlier versions
messages = logging.getLogger("plumbline.registry")
_said: set[str] = set()  # problems that this process has shown


def folder(dataset: str, workspace: Workspace) -> Path:
    """The directory of the dataset's models.

    Raises:
        UsageError: The name cannot be the name of a folder.
    """
    if names.refusal(dataset) or Path(dataset).name != dataset or dataset.startswith("."):
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
        expected="the name of a dataset with published models",
        found="nothing published under this name",
        done="nothing was changed",
        todo="train a model first; `plumbline models list` shows the published models",
    )


@dataclass(frozen=True)
class AliasState:
    """The aliases of a dataset.

    Args:
        aliases: The version of each alias.
        change: The last change that aliases.json has; None if there is none.
        problem: Why aliases.json was not believed, so that the aliases are those of the log; else empty.
    """

    aliases: dict[str, str]
    change: dict[str, Any] | None
    problem: str = ""


def aliases(directory: Path) -> dict[str, str]:
    """The version of each alias.

    Raises:
        RegistryError: The log is damaged.
    """
    state = alias_state(directory)
    if state.problem and state.problem not in _said:
        _said.add(state.problem)
        now = ", ".join(f"{name} {version}" for name, version in state.aliases.items()) or "none"
        messages.warning("%s: the aliases are those of %s: %s", state.problem, LOG, now)
    return state.aliases


def alias_state(directory: Path) -> AliasState:
    """The aliases, and whether aliases.json agrees with the log.

    Raises:
        RegistryError: The log is damaged, or aliases.json is of an unknown format.
    """
    for _ in range(log.TRIES):
        state = _alias_state(directory, log.read(directory / LOG))
        if not state.problem:
            return state
        time.sleep(0.02)  # a writer may have changed the file after the log was read
    return state


def write_aliases(directory: Path, aliases: Mapping[str, str], change: Mapping[str, Any]) -> None:
    """Replace all aliases in one rename and log the change; the caller holds the lock."""
    _write(directory, aliases, change)
    log.append(directory / LOG, change)


def rebuild_aliases(directory: Path) -> str:
    """Write aliases.json again if it is not believed; the caller holds the lock. Returns what was wrong."""
    state = alias_state(directory)
    if state.problem:
        _write(directory, state.aliases, state.change)
    return state.problem


def manifest_problem(directory: Path, version: str) -> str:
    """How a version's manifest differs from the one that the log says was published; empty if it does not."""
    logged = [
        line.get("manifest")
        for line in log.read(directory / LOG)
        if line["action"] == "publish" and line.get("version") == version
    ]
    found = manifests.read(directory / version).get(hashing.SEAL)
    if logged and logged[-1] and logged[-1] != found:
        return f"{directory / version / manifests.MANIFEST} is not the one that {LOG} says was published"
    return ""


def log_publication(directory: Path, version: str, who: str, why: str) -> None:
    """Log that a version was published, with the hash of its manifest; the caller holds the lock."""
    try:
        seal = manifests.read(directory / version).get(hashing.SEAL)
    except FormatError:
        seal = None
    details = {"version": version} | ({"manifest": seal} if seal else {})
    log.append(directory / LOG, log.record("publish", who, why, **details))


def _write(directory: Path, aliases: Mapping[str, str], change: Mapping[str, Any] | None) -> None:
    content = {
        "format": FORMAT,
        "aliases": dict(sorted(aliases.items())),
        "change": dict(change) if change else None,
    }
    atomic.write_bytes(directory / ALIASES, json.dumps(hashing.sealed(content), indent=1).encode())


def _alias_state(directory: Path, entries: list[dict[str, Any]]) -> AliasState:
    path, logged = directory / ALIASES, log.aliases(entries)
    content, problem = read_aliases_file(path)
    changes = [entry for entry in entries if entry["action"] in log.ALIAS_ACTIONS]
    of_log = AliasState(logged, changes[-1] if changes else None)
    if content is None:
        return (
            of_log if not problem and not logged else replace(of_log, problem=problem or f"{path} is missing")
        )
    change = content["change"]
    if content["aliases"] and not (directory / LOG).exists():
        raise log.damaged(directory / LOG, "it is missing")
    # A writer that was killed has changed the aliases and not logged it yet.
    expected = log.aliases([*entries, change]) if change and change not in entries else logged
    if dict(content["aliases"]) == expected:
        return AliasState(expected, change)
    return replace(of_log, problem=f"{path} disagrees with {LOG}")


def read_aliases_file(path: Path) -> tuple[dict[str, Any] | None, str]:
    """The content of aliases.json, or None; and what is wrong with it."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None, ""
    except ValueError:
        return None, f"{path} is damaged"
    if not isinstance(content, dict) or hashing.seal_problem(content, UNSEALED):
        return None, f"{path} is damaged"
    if content.get("format") != FORMAT:
        raise RegistryError(
            f"{path} is of an unknown format", expected=f"format {FORMAT}", found=str(content.get("format"))
        )
    return content, ""


def _log_missing_entries(directory: Path, exclusive: bool) -> None:
    """Log the changes that other writers made and did not log.

    Args:
        directory: The dataset's directory.
        exclusive: Whether this process holds the only lock, so that those writers were interrupted. Without
            it, another machine that shares the store may be about to write the same line.
    """
    entries = log.read(directory / LOG)
    aliases(directory)  # says if they are not those of aliases.json
    rebuild_aliases(directory)
    change = alias_state(directory).change
    if change and change not in entries:
        log.append(directory / LOG, change)
    published = {line["version"] for line in entries if line["action"] == "publish"}
    for name in version_names(directory):
        if name not in published:
            why = "found unlogged: its writer was interrupted" if exclusive else LOGGED_BY_RUN
            log_publication(directory, name, _published_by(directory / name), why)


def _published_by(directory: Path) -> str:
    try:
        return str(manifests.read(directory)["facts"].get("who", ""))
    except FormatError:
        return ""
