"""Checksums of files and digests of JSON values."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

SPOKEN = {"sha256": "SHA-256", "md5": "MD5"}


@dataclass(frozen=True)
class Checksum:
    """What the content of a file must hash to. MD5 finds damage, but no forgery.

    Args:
        algorithm: The hash.
        value: Its hexadecimal digits in lower case.
    """

    algorithm: Literal["sha256", "md5"]
    value: str

    def of(self, path: Path) -> "Checksum":
        """The checksum of a file by the same algorithm; the file is read in chunks."""
        with path.open("rb") as file:
            return Checksum(self.algorithm, hashlib.file_digest(file, self.algorithm).hexdigest())

    def __str__(self) -> str:
        """Such as "SHA-256 e3b0c4"."""
        return f"{SPOKEN[self.algorithm]} {self.value}"


def digest_of(value: Any) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file, as 64 hexadecimal digits; the file is read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined_sha256(hashes: Sequence[str], names: Sequence[str]) -> str:
    """Return one SHA-256 for several files: the SHA-256 of what `sha256sum` prints for them, sorted by name.

    Args:
        hashes: SHA-256 of each file. If there is only one, it is returned as it is.
        names: Name of each file.
    """
    if len(hashes) == 1:
        return hashes[0]
    lines = sorted(zip(names, hashes, strict=True))
    return hashlib.sha256("".join(f"{sha256}  {name}\n" for name, sha256 in lines).encode()).hexdigest()
