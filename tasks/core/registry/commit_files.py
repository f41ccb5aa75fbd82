"""The objects of a registry's commits in the store, and their copies in the mirror.

    models/<dataset>/commits/00000017.json           a commit
    models/<dataset>/commits/00000200.folded.json    what the commits 1 to 200 say together

Reading every commit ever made would cost more with each. So after every `FOLD_EVERY`th commit its writer also
uploads all of them as one object (Delta Lake's checkpoints: Armbrust et al., PVLDB 13(12), 2020). A machine
that is far behind reads the newest of these and the commits after it; one that is not folds its own copies.
No commit is removed from the store, and a folded object that is missing or damaged is not needed.
"""

import json
import logging
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core.errors import FormatError, PlumblineError
from tasks.core.storage import atomic, hashing
from tasks.core.storage.mirror import Mirror

FOLDER = "commits"  # in the store
LOCAL_FOLDER = ".commits"  # in the mirror
FORMAT = 1
FOLD_EVERY = 200  # commits
# The keys of the commits of earlier versions, which have no seal.
UNSEALED = frozenset({"format", "number", "token", "aliases", "log", "lines", "evidence", "notes"})
NUMBERED = re.compile(r"(\d{8})\.json")
FOLDED = re.compile(r"(\d{8})\.folded\.json")
log = logging.getLogger("plumbline.registry")


def read(directory: Path) -> list[dict[str, Any]]:
    """The commits in the mirror, oldest first; the first one stands for all that are folded into it.

    Raises:
        FormatError: One of them cannot be read.
    """
    folder = directory / LOCAL_FOLDER
    folds = sorted(path for path in folder.glob("[0-9]*.json") if FOLDED.fullmatch(path.name))
    commits = next(([content] for path in reversed(folds) if (content := _intact(path))), [])
    folded = last(commits)
    names = sorted(path.name for path in folder.glob("[0-9]*.json") if NUMBERED.fullmatch(path.name))
    commits += [parsed(folder / name) for name in names if int(name[:8]) > folded]
    for number, commit in enumerate(commits[bool(folded) :], folded + 1):
        if (commit.get("format"), commit.get("number")) != (FORMAT, number):
            is_damaged = commit.get("format", FORMAT) == FORMAT
            raise FormatError(
                f"commit {number} in {folder} cannot be read",
                expected=f"format {FORMAT}, number {number}",
                found=f"format {commit.get('format')}, number {commit.get('number')}",
                todo="restore this object of the store"
                if is_damaged
                else "use the version of Plumbline that wrote it",
            )
    return commits


def last(commits: list[dict[str, Any]]) -> int:
    """The number of the last commit; 0 if there is none."""
    return int(commits[-1]["number"]) if commits else 0


def notes(commits: list[dict[str, Any]]) -> list[str]:
    """All versions of the notes for the model cards, latest last; the first is empty."""
    versions = (note for commit in commits for note in (*commit.get("earlier_notes", ()), commit["notes"]))
    return ["", *filter(None, versions)]


def download(directory: Path, remote: Mirror, listing: Mapping[str, int]) -> list[dict[str, Any]]:
    """Bring the mirror's commits up to the store's.

    Args:
        directory: The dataset's directory in the mirror.
        remote: The mirror.
        listing: The names of the dataset's objects.

    Returns:
        As `read`.

    Raises:
        FormatError: The store has lost commits, or one cannot be read.
    """
    folder = f"{remote.name(directory)}/{FOLDER}"
    numbers, folds = (
        sorted(
            int(found[1]) for path in listing if (found := pattern.fullmatch(path.removeprefix(f"{folder}/")))
        )
        for pattern in (NUMBERED, FOLDED)
    )
    done, newest = _usable(directory), max(folds, default=0)
    if newest >= done + FOLD_EVERY and _fetch(directory, remote, [f"{newest:08d}.folded.json"]):
        done = newest
    _fetch(directory, remote, [f"{number:08d}.json" for number in numbers if number > done])
    commits = read(directory)
    if last(commits) != max(numbers, default=0):
        raise FormatError(
            f"{remote.store.address}/{folder} has lost commits",
            expected=f"all numbers up to {last(commits)}",
            found=f"{len(numbers)} of them",
            done="nothing was changed",
            todo=f"restore the objects; if the bucket was emptied on purpose, remove {remote.root}",
        )
    return _fold(directory, commits) if len(commits) > FOLD_EVERY else commits


