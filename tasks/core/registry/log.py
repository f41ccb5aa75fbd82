"""The log of a registry: who made each change, when and why; one JSON object per line.

Each line has a hash of itself. Beside the log lies `.log.jsonl.end`, with the number of bytes that it had
after the last change, and their SHA-256. So every flipped bit, lost line and lost file is found. The log has
all changes of the aliases: they can be rebuilt from it.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.core.errors import RegistryError
from tasks.core.storage import atomic, hashing

CHECK = "sha256"  # 16 digits of the SHA-256 of the other fields of a line
END_KEYS = frozenset[str]()  # there is no end without a seal
ALIAS_ACTIONS = ("promote", "rollback", "alias", "repair")
TRIES = 5  # reads of a log that another process may be changing


def record(action: str, who: str, why: str, **details: Any) -> dict[str, Any]:
    r"""A log entry with the current time (UTC, milliseconds).

    Args:
        action: What was done, such as "publish" or "promote".
        who: The user who made the change.
        why: The reason. Bytes of an argument that are not UTF-8 are written as `\udc80`.
        details: More fields of the entry, such as version; JSON values.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    who, why = (text.encode("utf-8", "backslashreplace").decode() for text in (who, why))
    return {"when": now, "who": who, "action": action, "why": why, **details}


def append(path: Path, change: Mapping[str, Any]) -> None:
    """Append an entry; the caller holds the registry's lock.

    A writer that was killed while writing leaves an incomplete last line. It is removed first.

    Raises:
        RegistryError: The log is damaged.
    """
    read(path)
    with path.open("a+b") as log:
        log.truncate(_complete_bytes(path))
        log.write(_line(change))
        log.flush()
        os.fsync(log.fileno())
    record_end(path)


def read(path: Path) -> list[dict[str, Any]]:
    """The entries, oldest first; an incomplete last line of a killed writer is skipped.

    Raises:
        RegistryError: The log is damaged.
    """
    for _ in range(TRIES):
        entries, problem = intact_entries(path)
        if not problem:
            return entries
        time.sleep(0.02)
    raise damaged(path, problem)


def damaged(path: Path, problem: str) -> RegistryError:
    """The error for a log that is not what was written."""
    return RegistryError(
        f"{path} is damaged: {problem}",
        expected="the lines that were written",
        found=problem,
        done="nothing was changed",
        todo="restore it from a copy; `plumbline doctor --fix` goes on with the lines that are intact",
    )


def intact_entries(path: Path) -> tuple[list[dict[str, Any]], str]:
    """The entries whose lines are intact, and the first problem as text; empty if there is none."""
    end, problem = _end(path)[0], ""  # first, since a writer changes it last
    content = path.read_bytes() if path.exists() else b""
    if end and hashlib.sha256(content[: end["bytes"]]).hexdigest() != end["sha256_of_bytes"]:
        lost = len(content) < end["bytes"]
        problem = f"it has {len(content):,} of {end['bytes']:,} bytes" if lost else "it has other bytes"
    entries = []
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), 1):
        entry = _entry(line)
        if entry is None:
            problem = f"line {number} is not what was written"
        else:
            entries.append(entry)
    return entries, problem


def record_end(path: Path) -> None:
    """Record how many bytes a log has now, and their SHA-256."""
    content = path.read_bytes() if path.exists() else b""
    end = {"bytes": len(content), "sha256_of_bytes": hashlib.sha256(content).hexdigest()}
    atomic.write_bytes(end_path(path), json.dumps(hashing.sealed(end)).encode())


def end_path(path: Path) -> Path:
    """The file with the recorded end of a log."""
    return path.with_name(f".{path.name}.end")


def end_problem(path: Path) -> str:
    """What is wrong with the recorded end of a log, as text; empty if nothing is."""
    end, problem = _end(path)
    return problem or ("" if end or not path.exists() else "there is no record of its length")


def rewrite(path: Path, entries: Iterable[Mapping[str, Any]]) -> Path:
    """Replace a damaged log; the caller holds the registry's lock. Returns where the damaged one lies now."""
    kept = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    if path.exists():
        path.rename(kept)
    end_path(path).unlink(missing_ok=True)
    atomic.write_bytes(path, b"".join(map(_line, entries)))
    record_end(path)
    return kept


def aliases(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The version of each alias after these entries."""
    state: dict[str, str] = {}
    for entry in entries:
        action = entry["action"]
        if action in ("promote", "rollback"):
            state |= {"champion": entry["version"]} | (
                {"previous": entry["before"]} if entry["before"] else {}
            )
        elif action == "alias":
            state |= {entry["alias"]: entry["version"]}
        elif action == "repair":
            state = dict(entry["aliases"])
    return {name: version for name, version in sorted(state.items()) if version}


def _end(path: Path) -> tuple[dict[str, Any] | None, str]:
    """The recorded end, and what is wrong with it. A damaged one decides nothing: lines have hashes, too."""
    try:
        end = json.loads(end_path(path).read_bytes())
        if isinstance(end, dict) and not hashing.seal_problem(end, END_KEYS) and end.keys() >= {"bytes"}:
            return end, ""
    except FileNotFoundError:
        return None, ""
    except ValueError:
        pass
    return None, "the record of its length is damaged"


def _line(change: Mapping[str, Any]) -> bytes:
    entry = json.loads(json.dumps(dict(change)))
    return json.dumps({**entry, CHECK: hashing.digest_of(entry)}, ensure_ascii=False).encode() + b"\n"


def _entry(line: bytes) -> dict[str, Any] | None:
    """The entry of a line without its hash; None if it is damaged. Lines of earlier versions have no hash."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or "action" not in entry:
        return None
    check = entry.pop(CHECK, None)
    return entry if check is None or check == hashing.digest_of(entry) else None


def _complete_bytes(path: Path) -> int:
    """Number of bytes up to the end of the last complete line."""
    return path.read_bytes().rfind(b"\n") + 1
