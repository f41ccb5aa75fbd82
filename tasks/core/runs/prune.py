"""Finds the outputs in a workspace that nothing needs any more, and removes them.

Needed are the outputs of the newest runs of each dataset, of younger runs, and of the runs of versions with
an alias, with everything that they were made from: each digest that a manifest or a row names is needed, so
what is in doubt stays. Of other published versions the tensors stay, which say what the model has seen.
Tables, registry, published versions, downloads and the store of features are never touched. The rows of older
runs stay, too; only their outputs go, and a run that needs one makes it again.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.core import shares
from tasks.core.errors import UsageError
from tasks.core.operations import run_lock
from tasks.core.registry import layout, registry
from tasks.core.runs import tables
from tasks.core.stage import publish
from tasks.core.stage.stages import CHECKPOINTS, PARTS, STAGES
from tasks.core.storage import atomic, lock, manifests, mirror
from tasks.core.workspace import Workspace

DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")
AGE = re.compile(r"(\d+)([hdw])")
LONGEST_AGE = 5  # digits; 99999w are 1,916 years, a little less than there are before now
UNITS = {"h": "hours", "d": "days", "w": "weeks"}
OTHERS = ("models", "metrics", "downloads", "features", "results")  # shown, never touched


@dataclass(frozen=True)
class Output:
    """An output of a stage, or the checkpoints of a training that has not ended.

    Args:
        directory: Its folder.
        size: Bytes of its files, those in the store if the workspace has one.
        manifest: The text of its manifest; empty for checkpoints.
        made: When it was made.
    """

    directory: Path
    size: int
    manifest: bytes
    made: datetime

    @property
    def kind(self) -> str:
        """The folder of the workspace that it is in."""
        return self.directory.parent.name


@dataclass(frozen=True)
class Plan:
    """What a workspace holds.

    Args:
        needed: Outputs that stay.
        unneeded: Outputs that nothing needs.
        others: Bytes of the folders that are never touched, by name.
        removed: Outputs that were removed.
        busy: Outputs that stay since a process is using them.
    """

    needed: tuple[Output, ...]
    unneeded: tuple[Output, ...]
    others: Mapping[str, int]
    removed: tuple[Output, ...] = ()
    busy: tuple[Output, ...] = ()


def parse_age(text: str) -> timedelta:
    """The age that a user means.

    >>> parse_age("30d")
    datetime.timedelta(days=30)

    Raises:
        UsageError: It is no number of hours, days or weeks.
    """
    match = AGE.fullmatch(text.strip())
    if match and len(match[1]) <= LONGEST_AGE:
        return timedelta(**{UNITS[match[2]]: int(match[1])})
    raise UsageError(
        f"{text!r} is not an age",
        expected=f"a number of hours, days or weeks of at most {LONGEST_AGE} digits, such as 12h, 30d or 8w",
        done="nothing was removed",
    )


def plan(workspace: Workspace, keep: int, older_than: timedelta) -> Plan:
    """What a workspace holds and what nothing needs; nothing is changed.

    Args:
        workspace: The workspace.
        keep: Number of the newest runs of each dataset whose outputs stay, 1 or more.
        older_than: Younger runs and younger outputs stay.

    Raises:
        UsageError: `keep` is below 1.
    """
    if keep < 1:
        raise UsageError(
            f"the outputs of {shares.counted(keep, 'run')} cannot be kept",
            expected="a number of 1 or more: the next run compares itself with the last one",
            done="nothing was removed",
        )
    since = datetime.now(UTC) - older_than
    outputs = {output.directory.name: output for output in _outputs(workspace)}
    young = {name for name, output in outputs.items() if output.made >= since}
    needed = _closure(outputs, young | _of_runs(workspace, keep, since) | _of_versions(workspace))
    return Plan(
        tuple(output for name, output in outputs.items() if name in needed),
        tuple(output for name, output in outputs.items() if name not in needed),
        {name: _bytes_below(workspace, name) for name in OTHERS},
    )


def prune(workspace: Workspace, keep: int, older_than: timedelta) -> Plan:
    """Remove the outputs that nothing needs, each while its lock is held.

    The run lock of every dataset is held, so no run can begin to reuse what is being removed.

    Args:
        workspace: The workspace.
        keep: As for `plan`.
        older_than: As for `plan`.

    Raises:
        UsageError: A run is in progress; and as `plan`.
    """
    with ExitStack() as stack:
        _lock_runs(workspace, stack)
        found = plan(workspace, keep, older_than)
        removed = [output for output in found.unneeded if _remove(output.directory, workspace)]
    return replace(found, removed=tuple(removed), busy=tuple(set(found.unneeded) - set(removed)), unneeded=())


def _outputs(workspace: Workspace) -> Iterator[Output]:
    """All outputs of stages, by the store's manifests if the workspace has one."""
    folders = sorted({stage.folder for stage in (*STAGES, *PARTS) if stage.folder})
    remote = mirror.of_workspace(workspace)
    for folder in folders:
        if remote:
            yield from _stored(remote, workspace.root / folder)
        for path in sorted((workspace.root / folder).glob("[0-9a-f]*")):
            is_output = (path / manifests.MANIFEST).is_file() and remote is None
            if path.is_dir() and (is_output or path.name.endswith(CHECKPOINTS)):
                yield _local(path)


