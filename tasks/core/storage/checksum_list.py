"""Checksums of the files of a folder that have no manifest: `.checksums.jsonl`, one line for each file.

A line has a hash of itself, so a damaged line is told from a damaged file. The last line of a file counts.
The line before it counts, too: a file that is replaced gets its line before the rename (`record`). A file
without a line is of an earlier version, or its writer was killed before it wrote the line.
"""

import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tasks.core.storage import atomic, hashing, lock

NAME = ".checksums.jsonl"
LOCK = ".checksums.lock"
MANY_LINES = 256  # from so many on, a list with more than two lines a file is written again
CHECK = "check"  # 16 digits of the SHA-256 of the other fields of a line


@dataclass(frozen=True)
class ChecksumList:
    """The checksums of a folder's files.

    Args:
        folder: The folder.
        checksums: SHA-256 by path relative to the folder.
        problems: What is wrong with the list itself.
        earlier: SHA-256 of the line before the last one, by path.
    """

    folder: Path
    checksums: Mapping[str, str]
    problems: tuple[str, ...]
    earlier: Mapping[str, str] = field(default_factory=dict)

    def is_listed(self, path: Path) -> bool:
        """Whether the list has a checksum of a file."""
        return _name(self.folder, path) in self.checksums

    def differs(self, path: Path) -> bool:
        """Whether a file has other content than when it was written; False if it is not listed."""
        name = _name(self.folder, path)
        if name not in self.checksums:
            return False
        return hashing.sha256_file(path) not in (self.checksums[name], self.earlier.get(name))

    def missing(self) -> list[Path]:
        """The listed files that do not exist."""
        return [self.folder / name for name in self.checksums if not (self.folder / name).exists()]


def read(folder: Path) -> ChecksumList:
    """Read the list of a folder; empty if there is none."""
    path = folder / NAME
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    checksums: dict[str, str] = {}
    earlier: dict[str, str] = {}
    problems = []
    for number, line in enumerate(lines, 1):
        entry = _entry(line)
        if entry:
            if entry["path"] in checksums:
                earlier[entry["path"]] = checksums[entry["path"]]
            checksums[entry["path"]] = entry["sha256"]
        else:
            problems.append(f"line {number} of {path} is damaged")
    return ChecksumList(folder, checksums, tuple(problems), earlier)


def add(folder: Path, paths: Iterable[Path]) -> None:
    """Add the checksums of finished files. An incomplete last line of a killed writer is removed first."""
    record(folder, {_name(folder, path): hashing.sha256_file(path) for path in paths})


def record(folder: Path, checksums: Mapping[str, str]) -> None:
    """Add the checksums of files that are finished, or that are about to be replaced.

    Args:
        folder: The folder of the list.
        checksums: SHA-256 by path relative to the folder.
    """
    if not checksums:
        return
    with lock.exclusive(folder / LOCK):
        with (folder / NAME).open("a+b") as file:
            file.truncate((folder / NAME).read_bytes().rfind(b"\n") + 1)
            file.write(b"".join(_line(*item) for item in checksums.items()))
            file.flush()
            os.fsync(file.fileno())
        _shorten(folder)


def update(folder: Path, written: Collection[Path] = (), removed: Collection[Path] = ()) -> None:
    """Replace the list: without damaged lines and removed files, with new checksums of the written files."""
    with lock.exclusive(folder / LOCK):
        listed = read(folder)
        checksums, earlier = dict(listed.checksums), dict(listed.earlier)
        for path in (*written, *removed):
            checksums.pop(_name(folder, path), None)
            earlier.pop(_name(folder, path), None)
        checksums |= {_name(folder, path): hashing.sha256_file(path) for path in written}
        _write(folder, checksums, earlier)


def _shorten(folder: Path) -> None:
    """Write an intact list again if most of its lines do not count any more."""
    lines = (folder / NAME).read_bytes().count(b"\n")
    if lines < MANY_LINES:
        return
    listed = read(folder)
    if lines > 2 * (len(listed.checksums) + len(listed.earlier)) and not listed.problems:
        _write(folder, listed.checksums, listed.earlier)


def _write(folder: Path, checksums: Mapping[str, str], earlier: Mapping[str, str]) -> None:
    lines = [_line(*item) for each in (earlier, checksums) for item in sorted(each.items())]
    atomic.write_bytes(folder / NAME, b"".join(lines))


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
