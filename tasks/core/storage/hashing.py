"""SHA-256 of files and digests of JSON values."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


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