def create(directory: Path, remote: Mirror, added: Mapping[str, Any]) -> bool:
    """Create the next commit. Returns False if another machine has already created that number."""
    number = last(read(directory)) + 1
    content = _content({"number": number, **added})
    if not remote.store.create(f"{remote.name(directory)}/{FOLDER}/{number:08d}.json", content):
        return False
    (directory / LOCAL_FOLDER).mkdir(exist_ok=True)
    atomic.write_bytes(directory / LOCAL_FOLDER / f"{number:08d}.json", content)
    if number % FOLD_EVERY == 0:
        _upload_folded(directory, remote, number)
    return True


def _upload_folded(directory: Path, remote: Mirror, number: int) -> None:
    """Fold the commits up to a number. The commit is made already: a failure here must not seem one of it."""
    name = f"{number:08d}.folded.json"
    try:
        _fold(directory, read(directory))
        remote.store.create(
            f"{remote.name(directory)}/{FOLDER}/{name}", (directory / LOCAL_FOLDER / name).read_bytes()
        )
    except (PlumblineError, OSError) as error:
        log.warning("%s was not uploaded; the commits are there, reading them takes longer: %s", name, error)


def parsed(path: Path) -> dict[str, Any]:
    """The content of a commit's file; empty if it is missing or damaged."""
    try:
        commit = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return commit if isinstance(commit, dict) and not hashing.seal_problem(commit, UNSEALED) else {}


def _intact(path: Path) -> dict[str, Any]:
    """As `parsed`; empty also for folded commits up to another number, or in another format."""
    content = parsed(path)
    found = FOLDED.fullmatch(path.name)
    is_other = found and (content.get("format"), content.get("number")) != (FORMAT, int(found[1]))
    return {} if is_other else content


def _content(record: Mapping[str, Any]) -> bytes:
    # The token makes commits with the same content different.
    sealed = hashing.sealed({"format": FORMAT, "token": secrets.token_hex(8), **record})
    return json.dumps(sealed, indent=1, ensure_ascii=False).encode()


def _usable(directory: Path) -> int:
    """The number up to which the mirror has intact commits."""
    try:
        return last(read(directory))
    except FormatError:
        return 0


def _fetch(directory: Path, remote: Mirror, names: list[str]) -> bool:
    """Download those objects that have no intact copy. Returns whether all of them have one now."""
    folder, local = f"{remote.name(directory)}/{FOLDER}", directory / LOCAL_FOLDER
    missing = [f"{folder}/{name}" for name in names if not _intact(local / name)]
    for path, content in sorted(remote.store.read_many(missing).items()):
        local.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(local / path.rpartition("/")[2], content)
    return all(_intact(local / name) for name in names)


def _fold(directory: Path, commits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write what all commits say together as one file, and remove theirs; returns it as `read` does."""
    aliases = [commit["aliases"] for commit in commits if commit["aliases"]]
    *earlier, latest = notes(commits)
    record = {
        "number": last(commits),
        "aliases": aliases[-1] if aliases else "",
        "log": [line for commit in commits for line in commit["log"]],
        "lines": [line for commit in commits for line in commit["lines"]],
        "evidence": {name: text for commit in commits for name, text in commit["evidence"].items()},
        "earlier_notes": [note for note in earlier if note],
        "notes": latest,
    }
    folder = directory / LOCAL_FOLDER
    folded = folder / f"{record['number']:08d}.folded.json"
    atomic.write_bytes(folded, _content(record))
    for path in folder.glob("[0-9]*.json"):
        if path != folded and int(path.name[:8]) <= last(commits):
            path.unlink(missing_ok=True)
    return [parsed(folded)]
