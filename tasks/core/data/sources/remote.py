"""Parquet files at an address: copied into the workspace once, and again when they have changed there.

`http(s)://` goes through httpx, anything else (`hf://`, `s3://`, `gs://`, ...) through fsspec, whose file
systems come in packages of their own. The files have no hash to hold them against: the address is the
person's word for them, and what came is known by its SHA-256 from then on.
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
MARKS = ".marks.json"
# What file systems call a sign that a file has changed; the first ones are signs of its content.
SIGNS = ("ETag", "etag", "checksum", "md5Hash", "lfs", "blob_id", "LastModified", "last_modified", "mtime")
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
        mark: Changes when the file does; empty if nothing tells.
    """

    name: str
    bytes: int | None
    mark: str


class Place(Protocol):
    """Somewhere that has files."""

    def entries(self) -> list[Entry]: ...

    def chunks(self, name: str) -> Iterator[bytes]: ...


def mirror(address: str, workspace: Workspace, refresh: bool, progress: Progress) -> Path:
    """Bring a folder of the workspace up to date with an address.

    Args:
        address: Of a parquet file, or of a folder of them.
        workspace: The copies lie in `downloads/<digest of the address>/`.
        refresh: Copy everything again.
        progress: Told bytes.

    Returns:
        The folder, or the file in it if the address is a file's.

    Raises:
        UsageError: The address has no file system, a package is missing, or it has no parquet files.
        NetworkError: It could not be reached or broke off; another try may help.
    """
    folder = workspace.downloads / hashing.digest_of(address)
    with lock.exclusive(workspace.downloads / f".{folder.name}.lock"), _open(address) as place:
        with network(address):
            entries = place.entries()
        if not entries:
            raise UsageError(
                f"{address} has no {SUFFIX} file", expected="parquet files, or one", found="none"
            )
        marks = {} if refresh else _marks(folder)
        total = sum(entry.bytes or 0 for entry in entries)
        done = 0
        for entry in entries:
            if not entry.mark or marks.get(entry.name) != entry.mark or not (folder / entry.name).is_file():
                _copy(place, address, entry, folder, lambda size, before=done: progress(before + size, total))
            done += entry.bytes or 0
        _tidy(folder, entries)
    return folder / entries[0].name if address.endswith(SUFFIX) else folder


def _copy(place: Place, address: str, entry: Entry, folder: Path, progress: Any) -> None:
    log.info("copying %s from %s", entry.name, address)
    with atomic.replacing(folder / entry.name) as staging:
        size = 0
        with network(address), staging.open("wb") as file:
            for chunk in place.chunks(entry.name):
                file.write(chunk)
                size += len(chunk)
                progress(size)
        if entry.bytes is not None and size != entry.bytes:
            raise NetworkError(
                f"{entry.name} from {address} broke off",
                expected=f"{entry.bytes} bytes",
                found=f"{size} bytes",
            )


def _marks(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / MARKS).read_bytes()))
    except (OSError, ValueError, TypeError):  # not there, or not whole: only costs another copy
        return {}


def _tidy(folder: Path, entries: list[Entry]) -> None:
    """Remove what the address no longer has, and note what the copies are copies of."""
    names = {entry.name for entry in entries}
    for path in list(folder.rglob(f"*{SUFFIX}")):
        if path.relative_to(folder).as_posix() not in names:
            path.unlink()
    marks = {entry.name: entry.mark for entry in entries}
    atomic.write_bytes(folder / MARKS, json.dumps(marks, indent=1).encode())


@contextmanager
def network(address: str) -> Iterator[None]:
    try:
        yield
    except PlumblineError:
        raise
    except FileNotFoundError as error:
        raise UsageError(f"There is nothing at {address}", found=str(error)) from error
    except PermissionError as error:
        raise UsageError(f"{address} may not be read", found=str(error)) from error
    except Exception as error:  # file systems raise whatever the packages below them raise
        raise NetworkError(
            f"{address} could not be read", found=str(error) or type(error).__name__, todo="run again"
        ) from error


