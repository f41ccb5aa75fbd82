"""The log of a registry: every change with who, when and why, one JSON object a line."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.core.storage import atomic


def record(action: str, who: str, why: str, **details: Any) -> dict[str, Any]:
    """A change as it stands in the log."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"when": now, "who": who, "action": action, "why": why, **details}


def append(path: Path, change: Mapping[str, Any]) -> None:
    """Add a line; the caller holds the registry's lock.

    A writer that was killed within a line leaves one without its end: it is cut off first.
    """
    with path.open("a+b") as log:
        log.truncate(_whole_bytes(path))
        log.write(json.dumps(dict(change), ensure_ascii=False).encode() + b"\n")
        log.flush()
        os.fsync(log.fileno())
    atomic.sync(path.parent)


def read(path: Path) -> list[dict[str, Any]]:
    """The changes, oldest first; a line that a killed writer left without its end is not one."""
    if not path.exists():
        return []
    whole = path.read_bytes()[: _whole_bytes(path)]
    return [json.loads(line) for line in whole.splitlines()]


def _whole_bytes(path: Path) -> int:
    return path.read_bytes().rfind(b"\n") + 1
