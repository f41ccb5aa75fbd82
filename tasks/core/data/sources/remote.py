"""Parquet files at an address: copied into the workspace once, and again when they change there.

`http(s)://` is read with httpx, everything else (`hf://`, `s3://`, `gs://`, ...) with fsspec, whose file
systems are separate packages. The files have no published hash to verify: the first copy is trusted, and its
SHA-256 identifies it from then on.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import fsspec
import httpx
from fsspec.spec import AbstractFileSystem

from tasks.core.errors import NetworkError, PlumblineError, UsageError
from tasks.core.progress import Progress
from tasks.core.storage import atomic, hashing, lock
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.data")

SUFFIX = ".parquet"
CHUNK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte
TAGS_FILE = ".version_tags.json"
# Keys under which file systems report a file's version; those that identify its content come first.
VERSION_FIELDS = (
    "ETag",
    "etag",
    "checksum",
    "md5Hash",
    "lfs",
    "blob_id",
    "LastModified",
    "last_modified",
    "mtime",
)
PACKAGES = {
    "hf": "huggingface_hub",
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "az": "adlfs",
}


@dataclass(frozen=True)
class Entry:
    """A file at an address.

    Args:
        name: Relative to the address.
        bytes: Its size, None if unknown.
        version_tag: Changes when the file does; empty if the file system reports nothing.
    """

    name: str
    bytes: int | None
    version_tag: str


class RemoteSource(Protocol):
    """An address that has files."""

    def entries(self) -> list[Entry]:
        """The parquet files."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of a file."""


def mirror(address: str, workspace: Workspace, refresh: bool, progress: Progress) -> Path:
    """Update the copy of an address in the workspace.

    Args:
        address: Of a parquet file, or of a folder of them.
        workspace: The copies are in `downloads/<digest of the address>/`.
        refresh: Copy everything again.
        progress: Called with bytes done.

    Returns:
        The folder, or the file in it if the address is that of a file.

    Raises:
        UsageError: The address has no file system, a package is missing, or it has no parquet files.
        NetworkError: It could not be reached, or the connection broke; another attempt may succeed.
    """
    folder = workspace.downloads / hashing.digest_of(address)
    with lock.exclusive(workspace.downloads / f".{folder.name}.lock"), _open(address) as source:
        with network(address):
            entries = source.entries()
        if not entries:
            raise UsageError(
                f"{address} has no {SUFFIX} file", expected="one parquet file or more", found="none"
            )
        tags = {} if refresh else _version_tags(folder)
        total = sum(entry.bytes or 0 for entry in entries)
        done = 0
        for entry in entries:
            if not _is_current(entry, tags, folder):
                _copy(
                    source, address, entry, folder, lambda size, before=done: progress(before + size, total)
                )
            done += entry.bytes or 0
        _finish_copy(folder, entries)
    return folder / entries[0].name if address.endswith(SUFFIX) else folder


def _is_current(entry: Entry, tags: dict[str, str], folder: Path) -> bool:
    """Whether the copy exists and has the entry's version tag."""
    return (
        entry.version_tag != ""
        and tags.get(entry.name) == entry.version_tag
        and (folder / entry.name).is_file()
    )


def _copy(source: RemoteSource, address: str, entry: Entry, folder: Path, progress: Any) -> None:
    log.info("copying %s from %s", entry.name, address)
    with atomic.replacing(folder / entry.name) as staging:
        size = 0
        with network(address), staging.open("wb") as file:
            for chunk in source.chunks(entry.name):
                file.write(chunk)
                size += len(chunk)
                progress(size)
        if entry.bytes is not None and size != entry.bytes:
            raise NetworkError(
                f"{entry.name} from {address} is incomplete",
                expected=f"{entry.bytes} bytes",
                found=f"{size} bytes",
            )


def _version_tags(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / TAGS_FILE).read_bytes()))
    except (OSError, ValueError, TypeError):  # missing or damaged tags only cost another copy
        return {}


def _finish_copy(folder: Path, entries: list[Entry]) -> None:
    """Remove files that the address no longer has, and save the version tags of the copies."""
    names = {entry.name for entry in entries}
    for path in list(folder.rglob(f"*{SUFFIX}")):
        if path.relative_to(folder).as_posix() not in names:
            path.unlink()
    tags = {entry.name: entry.version_tag for entry in entries}
    atomic.write_bytes(folder / TAGS_FILE, json.dumps(tags, indent=1).encode())