def _stored(remote: mirror.Mirror, folder: Path) -> Iterator[Output]:
    listing = remote.store.listing(remote.name(folder))
    names = [name for name in listing if re.fullmatch(rf"[^/]+/[0-9a-f]+/{manifests.MANIFEST}", name)]
    for name, text in remote.store.read_many(names).items():
        below = name.removesuffix(manifests.MANIFEST)
        size = sum(size for item, size in listing.items() if item.startswith(below))
        yield Output(remote.root / below, size, text, _made(text))


def _local(path: Path) -> Output:
    files = [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    if not (path / manifests.MANIFEST).exists():
        changed = max((file.stat().st_mtime for file in files), default=path.stat().st_mtime)
        return Output(path, size, b"", datetime.fromtimestamp(changed, UTC))
    text = (path / manifests.MANIFEST).read_bytes()
    return Output(path, size, text, _made(text))


def _made(manifest: bytes) -> datetime:
    """When an output was made; now for a damaged manifest, so that it stays for `plumbline doctor`."""
    try:
        made = datetime.fromisoformat(json.loads(manifest)["created"])
    except (ValueError, KeyError, TypeError):
        return datetime.now(UTC)
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def _of_runs(workspace: Workspace, keep: int, since: datetime) -> set[str]:
    """Digests in the rows of the newest and the younger runs, and of the runs of versions with an alias."""
    with_alias = {
        (name, version) for name in registry.datasets(workspace) for version in _named(name, workspace)
    }
    found: set[str] = set()
    for table in ("runs", "evaluations"):
        columns = ["dataset", "started", "version", "stages", "report", "evaluation", "tensors"]
        rows = tables.read_rows(table, workspace, columns=columns).sort_by([("started", "descending")])
        seen: dict[str, int] = {}
        for row in rows.to_pylist():
            rank = seen[row["dataset"]] = seen.get(row["dataset"], 0) + 1
            has_alias = (row["dataset"], row["version"]) in with_alias and table == "runs"
            if rank <= keep or has_alias or row["started"] is None or row["started"] >= since:
                found |= _digests(json.dumps(row, default=str).encode())
    return found


def _of_versions(workspace: Workspace) -> set[str]:
    """Digests that the manifests of versions with an alias name, and the tensors of all versions."""
    found: set[str] = set()
    for name in registry.datasets(workspace):
        with_alias, folder = _named(name, workspace), layout.synced_folder(name, workspace)
        for version in layout.version_names(folder):  # by their manifests: a model file may be damaged
            manifest = manifests.read(folder / version)
            tensors = str(manifest["facts"].get("tensors", ""))
            found |= _digests(json.dumps(manifest).encode()) if version in with_alias else {tensors}
    return found


def _named(dataset: str, workspace: Workspace) -> set[str]:
    """The versions with an alias, such as champion and previous."""
    return set(registry.aliases(dataset, workspace).values())


def _closure(outputs: Mapping[str, Output], named: Collection[str]) -> set[str]:
    """The outputs that are named, and those that their manifests name, and so on."""
    needed: set[str] = set()
    open_names = {name for name in outputs if name.removesuffix(CHECKPOINTS) in named or name in named}
    while open_names:
        needed |= open_names
        found = {digest for name in open_names for digest in _digests(outputs[name].manifest)}
        open_names = (found & outputs.keys()) - needed
    return needed


def _digests(text: bytes) -> set[str]:
    return {match.decode() for match in DIGEST.findall(text)}


def _bytes_below(workspace: Workspace, name: str) -> int:
    if remote := mirror.of_workspace(workspace):
        return sum(remote.store.listing(name).values())
    return sum(path.stat().st_size for path in (workspace.root / name).rglob("*") if path.is_file())


def _lock_runs(workspace: Workspace, stack: ExitStack) -> None:
    """Take the run locks of all datasets.

    Raises:
        UsageError: A run holds one of them.
    """
    for dataset, owner, alive in run_lock.active_runs(workspace):
        if alive:
            raise _busy(dataset, str(owner))
    for path in sorted((workspace.root / ".running").glob("*.lock")):
        if not lock.try_lock(stack.enter_context(lock.opened(path))):
            raise _busy(path.stem, "it has just begun")


def _busy(dataset: str, owner: str) -> UsageError:
    return UsageError(
        f"a run of {dataset} is in progress",
        found=owner,
        done="nothing was removed",
        todo="prune when it has ended",
    )


def _remove(directory: Path, workspace: Workspace) -> bool:
    """Remove an output, here and in the store. Returns whether no other process was using it."""
    finished = directory.with_name(directory.name.removesuffix(CHECKPOINTS))
    with lock.opened(publish.lock_path(finished)) as descriptor:
        if not lock.try_lock(descriptor):
            return False
        if remote := mirror.of_workspace(workspace):
            name = remote.name(directory)
            remote.store.remove([f"{name}/{manifests.MANIFEST}"])  # first: without it the rest is ignored
            remote.store.remove(list(remote.store.listing(name)))
        if directory.is_dir():
            atomic.remove_directory(directory)
    return True
