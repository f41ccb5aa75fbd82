"""Commits: the changes of a registry in an object store, as numbered objects that are created only once.

    models/<dataset>/commits/00000017.json    new log lines, new decisions, all aliases, the notes

A change reads all commits (`commit_files`), changes the local files under the lock, and creates the object
with the next number. If two machines create the same number, the store refuses one of them. That machine
reads the other's commit and repeats its change (Delta Lake's protocol: Armbrust et al., PVLDB 13(12), 2020).

The local files `aliases.json`, `log.jsonl`, `decisions.jsonl` and `decisions/` are derived from the commits.
The next read removes what a killed or refused change left in them. A version exists if its manifest exists
and no commit has deleted it.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from random import uniform
from time import sleep
from typing import Any, ParamSpec, TypeVar

from tasks.core.errors import RegistryError
from tasks.core.registry import commit_files, log
from tasks.core.registry.model_card import NOTES
from tasks.core.storage import atomic, lock
from tasks.core.storage.manifests import MANIFEST
from tasks.core.storage.mirror import Mirror

ALIASES = "aliases.json"
LOG = "log.jsonl"
DECISIONS = "decisions"
DECISION_LOG = "decisions.jsonl"
VERSION = re.compile(r"v\d{4,}")
MAX_TRIES = 50  # each change of another machine can cause at most one conflict

P = ParamSpec("P")
T = TypeVar("T")
# Directories that this thread is changing: a pull must not undo a change that is in progress.
_changing: ContextVar[frozenset[Path]] = ContextVar("changing", default=frozenset())


class CommitConflict(Exception):  # noqa: N818 - an event, not an error: the change is repeated
    """Another machine has changed the registry in the meantime."""


@dataclass(frozen=True)
class RegistryState:
    """The content of the mutable files of a registry.

    Args:
        aliases: Text of aliases.json; empty if the file does not exist.
        log: Lines of log.jsonl.
        decisions: Lines of decisions.jsonl.
        evidence: Texts of the files in the folder `decisions`, by file name.
        notes: Text of the notes that users wrote for the model cards.
    """

    aliases: str
    log: tuple[str, ...]
    decisions: tuple[str, ...]
    evidence: Mapping[str, str]
    notes: str

    @classmethod
    def of(cls, directory: Path) -> "RegistryState":
        """Read the state from a dataset's directory."""
        files = sorted((directory / DECISIONS).glob("[0-9a-f]*.json"))
        return cls(
            _text(directory / ALIASES),
            tuple(_text(directory / LOG).split("\n")[:-1]),
            tuple(_text(directory / DECISION_LOG).split("\n")[:-1]),
            {path.name: _text(path) for path in files},
            _text(directory / NOTES),
        )

    def since(self, before: "RegistryState") -> dict[str, Any]:
        """The changes since an earlier state, as the fields of a commit; empty if there are none."""
        added = {
            "aliases": self.aliases if self.aliases != before.aliases else "",
            "log": list(self.log[len(before.log) :]),
            "lines": list(self.decisions[len(before.decisions) :]),
            "evidence": {name: text for name, text in self.evidence.items() if name not in before.evidence},
            "notes": self.notes if self.notes != before.notes else "",
        }
        return added if any(added.values()) else {}


