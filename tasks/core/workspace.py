"""The workspace: the one folder in which everything that Plumbline makes lies.

Handles carry paths relative to it, so that a workspace can be moved or mounted elsewhere. A workspace at an
address (`s3://bucket/prefix`) is a local folder too: a mirror of what lies there (see `storage.mirror`).
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "PLUMBLINE_WORKSPACE"
MIRRORS = "PLUMBLINE_MIRROR"
DEFAULT = "workspace"
# pathlib makes one slash of two: an address that came as a path has one. A drive letter is no scheme.
ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.+)")


@dataclass(frozen=True)
class Workspace:
    """A workspace by its root folder; every property is an absolute path.

    Args:
        root: The folder; for a workspace at an address its local mirror.
        address: Where the workspace lies, such as "s3://bucket/prefix"; empty for a folder.
    """

    root: Path
    address: str = ""

    @classmethod
    def open(cls, path: str | Path | None = None) -> "Workspace":
        """Make `path` (else the environment's, else ./workspace) this process's workspace.

        Child processes inherit it through the environment. See `storage.mirror.open_workspace` for one at an
        address.
        """
        opened = cls.at(path or os.environ.get(VARIABLE) or DEFAULT)
        os.environ[VARIABLE] = opened.address or str(opened.root)
        return opened

    @classmethod
    def active(cls) -> "Workspace":
        """The workspace that this process last opened; handles resolve against it."""
        return cls.at(os.environ.get(VARIABLE) or DEFAULT)

    @classmethod
    def at(cls, place: str | Path) -> "Workspace":
        """The workspace of a folder or an address; nothing is opened."""
        found = ADDRESS.fullmatch(str(place))
        if found is None:
            return cls(Path(place).expanduser().resolve())
        address = f"{found[1]}://{found[2].rstrip('/')}"
        return cls(mirrors() / folder_name(address), address)

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics"

    @property
    def results(self) -> Path:
        """Prefect's stored task results (small JSON handles)."""
        return self.root / "results"


def mirrors() -> Path:
    """The folder that holds this machine's mirrors: PLUMBLINE_MIRROR, else in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "plumbline"
    return Path(os.environ.get(MIRRORS) or cache).expanduser().resolve()


def folder_name(address: str) -> str:
    """A mirror's name: the address as far as it can be a folder's name, and 8 digits that tell it apart."""
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", address)[-60:].strip("-.")
    return f"{words}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"
