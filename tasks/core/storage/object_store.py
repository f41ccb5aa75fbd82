"""An object store, by what Plumbline asks of one: list, read, write whole objects, create one only if absent.

Everything goes through fsspec; credentials and endpoints are its own (AWS_ENDPOINT_URL, AWS_PROFILE, files in
~/.config/fsspec, ...). A store has no rename and no lock. What it must have is creation that fails if the
object is there (S3: `If-None-Match: *`, since 2024): all agreement between machines rests on that.
"""

import logging
import os
import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tasks.core.errors import NetworkError, PlumblineError, UsageError

log = logging.getLogger("plumbline.store")

EXTRAS = {"s3": "s3"}  # scheme: the extra of ours that brings its package
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
HERE = ("file", "local", "memory", "http", "https")
# s3fs asks for an object's size first, to get it in parts; one request does for what is small.
WHOLE = {"s3": {"max_concurrency": 1}}
AT_ONCE = 16  # requests
PROBES = ".probes"
ATTEMPTS = 3  # of a creation that the store could not decide (S3's 409 while another one is under way)


@dataclass(frozen=True)
class Store:
    """The objects below an address; names are relative to it, with slashes.

    Args:
        address: As the person gave it.
        system: Of fsspec.
        root: The address as `system` writes it.
    """

    address: str
    system: Any
    root: str

    def listing(self, folder: str) -> dict[str, int]:
        """Every object below a folder, with its bytes; one request a thousand objects."""
        with self._network("listed", folder):
            found = self.system.find(self._path(folder), detail=True)
        return {path.removeprefix(self.root + "/"): int(info["size"] or 0) for path, info in found.items()}

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in a folder."""
        with self._network("listed", folder):
            try:
                found = self.system.ls(self._path(folder), detail=True)
            except FileNotFoundError:
                return []
        return sorted(info["name"].rsplit("/", 1)[-1] for info in found if info["type"] == "directory")

    def read(self, name: str) -> bytes | None:
        """A small object's content; None if it isn't there."""
        whole = WHOLE.get(urlsplit(self.address).scheme, {})
        with self._network("read", name):
            try:
                return bytes(self.system.cat_file(self._path(name), **whole))
            except FileNotFoundError:
                return None

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """The contents of small objects, as far as they are there; many requests at a time."""
        wanted = list(names)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = zip(wanted, pool.map(self.read, wanted), strict=True)
        return {name: content for name, content in found if content is not None}

    def create(self, name: str, content: bytes) -> bool:
        """Write an object unless it is there; whether it is there now with this content.

        An answer that was lost on the way makes a second try, which meets the first one's object: so the
        content decides. Of two that create the same name with different content, one is told False.
        """
        for attempt in range(ATTEMPTS):
            try:
                with self._network("written", name):
                    self.system.pipe_file(self._path(name), content, mode="create")
                return True
            except FileExistsError:
                return self.read(name) == content
            except NetworkError as error:
                if "ConditionalRequestConflict" not in str(error) or attempt == ATTEMPTS - 1:
                    raise
        return False

    def write(self, name: str, content: bytes) -> None:
        """Write an object, in place of an earlier one."""
        with self._network("written", name):
            self.system.pipe_file(self._path(name), content)

    def upload(self, path: Path, name: str) -> None:
        """Send a file; the object appears when all its bytes are there, or not at all."""
        log.debug("uploading %s", name)
        with self._network("written", name):
            self.system.put_file(str(path), self._path(name))

    def download(self, name: str, path: Path) -> bool:
        """Get an object into a file; False if it isn't there."""
        log.debug("downloading %s", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._network("read", name):
            try:
                self.system.get_file(self._path(name), str(path))
            except FileNotFoundError:
                return False
        return True

    def remove(self, names: Iterable[str]) -> None:
        paths = [self._path(name) for name in names]
        if paths:
            with self._network("removed", f"{len(paths)} objects"):
                self.system.rm(paths)

    def unfinished(self) -> list[str]:
        """Names of uploads in parts that were never completed: S3 keeps their bytes, and bills them."""
        if not hasattr(self.system, "list_multipart_uploads"):
            return []
        bucket, _, prefix = f"{self.root}/".partition("/")
        with self._network("listed", "uploads"):
            found = self.system.list_multipart_uploads(bucket)
        keys = [upload["Key"] for upload in found or ()]
        return sorted(key.removeprefix(prefix) for key in keys if key.startswith(prefix))

    def check_conditional_create(self) -> None:
        """See that the store refuses to create an object a second time.

        Raises:
            UsageError: It doesn't, or the place cannot be written.
        """
        name = f"{PROBES}/{secrets.token_hex(8)}"
        try:
            first, second = self.create(name, b"first"), self.create(name, b"second")
        except TypeError as error:  # a file system of fsspec that doesn't know `mode`
            raise self._unfit(str(error)) from error
        self.remove([name])
        if not first or second:
            raise self._unfit("the second of two creations went through")

    def _unfit(self, found: str) -> UsageError:
        return UsageError(
            f"{self.address} cannot hold a workspace",
            expected="a store that creates an object only if it isn't there (on S3: If-None-Match)",
            found=found,
            done="nothing was kept there",
            todo="use a store that has it, such as AWS S3, or a folder as workspace",
        )

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    @contextmanager
    def _network(self, deed: str, name: str) -> Iterator[None]:
        try:
            yield
        except (PlumblineError, FileExistsError, TypeError):
            raise
        except FileNotFoundError as error:
            raise UsageError(
                f"{self.address} is not there", found=str(error), todo="make the bucket first"
            ) from error
        except Exception as error:  # file systems raise whatever the packages below them raise
            if _is_refusal(error):
                raise FileExistsError(name) from error
            if isinstance(error, PermissionError) or _lacks_credentials(error):
                raise UsageError(
                    f"{self.address}/{name} may not be {deed}",
                    found=str(error),
                    todo="check the credentials (for S3 those of AWS' own tools), and what they may do there",
                ) from error
            raise NetworkError(
                f"{self.address}/{name} could not be {deed}",
                found=str(error) or type(error).__name__,
                done="what is there stays as it was; finished work is kept here",
                todo="run again: it goes on with what is lacking",
            ) from error


def open_store(address: str) -> Store:
    """The store at an address; each process opens one once.

    Raises:
        UsageError: The address is of no kind that can hold a workspace, or a package is missing.
    """
    return _open(address, os.getpid())


@lru_cache
def _open(address: str, process: int) -> Store:
    scheme = urlsplit(address).scheme
    if scheme in HERE:
        raise UsageError(
            f"{address} cannot hold a workspace",
            expected="an object store's address, such as s3://bucket/prefix, or a folder",
            found=f"{scheme}://",
            todo="name the folder itself" if scheme in ("file", "local") else "",
        )
    try:
        # Another machine may write at any time, so a listing is never older than the question.
        import fsspec  # a fifth of a second, which only a workspace at an address needs

        system, root = fsspec.url_to_fs(address, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        raise _lacks_package(address, scheme, error) from error
    except ValueError as error:
        raise UsageError(
            f"{address} is of an unknown kind", expected="s3://bucket/prefix", found=str(error)
        ) from error
    return Store(address, system, root.rstrip("/"))


def _lacks_package(address: str, scheme: str, error: ImportError) -> UsageError:
    package = PACKAGES.get(scheme, f"fsspec's for {scheme}://")
    extra = f"pip install -e '.[{EXTRAS[scheme]}]'" if scheme in EXTRAS else f"pip install {package}"
    return UsageError(
        f"a workspace at {address} needs a package that is not installed: {package}",
        found=str(error),
        done="nothing was started",
        todo=extra if scheme in PACKAGES else "",
    )


def _lacks_credentials(error: Exception) -> bool:
    """Whether there is nothing to sign with: botocore's errors, by name, since it is optional."""
    return type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound")


def _is_refusal(error: Exception) -> bool:
    """Whether the store said that the object is there; some S3 servers leave out by which condition."""
    answer = getattr(error.__cause__ or error, "response", None) or {}
    return bool(answer.get("Error", {}).get("Code") == "PreconditionFailed")
