"""Checksums of the files of a folder that have no manifest: `.checksums.jsonl`, one line for each file.

A line has a hash of itself, so a damaged line is told from a damaged file. The last line of a file counts. A
file without a line is of an earlier version, or its writer was killed before it wrote the line.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.core.storage import atomic, hashing, lock

NAME = ".checksums.jsonl"
LOCK = ".checksums.lock"
CHECK = "check"  # 16 digits of the SHA-256 of the other fields of a line


@dataclass(frozen=True)
class ChecksumList:
    """The checksums of a folder's files.

    Args:
        folder: The folder.
        checksums: SHA-256 by path relative to the folder.
        problems: What is wrong with the list itself.
    """

    folder: Path
    checksums: Mapping[str, str]
    problems: tuple[str, ...]

    def is_listed(self, path: Path) -> bool:
        """Whether the list has a checksum of a file."""
        return _name(self.folder, path) in self.checksums

    def differs(self, path: Path) -> bool:
        """Whether a file has other content than when it was written; False if it is not listed."""
        expected = self.checksums.get(_name(self.folder, path))
        return expected is not None and hashing.sha256_file(path) != expected

    def missing(self) -> list[Path]:
        """The listed files that do not exist."""
        return [self.folder / name for name in self.checksums if not (self.folder / name).exists()]


def read(folder: Path) -> ChecksumList:
    """Read the list of a folder; empty if there is none."""
    path = folder / NAME
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    checksums, problems = {}, []
    for number, line in enumerate(lines, 1):
        entry = _entry(line)
        if entry:
            checksums[entry["path"]] = entry["sha256"]
        else:
            problems.append(f"line {number} of {path} is damaged")
    return ChecksumList(folder, checksums, tuple(problems))


def add(folder: Path, paths: Iterable[Path]) -> None:
    """Add the checksums of finished files. An incomplete last line of a killed writer is removed first."""
    lines = [_line(_name(folder, path), hashing.sha256_file(path)) for path in paths]
    if not lines:
        return
    with lock.exclusive(folder / LOCK), (folder / NAME).open("a+b") as file:
        file.truncate((folder / NAME).read_bytes().rfind(b"\n") + 1)
        file.write(b"".join(lines))
        file.flush()
        os.fsync(file.fileno())


def update(folder: Path, written: Iterable[Path] = (), removed: Iterable[Path] = ()) -> None:
    """Replace the list: without damaged lines and removed files, with new checksums of the written files."""
    with lock.exclusive(folder / LOCK):
        checksums = dict(read(folder).checksums)
        for path in removed:
            checksums.pop(_name(folder, path), None)
        checksums |= {_name(folder, path): hashing.sha256_file(path) for path in written}
        atomic.write_bytes(folder / NAME, b"".join(_line(*item) for item in sorted(checksums.items())))


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _line(name: str, sha256: str) -> bytes:
    entry = {"path": name, "sha256": sha256}
    return json.dumps({**entry, CHECK: hashing.digest_of(entry)}).encode() + b"\n"


def _entry(line: bytes) -> dict[str, str]:
    try:
        entry = json.loads(line)
        check = entry.pop(CHECK)
    except (ValueError, AttributeError, KeyError):
        return {}
    whole = line.endswith(b"\n") and entry.keys() == {"path", "sha256"}
    return entry if whole and check == hashing.digest_of(entry) else {}
