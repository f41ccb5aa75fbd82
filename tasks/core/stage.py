"""What every stage shares: a digest of its ingredients, a manifest, an atomic publish.

A finished stage is a directory named by the digest of its ingredients. It is built as a temporary
sibling, synced, given its manifest last, and renamed into place: it is there whole or not at all.
"""

import hashlib
import json
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.core import code, lock
from tasks.core.errors import FormatError
from tasks.core.workspace import elsewhere_of

FORMAT = 1
MANIFEST = "manifest.json"
NAMED = 3  # changed modules that an explanation names
SMALL = 1 << 20  # bytes; files up to this size are hashed at every check (1 MiB takes 3 ms)


@dataclass(frozen=True)
class Ingredients:
    """All that decides a stage's output; its digest names the output.

    Args:
        stage: The stage's name, such as "normalize".
        inputs: Digests of what the stage reads, by role.
        parameters: The parameters that reach the stage; JSON values.
        modules: Dotted names of the `tasks.core` modules that do the work.
        libraries: Distributions whose versions decide the output.
    """

    stage: str
    inputs: Mapping[str, str]
    parameters: Mapping[str, Any]
    modules: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """The ingredients as they stand in the manifest, versions and code digest filled in."""
        return {
            "stage": self.stage,
            "format": FORMAT,
            "inputs": dict(self.inputs),
            "parameters": dict(self.parameters),
            "code": code.hashes(*self.modules),
            "libraries": code.libraries(*self.libraries),
        }

    @property
    def digest(self) -> str:
        """16 hexadecimal digits (64 bits) of the SHA-256 of the canonical JSON of `record()`."""
        return digest_of(self.record())