@contextmanager
def network(address: str) -> Iterator[None]:
    """Turn what file systems raise into a `UsageError` or a `NetworkError`."""
    try:
        yield
    except PlumblineError:
        raise
    except FileNotFoundError as error:
        raise UsageError(f"There is nothing at {address}", found=str(error)) from error
    except PermissionError as error:
        raise UsageError(f"{address} may not be read", found=str(error)) from error
    except Exception as error:  # fsspec's file systems raise the types of their packages
        raise NetworkError(
            f"{address} could not be read", found=str(error) or type(error).__name__, todo="run again"
        ) from error


@contextmanager
def _open(address: str) -> Iterator[RemoteSource]:
    if urlsplit(address).scheme in ("http", "https"):
        with httpx.Client(follow_redirects=True, timeout=TIMEOUT) as client:
            yield HttpSource(client, address)
    else:
        yield FsspecSource.open(address)


class HttpSource:
    """One file at an http(s) address; http cannot list folders."""

    def __init__(self, client: httpx.Client, address: str) -> None:
        self._client, self._address = client, address
        self._name = PurePosixPath(unquote(urlsplit(address).path)).name

    def entries(self) -> list[Entry]:
        """The file, with size and version tag from its headers."""
        if not self._name.endswith(SUFFIX):
            raise UsageError(
                f"{self._address} is not the address of a parquet file",
                expected=f"an http(s) address that ends in {SUFFIX}; folders cannot be listed over http",
                found=self._name or "no name",
            )
        head = self._client.head(self._address)
        _refuse_status(self._address, head)
        size = head.headers.get("content-length", "")
        plain = head.headers.get("content-encoding", "identity") == "identity"
        return [Entry(self._name, int(size) if size.isdigit() and plain else None, _header_tag(head))]

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of the file."""
        with self._client.stream("GET", self._address) as response:
            _refuse_status(self._address, response)
            yield from response.iter_bytes(CHUNK)


def _header_tag(response: httpx.Response) -> str:
    return response.headers.get("etag") or response.headers.get("last-modified") or ""


def _refuse_status(address: str, response: httpx.Response) -> None:
    if response.is_success:
        return
    found = f"{response.status_code} {response.reason_phrase}"
    if response.is_client_error and response.status_code not in (408, 429):
        raise UsageError(f"{address} does not return a file", expected="status 200", found=found)
    raise NetworkError(f"{address} does not respond as expected", expected="status 200", found=found)


def system_of(address: str) -> tuple[AbstractFileSystem, str]:
    """The file system of an fsspec address, and the path in it.

    Raises:
        UsageError: There is no such file system, or its package is missing.
    """
    scheme = urlsplit(address).scheme
    try:
        system, path = fsspec.url_to_fs(address)
    except ImportError as error:
        package = PACKAGES.get(scheme, f"the fsspec package for {scheme}://")
        raise UsageError(
            f"{scheme}:// addresses need a package that is not installed: {package}",
            found=str(error),
            done="nothing was started",
            todo=f"pip install {package}" if scheme in PACKAGES else "",
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{address} has an unknown scheme", expected="https://, hf://, s3://, ...", found=str(error)
        ) from error
    return system, path


class FsspecSource:
    """Files at an fsspec address."""

    def __init__(self, system: AbstractFileSystem, root: str) -> None:
        self._system, self._root = system, root.rstrip("/")

    @classmethod
    def open(cls, address: str) -> "FsspecSource":
        """Connect to the file system of an address."""
        return cls(*system_of(address))

    def entries(self) -> list[Entry]:
        """All parquet files below the address, sorted by path."""
        if self._system.isfile(self._root):
            infos = {self._root: self._system.info(self._root)}
        else:
            infos = self._system.find(self._root, detail=True)
        return [
            Entry(self._relative(path), info.get("size"), version_tag(info))
            for path, info in sorted(infos.items())
            if path.endswith(SUFFIX)
        ]

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of a file."""
        path = self._root if self._root.endswith(SUFFIX) else f"{self._root}/{name}"
        with self._system.open(path, "rb", block_size=CHUNK) as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def _relative(self, path: str) -> str:
        return PurePosixPath(path).name if path == self._root else path.removeprefix(self._root + "/")


def version_tag(info: dict[str, Any]) -> str:
    """What the file system reports about a file's version, as one text; empty if it reports nothing."""
    fields = {field: str(info[field]) for field in (*VERSION_FIELDS, "created") if info.get(field)}
    return json.dumps({"size": info.get("size"), **fields}, sort_keys=True) if fields else ""
