"""The registry's changes in a workspace at an address: numbered objects, each created only if it isn't there.

    models/<dataset>/commits/00000017.json    the log's new lines, the new decisions, all aliases, the notes

To change the registry is to read all commits, change the local files under the lock, and create the next
number. Of two machines that create the same number one is told so; it reads what the other did and does its
change anew (Delta Lake's protocol: Armbrust et al., PVLDB 13(12), 2020). The local files `aliases.json`,
`log.jsonl`, `decisions.jsonl` and `decisions/` follow from the commits: what a killed or overtaken change
left in them goes with the next look. A version is there when its manifest is, and no commit says that it was
deleted.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from random import uniform
from time import sleep
from typing import Any, ParamSpec, TypeVar

from tasks.core.errors import FormatError, RegistryError
from tasks.core.registry.model_card import NOTES
from tasks.core.storage import atomic, lock
from tasks.core.storage.manifests import MANIFEST
from tasks.core.storage.mirror import Mirror

FOLDER = "commits"  # in the store
LOCAL_FOLDER = ".commits"  # in the mirror
ALIASES = "aliases.json"
LOG = "log.jsonl"
DECISIONS = "decisions"
DECISION_LOG = "decisions.jsonl"
FORMAT = 1
NUMBERED = re.compile(r"(\d{8})\.json")
VERSION = re.compile(r"v\d{4,}")
MAX_TRIES = 50  # tries; each other machine can overtake one at most once a change

P = ParamSpec("P")
T = TypeVar("T")
# Folders that this thread is changing: a look must not put back what it has changed so far.
_changing: ContextVar[frozenset[Path]] = ContextVar("changing", default=frozenset())


class CommitConflict(Exception):  # noqa: N818 - an event, not a fault: the change is made again
    """Another machine has changed the registry in between."""


@dataclass(frozen=True)
class RegistryState:
    """What a registry's changing files hold.

    Args:
        aliases: The content of aliases.json; empty if there is none.
        log, lines: The lines of log.jsonl and decisions.jsonl.
        evidence: By name the files of the folder `decisions`.
        notes: What people wrote for the model cards.
    """

    aliases: str
    log: tuple[str, ...]
    lines: tuple[str, ...]
    evidence: Mapping[str, str]
    notes: str

    @classmethod
    def of(cls, place: Path) -> "RegistryState":
        files = sorted((place / DECISIONS).glob("[0-9a-f]*.json"))
        return cls(
            _text(place / ALIASES),
            tuple(_text(place / LOG).split("\n")[:-1]),
            tuple(_text(place / DECISION_LOG).split("\n")[:-1]),
            {path.name: _text(path) for path in files},
            _text(place / NOTES),
        )

    def since(self, before: "RegistryState") -> dict[str, Any]:
        """What was added, as a commit has it; empty if nothing was."""
        added = {
            "aliases": self.aliases if self.aliases != before.aliases else "",
            "log": list(self.log[len(before.log) :]),
            "lines": list(self.lines[len(before.lines) :]),
            "evidence": {name: text for name, text in self.evidence.items() if name not in before.evidence},
            "notes": self.notes if self.notes != before.notes else "",
        }
        return added if any(added.values()) else {}


def retry_on_conflict(change: Callable[P, T]) -> Callable[P, T]:
    """A change that is done again from its beginning when another machine has overtaken it."""

    @wraps(change)
    def whole(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(MAX_TRIES):
            try:
                return change(*args, **kwargs)
            except CommitConflict:
                sleep(uniform(0, 0.05 * 2 ** min(attempt, 5)))
        raise RegistryError(
            "the registry is changed by others all the time",
            found=f"overtaken {MAX_TRIES} times",
            done="nothing was changed",
            todo="run again",
        )

    return whole


def pull(place: Path, remote: Mirror | None) -> None:
    """Bring a dataset's folder of the mirror up to date, unless this thread is changing it."""
    if remote is not None and place not in _changing.get():
        with lock.exclusive(place / ".lock"):
            _update(place, remote)


@contextmanager
def transaction(place: Path, remote: Mirror | None) -> Iterator[None]:
    """Change the local files in the block, and commit that at its end; the lock must be held.

    Raises:
        Overtaken: Another machine committed in between; nothing of this change is seen by anybody.
    """
    if remote is None:
        yield
        return
    _update(place, remote)
    before = replace(RegistryState.of(place), notes=_notes(_commits(place))[-1])  # people write at any time
    token = _changing.set(_changing.get() | {place})
    try:
        yield
    finally:
        _changing.reset(token)
    if added := RegistryState.of(place).since(before):
        while added and not _commit(place, remote, added):
            if not _is_publication(added):
                raise CommitConflict
            _update(place, remote)
            added = _unlogged(added, place)
        _update(place, remote)
        _remove_deleted(place, remote)


def publish(staging: Path, final: Path, remote: Mirror | None) -> None:
    """Send a new version to the store under its number.

    Raises:
        Overtaken: Another machine has published under that number.
    """
    if remote is not None and not remote.push(staging, final):
        remote.remove_upload(staging, final)
        raise CommitConflict


