"""Manifests of finished directories: ingredients, facts, cost, and the SHA-256 of every file.

A manifest has a SHA-256 of itself, and for each file above `ALWAYS_HASHED_BYTES` a CRC-32 of each block, with
which `verification` reads it. Manifests that Plumbline wrote before lack both and are read as they are.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.core.errors import FormatError
from tasks.core.storage import atomic, hashing

FORMAT = 1
KEYS = {"format", "stage", "digest", "created", "cost", "facts", "ingredients", "files", "deleted"}
MANIFEST = "manifest.json"
ALWAYS_HASHED_BYTES = 1 << 20  # bytes; files up to this size are hashed at every check (1 MiB takes 3 ms)


def write(
    directory: Path, ingredients: Mapping[str, Any], facts: Mapping[str, Any], cost: Mapping[str, float]
) -> None:
    """Hash and sync every file of `directory`, then write its manifest, last.

    Args:
        directory: The finished directory.
        ingredients: As `Ingredients.record` returns them; their digest is the digest of the directory.
        facts: What readers need to know without opening a file; JSON values.
        cost: As in `Stopwatch.cost`.
    """
    files = {}
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        atomic.sync(path)
        status = path.stat()
        files[path.relative_to(directory).as_posix()] = {
            "bytes": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "sha256": hashing.sha256_file(path),
        }
        if status.st_size > ALWAYS_HASHED_BYTES:
            files[path.relative_to(directory).as_posix()]["crc32"] = hashing.block_checksums(path)
    manifest = {
        "format": FORMAT,
        "stage": ingredients["stage"],
        "digest": hashing.digest_of(ingredients),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "cost": dict(cost),
        "facts": dict(facts),
        "ingredients": dict(ingredients),
        "files": files,
    }
    atomic.write_bytes(directory / MANIFEST, to_bytes(hashing.sealed(manifest)))


def to_bytes(manifest: Mapping[str, Any]) -> bytes:
    """Return the content of the manifest's file."""
    return json.dumps(manifest, indent=1, ensure_ascii=False).encode()


def read(directory: Path) -> dict[str, Any]:
    """Read the manifest of a finished directory.

    Raises:
        FormatError: The directory has no manifest, it is not JSON, or it has an unknown format number.
    """
    path = directory / MANIFEST
    try:
        text = path.read_bytes()
    except OSError as error:
        raise _unfinished(directory, error) from error
    return parse(text, path)


def parse(text: bytes, path: Path | str) -> dict[str, Any]:
    """Parse the content of a manifest's file.

    Args:
        text: UTF-8 JSON.
        path: Where it was read; only for error messages.

    Raises:
        FormatError: It is not JSON, or it has an unknown format number.
    """
    try:
        manifest = json.loads(text)
    except ValueError as error:
        raise _unfinished(path, error) from error
    version = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
    if version != FORMAT:
        raise FormatError(
            f"{path} has an unknown format",
            expected=f"format {FORMAT}",
            found=f"format {version}",
            done="nothing was read or changed",
            todo="use the version of Plumbline that wrote it, or move it away so that it is built again",
        )
    if problem := hashing.seal_problem(manifest, KEYS):
        raise FormatError(
            f"{path} is damaged: {problem}",
            expected="what was written",
            found=problem,
            done="nothing was read or changed",
            todo="restore it from a copy, or remove its folder so that it is built again",
        )
    return dict(manifest)


def _unfinished(path: Path | str, error: Exception) -> FormatError:
    return FormatError(f"{path} is not a finished output", expected=f"a {MANIFEST}", found=str(error))


def find_damage(directory: Path, *, thorough: bool = False) -> str:
    """Compare a finished directory with its manifest.

    Args:
        directory: A directory that `publish` built.
        thorough: Hash every file, and compare the manifest's own bytes. Otherwise a file above
            `ALWAYS_HASHED_BYTES` is trusted if its size and modification time are as in the manifest. If the
            time differs, as in a copied workspace, it is hashed.

    Returns:
        The first problem found, as text; empty if there is none.
    """
    try:
        manifest = read(directory)
    except FormatError as error:
        return str(error)
    # The last digit of a float can change without changing its value, which the seal does not see.
    if thorough and hashing.SEAL in manifest and (directory / MANIFEST).read_bytes() != to_bytes(manifest):
        return f"{directory / MANIFEST} has other bytes than were written, of the same values"
    for name, entry in manifest["files"].items():
        path = directory / name
        if not path.is_file():
            return f"{path} is missing"
        status = path.stat()
        if status.st_size != entry["bytes"]:
            return f"{path} has {status.st_size:,} bytes instead of {entry['bytes']:,}"
        trusted = (
            status.st_mtime_ns == entry["mtime_ns"] and status.st_size > ALWAYS_HASHED_BYTES and not thorough
        )
        if not trusted and hashing.sha256_file(path) != entry["sha256"]:
            return f"{path} has other content than when it was written{where(path, entry)}"
    return ""


def is_complete(directory: Path) -> bool:
    """Whether the directory exists and its files are as in its manifest; see `find_damage`."""
    return directory.is_dir() and not find_damage(directory)


def where(path: Path, entry: Mapping[str, Any]) -> str:
    """Which block of a damaged file is the first to differ; empty if its blocks have no checksums."""
    number = hashing.first_damaged_block(path, entry["crc32"]) if "crc32" in entry else None
    if number is None:
        return ""
    blocks = len(entry["crc32"]) // hashing.CRC_DIGITS
    return f" (block {number + 1} of {blocks}, from byte {number * hashing.BLOCK:,})"