@contextmanager
def _open(address: str) -> Iterator[Place]:
    if urlsplit(address).scheme in ("http", "https"):
        with httpx.Client(follow_redirects=True, timeout=TIMEOUT) as client:
            yield Web(client, address)
    else:
        yield Store.open(address)


class Web:
    """One file at an http(s) address, which has no folders to look into."""

    def __init__(self, client: httpx.Client, address: str) -> None:
        self._client, self._address = client, address
        self._name = PurePosixPath(unquote(urlsplit(address).path)).name

    def entries(self) -> list[Entry]:
        if not self._name.endswith(SUFFIX):
            raise UsageError(
                f"{self._address} is not the address of a parquet file",
                expected=f"an http(s) address that ends in {SUFFIX}; folders can't be listed over http",
                found=self._name or "no name",
            )
        head = self._client.head(self._address)
        _refuse_status(self._address, head)
        size = head.headers.get("content-length", "")
        plain = head.headers.get("content-encoding", "identity") == "identity"
        return [Entry(self._name, int(size) if size.isdigit() and plain else None, _header_mark(head))]

    def chunks(self, name: str) -> Iterator[bytes]:
        with self._client.stream("GET", self._address) as answer:
            _refuse_status(self._address, answer)
            yield from answer.iter_bytes(CHUNK)


def _header_mark(answer: httpx.Response) -> str:
    return answer.headers.get("etag") or answer.headers.get("last-modified") or ""


def _refuse_status(address: str, answer: httpx.Response) -> None:
    if answer.is_success:
        return
    found = f"{answer.status_code} {answer.reason_phrase}"
    if answer.is_client_error and answer.status_code not in (408, 429):
        raise UsageError(f"{address} does not give a file", expected="status 200", found=found)
    raise NetworkError(f"{address} does not answer as it should", expected="status 200", found=found)


def system_of(address: str) -> tuple[AbstractFileSystem, str]:
    """The file system of an fsspec address, and the path in it.

    Raises:
        UsageError: There is no such file system, or its package is missing.
    """
    scheme = urlsplit(address).scheme
    try:
        system, path = fsspec.url_to_fs(address)
    except ImportError as error:
        package = PACKAGES.get(scheme, f"fsspec's for {scheme}://")
        raise UsageError(
            f"{scheme}:// addresses need a package that is not installed: {package}",
            found=str(error),
            done="nothing was started",
            todo=f"pip install {package}" if scheme in PACKAGES else "",
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{address} is of an unknown kind", expected="https://, hf://, s3://, ...", found=str(error)
        ) from error
    return system, path


class Store:
    """Files at an fsspec address."""

    def __init__(self, system: AbstractFileSystem, root: str) -> None:
        self._system, self._root = system, root.rstrip("/")

    @classmethod
    def open(cls, address: str) -> "Store":
        return cls(*system_of(address))

    def entries(self) -> list[Entry]:
        if self._system.isfile(self._root):
            found = {self._root: self._system.info(self._root)}
        else:
            found = self._system.find(self._root, detail=True)
        return [
            Entry(self._relative(path), info.get("size"), mark(info))
            for path, info in sorted(found.items())
            if path.endswith(SUFFIX)
        ]

    def chunks(self, name: str) -> Iterator[bytes]:
        path = self._root if self._root.endswith(SUFFIX) else f"{self._root}/{name}"
        with self._system.open(path, "rb", block_size=CHUNK) as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def _relative(self, path: str) -> str:
        return PurePosixPath(path).name if path == self._root else path.removeprefix(self._root + "/")


def mark(info: dict[str, Any]) -> str:
    signs = {sign: str(info[sign]) for sign in (*SIGNS, "created") if info.get(sign)}
    return json.dumps({"size": info.get("size"), **signs}, sort_keys=True) if signs else ""