def retry_on_conflict(change: Callable[P, T]) -> Callable[P, T]:
    """Decorator: repeat a change from its beginning after a `CommitConflict`, at most `MAX_TRIES` times.

    Raises:
        RegistryError: Every attempt had a conflict.
    """

    @wraps(change)
    def attempt_until_committed(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(MAX_TRIES):
            try:
                return change(*args, **kwargs)
            except CommitConflict:
                sleep(uniform(0, 0.05 * 2 ** min(attempt, 5)))
        raise RegistryError(
            "other machines keep changing the registry",
            found=f"{MAX_TRIES} conflicts with their commits",
            done="nothing was changed",
            todo="run again",
        )

    return attempt_until_committed


def pull(directory: Path, remote: Mirror | None) -> None:
    """Update the local directory from the store, if there is one and this thread is not changing it."""
    if remote is not None and directory not in _changing.get():
        with lock.exclusive(directory / ".lock"):
            _update(directory, remote)


@contextmanager
def transaction(directory: Path, remote: Mirror | None) -> Iterator[None]:
    """Context manager: commits at its end what the block changed in the local files.

    The caller holds the directory's lock.

    Args:
        directory: The dataset's directory in the mirror.
        remote: The mirror; None in a workspace without a store, where nothing is committed.

    Raises:
        CommitConflict: Another machine committed in the meantime. Nobody can see any part of this change.
    """
    if remote is None:
        yield
        return
    _update(directory, remote)
    # Users edit the notes at any time, and a refused or killed change leaves its evidence in the folder: what
    # is committed is the state before the change.
    committed = commit_files.read(directory)
    before = replace(
        RegistryState.of(directory), notes=commit_files.notes(committed)[-1], evidence=_evidence(committed)
    )
    token = _changing.set(_changing.get() | {directory})
    try:
        yield
    finally:
        _changing.reset(token)
    if added := RegistryState.of(directory).since(before):
        while added and not commit_files.create(directory, remote, added):
            if not _is_publication(added):
                raise CommitConflict
            _update(directory, remote)
            added = _unlogged(added, directory)
        _update(directory, remote)
        _remove_deleted(directory, remote)


def publish(staging: Path, final: Path, remote: Mirror | None) -> None:
    """Upload a new version from `staging` to the store, if there is one, under the number of `final`.

    Raises:
        CommitConflict: Another machine has published a version under that number.
    """
    if remote is not None and not remote.push(staging, final):
        remote.remove_upload(staging, final)
        raise CommitConflict


def _update(directory: Path, remote: Mirror) -> None:
    """Download new commits, then derive the local files and versions from all commits."""
    listing = remote.store.listing(remote.name(directory))
    commits = commit_files.download(directory, remote, listing)
    _write(directory, commits)
    _versions(directory, remote, listing, deleted(commits))


def _is_publication(added: Mapping[str, Any]) -> bool:
    """Whether the change only publishes versions. It is valid after any other commit: the number is taken."""
    actions = {json.loads(line)["action"] for line in added["log"]}
    return actions == {"publish"} and not (added["aliases"] or added["lines"] or added["notes"])


def _unlogged(added: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """A publication without the lines that another machine has logged already; empty if none is left."""
    logged = {json.loads(line).get("version") for line in RegistryState.of(directory).log}
    lines = [line for line in added["log"] if json.loads(line)["version"] not in logged]
    return {**added, "log": lines} if lines else {}


def deleted(commits: list[dict[str, Any]]) -> set[str]:
    """Names of the versions that a commit has deleted."""
    lines = (json.loads(line) for commit in commits for line in commit["log"])
    return {line["version"] for line in lines if line["action"] == "delete"}


def _write(directory: Path, commits: list[dict[str, Any]]) -> None:
    """Write the local files that follow from the commits."""
    aliases = [commit["aliases"] for commit in commits if commit["aliases"]]
    evidence = _evidence(commits)
    texts = {
        ALIASES: aliases[-1] if aliases else "",
        LOG: "".join(f"{line}\n" for commit in commits for line in commit["log"]),
        DECISION_LOG: "".join(f"{line}\n" for commit in commits for line in commit["lines"]),
        **{f"{DECISIONS}/{name}": text for name, text in evidence.items()},
    }
    notes = commit_files.notes(commits)
    if _text(directory / NOTES) in notes:  # otherwise they were edited here, and the next change commits them
        texts[NOTES] = notes[-1]
    for name, text in texts.items():
        path = directory / name
        if _text(path) != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_bytes(path, text.encode()) if text else path.unlink()
    for path in (directory / LOG, directory / DECISION_LOG):
        if log.intact_entries(path)[1] or log.end_problem(path):
            log.record_end(path)


def _evidence(commits: list[dict[str, Any]]) -> dict[str, str]:
    return {Path(name).name: text for commit in commits for name, text in commit["evidence"].items()}


def _versions(
    directory: Path, remote: Mirror, listing: Mapping[str, int], deleted_versions: set[str]
) -> None:
    """Make the local version directories match the store: add missing manifests, remove other versions."""
    manifests = {Path(path).parent.name for path in listing if path.endswith(f"/{MANIFEST}")}
    versions = {name for name in manifests if VERSION.fullmatch(name)} - deleted_versions
    for path in directory.glob("v*"):
        if VERSION.fullmatch(path.name) and path.name not in versions:
            atomic.remove_directory(path)
    for name in sorted(versions):
        remote.fetch_manifest(directory / name)


def _remove_deleted(directory: Path, remote: Mirror) -> None:
    """Delete the files of versions from the store whose deletion is committed."""
    listing = remote.store.listing(remote.name(directory))
    for version in sorted(deleted(commit_files.read(directory))):
        prefix = f"{remote.name(directory / version)}/"
        if any(path.startswith(prefix) and not path.endswith(f"/{MANIFEST}") for path in listing):
            remote.delete(directory / version)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