def digest_of(value: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def changes(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Which ingredients differ between two records, each as a short phrase.

    >>> changes({"parameters": {"learning_rate": 0.4}}, {"parameters": {"learning_rate": 0.2}})
    ['learning_rate 0.4 -> 0.2']
    """
    phrases: list[str] = []
    modules: list[str] = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            phrases += changes(before, after, "" if name == "parameters" else f"{name} ")
        elif prefix == "inputs ":
            phrases.append(f"{name} changed")
        elif prefix == "code ":
            modules.append(name)
        else:
            phrases.append(f"{prefix if prefix != 'libraries ' else ''}{name} {before} -> {after}")
    if modules:
        more = f" and {len(modules) - NAMED} more modules" if len(modules) > NAMED else ""
        phrases.append(f"code of {', '.join(modules[:NAMED])}{more} changed")
    return phrases


def publish(
    directory: Path,
    ingredients: Ingredients,
    build: Callable[[Path], Mapping[str, Any]],
    *,
    refresh: bool = False,
) -> dict[str, Any]:
    """Return the manifest of `directory`, building the directory first unless it is there and whole.

    In a workspace at an address it is brought from the store, or sent there. If another machine was first
    with other bytes (floating-point sums differ between processors), those take the place of ours.

    Args:
        directory: The final place; its name is the digest of `ingredients`.
        ingredients: What the output follows from.
        build: Writes the files into the (temporary, empty) directory that it is given and returns facts
            for the manifest: JSON values.
        refresh: Build again even if a whole one is there.

    Raises:
        Whatever `build` raises; then nothing is left behind and what was there stays.
        NetworkError: The store could not be reached; what was built stays here.
    """
    elsewhere = elsewhere_of(directory)
    with locked(directory):
        if refresh or not (is_whole(directory) or (elsewhere and elsewhere.fetch(directory))):
            _build(directory, ingredients, build)
        if elsewhere and not elsewhere.push(directory, replace=refresh):
            elsewhere.fetch(directory)
        return read_manifest(directory)


def locked(directory: Path) -> AbstractContextManager[None]:
    """Be the only one that makes, brings or replaces a directory."""
    return lock.exclusive(directory.parent / f".{directory.name}.lock")


def _build(directory: Path, ingredients: Ingredients, build: Callable[[Path], Mapping[str, Any]]) -> None:
    sweep(directory)
    staging = directory.parent / f".{directory.name}.{os.getpid()}.tmp"
    staging.mkdir(parents=True)
    try:
        with Stopwatch() as stopwatch:
            facts = dict(build(staging))
        write_manifest(staging, ingredients, facts, stopwatch.cost)
        put(staging, directory)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def sweep(directory: Path) -> None:
    """Remove what killed builders of `directory` left; its lock must be held."""
    for stale in directory.parent.glob(f".{directory.name}.*.tmp"):
        shutil.rmtree(stale, ignore_errors=True)


def write_manifest(
    directory: Path, ingredients: Ingredients, facts: Mapping[str, Any], cost: Mapping[str, float]
) -> None:
    """Hash and sync every file of `directory`, then write its manifest, last."""
    files = {}
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        sync(path)
        status = path.stat()
        files[path.relative_to(directory).as_posix()] = {
            "bytes": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "sha256": sha256_file(path),
        }
    manifest = {
        "format": FORMAT,
        "stage": ingredients.stage,
        "digest": ingredients.digest,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "cost": dict(cost),
        "facts": dict(facts),
        "ingredients": ingredients.record(),
        "files": files,
    }
    write_atomically(directory / MANIFEST, as_text(manifest))


def as_text(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as it stands in its file."""
    return json.dumps(manifest, indent=1, ensure_ascii=False).encode()


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a finished directory.

    Raises:
        FormatError: There is none, it is not JSON, or it is of a format that this version doesn't know.
    """
    path = directory / MANIFEST
    try:
        text = path.read_bytes()
    except OSError as error:
        raise _unfinished(directory, error) from error
    return parse_manifest(text, path)


def parse_manifest(text: bytes, path: Path | str) -> dict[str, Any]:
    """A manifest from what stands in its file, which `path` names to the reader of an error."""
    try:
        manifest = json.loads(text)
    except ValueError as error:
        raise _unfinished(path, error) from error
    version = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
    if version != FORMAT:
        raise FormatError(
            f"{path} is of an unknown format",
            expected=f"format {FORMAT}",
            found=f"format {version}",
            done="nothing was read or changed",
            todo="use the version of Plumbline that wrote it, or move the file away to have it made again",
        )
    return dict(manifest)


def _unfinished(place: Path | str, error: Exception) -> FormatError:
    return FormatError(f"{place} is not a finished stage", expected=f"a {MANIFEST}", found=str(error))


def damage(directory: Path, *, thorough: bool = False) -> str:
    """What is wrong with a finished directory; empty if nothing.

    Args:
        directory: A directory that `publish` made.
        thorough: Hash every file. Otherwise a large file whose size and time are as in the manifest is
            trusted; one with another time (a copied workspace) is hashed.
    """
    try:
        files = read_manifest(directory)["files"]
    except FormatError as error:
        return str(error)
    for name, entry in files.items():
        path = directory / name
        if not path.is_file():
            return f"{path} is missing"
        status = path.stat()
        if status.st_size != entry["bytes"]:
            return f"{path} has {status.st_size} bytes instead of {entry['bytes']}"
        trusted = status.st_mtime_ns == entry["mtime_ns"] and status.st_size > SMALL and not thorough
        if not trusted and sha256_file(path) != entry["sha256"]:
            return f"{path} has other content than when it was written"
    return ""


def is_whole(directory: Path) -> bool:
    return directory.is_dir() and not damage(directory)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a small file so that a reader sees the old content or the new, never a part."""
    with replacing(path) as staging:
        staging.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write a file at, which then takes the place of `path` in one step."""
    staging = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    yield staging
    sync(staging)
    staging.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file, or a directory's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put(staging: Path, directory: Path) -> None:
    """Let a finished directory take its place by a rename; the lock must be held."""
    sync(staging)
    if directory.exists():
        aside = staging.with_name(f".{directory.name}.old.tmp")
        shutil.rmtree(aside, ignore_errors=True)
        directory.rename(aside)
        staging.rename(directory)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        staging.rename(directory)
    sync(directory.parent)


class Stopwatch:
    """Wall and CPU seconds of a block, and the process's peak memory at its end, as `cost`."""

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