def _update(place: Path, remote: Mirror) -> None:
    name = remote.name(place)
    listing = remote.store.listing(name)
    lacking = [path for path in listing if _is_commit(path, name) and not _copy(place, path).exists()]
    for path, content in sorted(remote.store.read_many(lacking).items()):
        _copy(place, path).parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(_copy(place, path), content)
    known = _commits(place)
    if len(known) != sum(_is_commit(path, name) for path in listing):
        raise FormatError(
            f"{remote.store.address}/{name}/{FOLDER} has lost commits",
            expected=f"all numbers up to {len(known)}",
            found=f"{sum(_is_commit(path, name) for path in listing)} of them",
            done="nothing was changed",
            todo=f"bring the objects back; if the bucket was emptied on purpose, remove {remote.root}",
        )
    _write(place, known)
    _versions(place, remote, listing, deleted(known))


def _commit(place: Path, remote: Mirror, added: Mapping[str, Any]) -> bool:
    """Create the next commit; whether nobody else has."""
    number = len(_commits(place)) + 1
    # The token tells this commit from another one of the same content.
    record = {"format": FORMAT, "number": number, "token": secrets.token_hex(8), **added}
    content = json.dumps(record, indent=1, ensure_ascii=False).encode()
    if not remote.store.create(f"{remote.name(place)}/{FOLDER}/{number:08d}.json", content):
        return False
    (place / LOCAL_FOLDER).mkdir(exist_ok=True)
    atomic.write_bytes(place / LOCAL_FOLDER / f"{number:08d}.json", content)
    return True


def _is_publication(added: Mapping[str, Any]) -> bool:
    """Whether it holds whatever others have changed: a version's number is its own by then."""
    actions = {json.loads(line)["action"] for line in added["log"]}
    return actions == {"publish"} and not (added["aliases"] or added["lines"] or added["notes"])


def _unlogged(added: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """A publication without what another machine has logged in our place; empty if that is all."""
    logged = {json.loads(line).get("version") for line in RegistryState.of(place).log}
    lines = [line for line in added["log"] if json.loads(line)["version"] not in logged]
    return {**added, "log": lines} if lines else {}


def deleted(commits: list[dict[str, Any]]) -> set[str]:
    """Versions that were removed for good."""
    lines = (json.loads(line) for commit in commits for line in commit["log"])
    return {line["version"] for line in lines if line["action"] == "delete"}


def _write(place: Path, commits: list[dict[str, Any]]) -> None:
    """Let the local files be what follows from the commits."""
    aliases = [commit["aliases"] for commit in commits if commit["aliases"]]
    evidence = {Path(name).name: text for commit in commits for name, text in commit["evidence"].items()}
    texts = {
        ALIASES: aliases[-1] if aliases else "",
        LOG: "".join(f"{line}\n" for commit in commits for line in commit["log"]),
        DECISION_LOG: "".join(f"{line}\n" for commit in commits for line in commit["lines"]),
        **{f"{DECISIONS}/{name}": text for name, text in evidence.items()},
    }
    notes = _notes(commits)
    if _text(place / NOTES) in notes:  # else they were edited here, and go with the next change
        texts[NOTES] = notes[-1]
    for name, text in texts.items():
        path = place / name
        if _text(path) != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_bytes(path, text.encode()) if text else path.unlink()


def _notes(commits: list[dict[str, Any]]) -> list[str]:
    """The notes for the model cards as they were, the latest last."""
    return ["", *(commit["notes"] for commit in commits if commit["notes"])]


def _versions(place: Path, remote: Mirror, listing: Mapping[str, int], gone: set[str]) -> None:
    """A folder with its manifest for each version in the store; none for any other."""
    manifests = {Path(path).parent.name for path in listing if path.endswith(f"/{MANIFEST}")}
    there = {name for name in manifests if VERSION.fullmatch(name)} - gone
    for path in place.glob("v*"):
        if VERSION.fullmatch(path.name) and path.name not in there:
            atomic.remove_directory(path)
    for name in sorted(there):
        remote.fetch_manifest(place / name)


def _remove_deleted(place: Path, remote: Mirror) -> None:
    """Free the store of versions whose deletion is committed."""
    listing = remote.store.listing(remote.name(place))
    for version in sorted(deleted(_commits(place))):
        begin = f"{remote.name(place / version)}/"
        if any(path.startswith(begin) and not path.endswith(f"/{MANIFEST}") for path in listing):
            remote.delete(place / version)


def _commits(place: Path) -> list[dict[str, Any]]:
    """The commits that are known here, oldest first."""
    found = [json.loads(path.read_bytes()) for path in sorted((place / LOCAL_FOLDER).glob("[0-9]*.json"))]
    for number, commit in enumerate(found, 1):
        if (commit.get("format"), commit.get("number")) != (FORMAT, number):
            raise FormatError(
                f"commit {number} in {place / LOCAL_FOLDER} cannot be read",
                expected=f"format {FORMAT}, number {number}",
                found=f"format {commit.get('format')}, number {commit.get('number')}",
                todo="use the version of Plumbline that wrote it",
            )
    return found


def _is_commit(path: str, name: str) -> bool:
    folder, _, file = path.rpartition("/")
    return folder == f"{name}/{FOLDER}" and NUMBERED.fullmatch(file) is not None


def _copy(place: Path, path: str) -> Path:
    return place / LOCAL_FOLDER / path.rpartition("/")[2]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
