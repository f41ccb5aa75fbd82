"""The log of a registry: who made each change, when and why; one JSON object per line."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.core.storage import atomic


def record(action: str, who: str, why: str, **details: Any) -> dict[str, Any]:
    """A log entry with the current time (UTC, milliseconds).

    Args:
        action: What was done, such as "publish" or "promote".
        who: The user who made the change.
        why: The reason.
        details: More fields of the entry, such as version; JSON values.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"when": now, "who": who, "action": action, "why": why, **details}


def append(path: Path, change: Mapping[str, Any]) -> None:
    """Append an entry; the caller holds the registry's lock.

    A writer that was killed while writing leaves an incomplete last line. It is removed first.
    """
    with path.open("a+b") as log:
        log.truncate(_complete_bytes(path))
        log.write(json.dumps(dict(change), ensure_ascii=False).encode() + b"\n")
        log.flush()
        os.fsync(log.fileno())
    atomic.sync(path.parent)


def read(path: Path) -> list[dict[str, Any]]:
    """The entries, oldest first; an incomplete last line is skipped."""
    if not path.exists():
        return []
    content = path.read_bytes()[: _complete_bytes(path)]
    return [json.loads(line) for line in content.splitlines()]


def _complete_bytes(path: Path) -> int:
    """Number of bytes up to the end of the last complete line."""
    return path.read_bytes().rfind(b"\n") + 1
