"""Keeps the summaries of modules' syntax between runs: parsing 150 modules takes 0.8 CPU-s.

A summary is found by the SHA-256 of the module's text, so an edited module is parsed. Another version of
Python or of `syntax` has a file of its own. A file that is missing, damaged or not writable only costs time.
"""

import hashlib
import json
import platform
from functools import cache
from pathlib import Path

from tasks.core import workspace
from tasks.core.stage import syntax
from tasks.core.storage import atomic, hashing

MOST = 2_000  # summaries in a file: those of some ten versions of the code

Summaries = dict[str, tuple[str, list[str]]]
_new: Summaries = {}


def read(text: str) -> tuple[str, list[str]]:
    """Do as `syntax.summarized`, for a text that may be known."""
    key = hashlib.sha256(text.encode()).hexdigest()
    known = _new.get(key) or _stored(_file()).get(key)
    if known is None:
        known = _new[key] = syntax.summarized(text)
    return known


def keep() -> None:
    """Write the summaries that are new."""
    path = _file()
    if not _new or path is None:
        return
    every = [*{**_stored(path), **_new}.items()]
    content = hashing.sealed({"summaries": dict(every[-MOST:])})
    try:
        atomic.write_bytes(path, json.dumps(content).encode())
    except OSError:
        return
    _stored.cache_clear()
    _new.clear()


@cache
def _stored(path: Path | None) -> Summaries:
    try:
        content = json.loads(path.read_bytes()) if path else {}
        if hashing.seal_problem(content, frozenset()):
            return {}
        return {key: (digest, names) for key, (digest, names) in content["summaries"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _file() -> Path | None:
    try:
        return workspace.cache() / "code" / f"{_reader()}.json"
    except RuntimeError:  # the user has no home folder
        return None


@cache
def _reader() -> str:
    """What decides the summary of a text: the code that makes it, and Python's grammar."""
    code = Path(syntax.__file__).read_bytes()
    return hashlib.sha256(code + platform.python_version().encode()).hexdigest()[:16]
