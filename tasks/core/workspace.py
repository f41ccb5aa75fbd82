"""The workspace: the folder that contains everything that Plumbline writes.

Handles have paths relative to it, so that a workspace can be moved or mounted under another path. A workspace
at an address (`s3://bucket/prefix`) has a local folder too, the mirror of the address (see `storage.mirror`).
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from tasks.core.addresses import concealed, is_readable
from tasks.core.errors import UsageError
from tasks.core.markup import is_utf8

VARIABLE = "PLUMBLINE_WORKSPACE"
MIRRORS = "PLUMBLINE_MIRROR"
CACHE = "PLUMBLINE_CACHE"
DEFAULT = "workspace"
# One slash is enough, since pathlib joins two into one. A scheme has two or more letters, a drive only one.
ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.+)")

NO_BUCKET = re.compile(r"[a-z][a-z0-9+.-]+:/*")


@dataclass(frozen=True)
class Workspace:
    """A workspace. Every property is an absolute path.

    Args:
        root: The folder; for a workspace at an address, its local mirror.
        address: The address, such as "s3://bucket/prefix"; empty for a folder.
    """

    root: Path
    address: str = ""

    @classmethod
    def open(cls, path: str | Path | None = None) -> "Workspace":
        """Make a workspace the active one of this process and of its child processes.

        The environment holds it. `storage.workspaces.open_workspace` also checks the store of an address.

        Args:
            path: A folder or an address; if None, the value of PLUMBLINE_WORKSPACE, else ./workspace.
        """
        opened = cls.at(path or os.environ.get(VARIABLE) or DEFAULT)
        os.environ[VARIABLE] = opened.address or str(opened.root)
        return opened

    @classmethod
    def active(cls) -> "Workspace":
        """Return the workspace that this process opened last; the paths of handles are relative to it."""
        return cls.at(os.environ.get(VARIABLE) or DEFAULT)

    @classmethod
    def at(cls, location: str | Path) -> "Workspace":
        """Return the workspace of a folder or an address without making it the active one.

        Raises:
            UsageError: It is an address without a bucket, one that cannot be taken apart or one with a
                secret, it begins with `~` and a user who does not exist, or a folder is not UTF-8.
        """
        text = str(location)
        if NO_BUCKET.fullmatch(text):
            raise _not_an_address(text, "nothing behind the scheme (is a variable empty?)")
        match = ADDRESS.fullmatch(text)
        if match is None:
            return cls(of_text(expanded(location).resolve(), "workspace", "--workspace"))
        address = f"{match[1]}://{match[2].rstrip('/')}"
        if not is_readable(address):
            raise _not_an_address(text, "an address that cannot be taken apart (its brackets or its port)")
        _refuse_secrets(text)
        return cls(mirrors() / folder_name(address), address)

    def relative(self, path: Path) -> str:
        """Return a path inside the workspace relative to its root, with slashes."""
        return path.relative_to(self.root).as_posix()

    @property
    def downloads(self) -> Path:
        """Downloaded archives."""
        return self.root / "downloads"

    @property
    def models(self) -> Path:
        """Published models, by dataset and version."""
        return self.root / "models"

    @property
    def metrics(self) -> Path:
        """The metrics tables."""
        return self.root / "metrics"

    @property
    def results(self) -> Path:
        """The task results that Prefect stores: handles as JSON."""
        return self.root / "results"


def _not_an_address(location: str, found: str) -> UsageError:
    return UsageError(
        f"{location} is not the address of a workspace",
        expected="an address such as s3://bucket/prefix, or a folder",
        found=found,
        done="nothing was started",
    )


def _refuse_secrets(address: str) -> None:
    if concealed(address) != address:
        raise UsageError(
            "the address of a workspace has a password or a key in it",
            expected="an address such as s3://bucket/prefix, which is shown and stored as it is",
            found=address,
            done="nothing was started",
            todo="give keys as the object store's own settings, such as AWS_ACCESS_KEY_ID",
        )


def expanded(path: str | Path) -> Path:
    """A path with the home folder in place of `~` or `~user`.

    Raises:
        UsageError: There is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"there is no home folder for {path}",
            expected="a path, ~/path, or ~user/path with a user of this machine",
            found=f"no user {Path(path).parts[0].removeprefix('~') or 'with a home folder'}",
            done="nothing was started",
        ) from error


def is_address(path: str | Path) -> bool:
    """Whether it is an address rather than a path of this machine.

    >>> is_address("s3://bucket/rows"), is_address(Path("s3://bucket/rows")), is_address("C:/rows")
    (True, True, False)
    """
    return ADDRESS.fullmatch(str(path)) is not None


def mirrors() -> Path:
    """Return the folder of this machine's mirrors: PLUMBLINE_MIRROR, else the machine's cache folder."""
    return expanded(os.environ.get(MIRRORS) or cache()).resolve()


def cache() -> Path:
    """Return the folder that this machine's workspaces share: PLUMBLINE_CACHE, else in the user's cache."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "plumbline"
    return expanded(os.environ.get(CACHE) or default).resolve()


def folder_name(address: str) -> str:
    """Return the folder name of a mirror: a readable form of the address, and 8 digits of its SHA-256."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", address)[-60:].strip("-.")
    return f"{readable}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"


def of_text(path: Path, what: str, option: str) -> Path:
    """The path of what an option names.

    Raises:
        UsageError: It is not UTF-8: tables and manifests could not hold it.
    """
    if is_utf8(str(path)):
        return path
    raise UsageError(
        f"the path of the {what} is not UTF-8",
        expected="names in UTF-8, which tables and manifests can hold",
        found=repr(os.fsencode(path)),
        done="nothing was written",
        todo=f"name another one with {option}, or rename the folder",
    )
