"""The first start of a Prefect server makes its database, in steps that SQLite does not take back together.

If the disk is full or the process is killed in such a step, later starts fail: "table already exists". A mark
beside the database says that no first start has ended. Only such a database is ever set aside.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tasks.core.storage import lock

DATABASE = "prefect.db"
MARK = ".plumbline-first-start"


@dataclass
class FirstStart:
    """Holds a lock while the database is made: only one process may migrate a new one.

    Args:
        home: Prefect's PREFECT_HOME.
        unfinished: Whether an earlier first start has left this database.
    """

    home: Path
    unfinished: bool = False
    _held: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def begin(cls, home: Path) -> "FirstStart":
        """Wait for another first start, and mark this one if there is no database."""
        first = cls(home)
        if not (first.database.exists() and not first.mark.exists()):
            first._held.enter_context(lock.exclusive(home / f"{MARK}.lock"))
            first.unfinished = first.database.exists() and first.mark.exists()
            if not first.database.exists():
                first.mark.touch()
        return first

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.home / DATABASE

    @property
    def mark(self) -> Path:
        """The file that exists until a first start has ended."""
        return self.home / MARK

    def end(self) -> None:
        """The server answers: the database is whole."""
        self.mark.unlink(missing_ok=True)
        self._held.close()

    def release(self) -> None:
        """Let others try; the mark stays."""
        self._held.close()

    def set_aside(self) -> Path:
        """Rename the database that an earlier first start left. Returns its new path."""
        aside = self.database.with_name(f"{DATABASE}.unfinished-{time.time_ns()}")
        for suffix in ("-wal", "-shm", ""):
            part = self.home / f"{DATABASE}{suffix}"
            if part.exists():
                part.rename(f"{aside}{suffix}")
        return aside
