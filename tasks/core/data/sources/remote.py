"""Files at an address: their listing and their content.

`http(s)://` is read with httpx, everything else (`hf://`, `s3://`, `gs://`, ...) with fsspec, whose file
systems are separate packages.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import fsspec
import httpx
from fsspec.spec import AbstractFileSystem

from tasks.core.addresses import whole, without_secrets
from tasks.core.errors import NetworkError, PlumblineError, UsageError

CHUNK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte
NO_HEAD = (401, 403, 405, 501)  # statuses of a server that answers GET
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
    """An address that has files.

    Attributes:
        name: The last part of the address.
    """

    name: str

    def is_file(self) -> bool:
        """Whether it is the address of a single file."""

    def entries(self) -> list[Entry]:
        """The files."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of a file."""

    def head(self, name: str, size: int) -> bytes:
        """The first `size` bytes of a file that has as many."""


@contextmanager
def network(address: str) -> Iterator[None]:
    """Turn what file systems raise into a `UsageError` or a `NetworkError`."""
    try:
        yield
    except PlumblineError:
        raise
    except Exception as error:  # fsspec's file systems raise the types of their packages
        raise _explained(error, address) from (error if without_secrets(str(error)) == str(error) else None)


def _explained(error: Exception, address: str) -> PlumblineError:
    """What happened, without the secrets of the address; a traceback may not show `error` if it has them."""
    if isinstance(error, FileNotFoundError):
        return UsageError(f"There is nothing at {address}", found=str(error))
    if isinstance(error, PermissionError):
        return UsageError(f"{address} may not be read", found=str(error))
    return NetworkError(
        f"{address} could not be read", found=str(error) or type(error).__name__, todo="run again"
    )


@contextmanager
def opened(address: str) -> Iterator[RemoteSource]:
    """Connect to the server or the file system of an address.

    Raises:
        UsageError: See `system_of`.
    """
    if urlsplit(address).scheme in ("http", "https"):
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).addFilter(_without_secrets)
        with httpx.Client(follow_redirects=True, timeout=TIMEOUT) as client:
            yield HttpSource(client, address)
    else:
        yield FsspecSource.open(address)


class HttpSource:
    """One file at an http(s) address; http cannot list folders."""

    def __init__(self, client: httpx.Client, address: str) -> None:
        self._client, self._address = client, address  # without secrets
        self.name = PurePosixPath(unquote(urlsplit(address).path)).name

    def is_file(self) -> bool:
        """True."""
        return True

    def entries(self) -> list[Entry]:
        """The file, with size and version tag from its headers."""
        head = self._client.head(whole(self._address))
        if head.status_code in NO_HEAD:  # the signature of an address may hold for GET only
            with self._client.stream("GET", whole(self._address)) as head:
                pass
        _refuse_status(self._address, head)
        size = head.headers.get("content-length", "")
        plain = head.headers.get("content-encoding", "identity") == "identity"
        return [Entry(self.name, int(size) if size.isdigit() and plain else None, _header_tag(head))]

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of the file."""
        with self._client.stream("GET", whole(self._address)) as response:
            _refuse_status(self._address, response)
            yield from response.iter_bytes(CHUNK)

    def head(self, name: str, size: int) -> bytes:
        """The first bytes of the file."""
        return next(self.chunks(name))[:size]


def _without_secrets(record: logging.LogRecord) -> bool:
    """A filter of log records: httpx logs whole addresses."""
    record.msg, record.args = without_secrets(record.getMessage()), ()
    return True


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
        system, path = fsspec.url_to_fs(whole(address))
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
    """Files at an fsspec address: a single one, or those of a folder."""

    def __init__(self, system: AbstractFileSystem, root: str) -> None:
        self._system, self._root = system, root.rstrip("/")
        self.name = PurePosixPath(self._root).name

    @classmethod
    def open(cls, address: str) -> "FsspecSource":
        """Connect to the file system of an address."""
        return cls(*system_of(address))

    def is_file(self) -> bool:
        """Whether the address is that of a file."""
        return self._is_file

    @cached_property
    def _is_file(self) -> bool:
        return bool(self._system.isfile(self._root))

    def entries(self) -> list[Entry]:
        """All files below the address, sorted by path."""
        if self._is_file:
            infos = {self._root: self._system.info(self._root)}
        else:
            infos = self._system.find(self._root, detail=True)
        return [
            Entry(self._relative(path), info.get("size"), version_tag(info))
            for path, info in sorted(infos.items())
            if info.get("type") != "directory" and not path.endswith("/")
        ]

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of a file."""
        path = self._root if self._is_file else f"{self._root}/{name}"
        with self._system.open(path, "rb", block_size=CHUNK) as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def head(self, name: str, size: int) -> bytes:
        """The first bytes of a file."""
        return bytes(self._system.cat_file(f"{self._root}/{name}", start=0, end=size)) if size else b""

    def _relative(self, path: str) -> str:
        return PurePosixPath(path).name if path == self._root else path.removeprefix(self._root + "/")


def version_tag(info: dict[str, Any]) -> str:
    """What the file system reports about a file's version, as one text; empty if it reports nothing."""
    fields = {field: str(info[field]) for field in (*VERSION_FIELDS, "created") if info.get(field)}
    return json.dumps({"size": info.get("size"), **fields}, sort_keys=True) if fields else ""
