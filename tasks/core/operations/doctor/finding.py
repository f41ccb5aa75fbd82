"""What a check of `plumbline doctor` found."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DOCTOR_FIX = "plumbline doctor --fix"
RESTORE = "restore it from a copy"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Args:
        about: What was checked, in one word.
        found: The state that was found.
        fix: How to fix it; empty if nothing is wrong.
        mend: Fixes it, as --fix does, and returns what it did; None if a person must decide.
    """

    about: str
    found: str
    fix: str = ""
    mend: Callable[[], str] | None = None


def command(*words: str | Path) -> str:
    """A command that can be copied into a shell."""
    return shlex.join(map(str, words))
