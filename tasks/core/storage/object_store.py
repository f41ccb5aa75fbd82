"""An object store: list, read and write objects, and create an object only if it does not exist.

All requests go through fsspec, which also finds credentials and endpoints (AWS_ENDPOINT_URL, AWS_PROFILE,
files in ~/.config/fsspec, ...). A store has no rename and no lock. It must have conditional creation, which
fails if the object exists (S3: `If-None-Match: *`, since 2024). All coordination between machines depends on
it.
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

EXTRAS = {"s3": "s3"}  # scheme: the extra in pyproject.toml that installs its package
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
UNSUITABLE_SCHEMES = ("file", "local", "memory", "http", "https")
# s3fs requests an object's size first, to get it in parts; for a small object one request is enough.
SINGLE_REQUEST = {"s3": {"max_concurrency": 1}}
MAX_REQUESTS = 16  # concurrent requests
PROBES = ".probes"
ATTEMPTS = 3  # to create an object while S3 answers 409 because another creation is in progress


@dataclass(frozen=True)
class Store:
    """The objects below an address. Their names are relative to it, with slashes.

    Every method raises UsageError for missing permissions, credentials or buckets, and NetworkError for
    other failures.

    Args:
        address: As the user gave it.
        system: The fsspec file system.
        root: The address in the notation of `system`.
    """

    address: str
    system: Any
    root: str

    def listing(self, folder: str) -> dict[str, int]:
        """Return bytes by name of all objects below a folder, with one request per thousand objects."""
        with self._errors("listed", folder):
            entries = self.system.find(self._path(folder), detail=True)
        return {path.removeprefix(self.root + "/"): int(info["size"] or 0) for path, info in entries.items()}

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders directly in a folder."""
        with self._errors("listed", folder):
            try:
                entries = self.system.ls(self._path(folder), detail=True)
            except FileNotFoundError:
                return []
        return sorted(info["name"].rsplit("/", 1)[-1] for info in entries if info["type"] == "directory")

    def read(self, name: str) -> bytes | None:
        """Return the content of a small object; None if it does not exist."""
        single = SINGLE_REQUEST.get(urlsplit(self.address).scheme, {})
        with self._errors("read", name):
            try:
                return bytes(self.system.cat_file(self._path(name), **single))
            except FileNotFoundError:
                return None

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return content by name of the small objects that exist, with up to 16 requests at a time."""
        ordered = list(names)
        with ThreadPoolExecutor(MAX_REQUESTS) as pool:
            contents = zip(ordered, pool.map(self.read, ordered), strict=True)
        return {name: content for name, content in contents if content is not None}

    def create(self, name: str, content: bytes) -> bool:
        """Write an object unless it exists.

        If an answer is lost on the way, the request is repeated and finds the object of the first request.
        Therefore the content decides.

        Returns:
            Whether the object exists now with this content. If two processes create the same name with
            different content, one of them gets False.
        """
        for attempt in range(ATTEMPTS):
            try:
                with self._errors("written", name):
                    self.system.pipe_file(self._path(name), content, mode="create")
                return True
            except FileExistsError:
                return self.read(name) == content
            except NetworkError as error:
                if "ConditionalRequestConflict" not in str(error) or attempt == ATTEMPTS - 1:
                    raise
        return False

    def write(self, name: str, content: bytes) -> None:
        """Write an object, or replace it."""
        with self._errors("written", name):
            self.system.pipe_file(self._path(name), content)

    def upload(self, path: Path, name: str) -> None:
        """Upload a file. The object becomes visible when all its bytes are uploaded, or not at all."""
        log.debug("uploading %s", name)
        with self._errors("written", name):
            self.system.put_file(str(path), self._path(name))

    def download(self, name: str, path: Path) -> bool:
        """Download an object to a file. Returns False if it does not exist."""
        log.debug("downloading %s", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._errors("read", name):
            try:
                self.system.get_file(self._path(name), str(path))
            except FileNotFoundError:
                return False
        return True

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; no request is made if there are none."""
        paths = [self._path(name) for name in names]
        if paths:
            with self._errors("removed", f"{len(paths)} objects"):
                self.system.rm(paths)

    def unfinished(self) -> list[str]:
        """Return the names of incomplete multipart uploads: S3 keeps their bytes and charges for them."""
        if not hasattr(self.system, "list_multipart_uploads"):
            return []
        bucket, _, prefix = f"{self.root}/".partition("/")
        with self._errors("listed", "uploads"):
            uploads = self.system.list_multipart_uploads(bucket)
        keys = [upload["Key"] for upload in uploads or ()]
        return sorted(key.removeprefix(prefix) for key in keys if key.startswith(prefix))

    def check_conditional_create(self) -> None:
        """Check that the store refuses to create an object a second time.

        Raises:
            UsageError: It does not refuse, or the address cannot be written to.
        """
        name = f"{PROBES}/{secrets.token_hex(8)}"
        try:
            first, second = self.create(name, b"first"), self.create(name, b"second")
        except TypeError as error:  # an fsspec file system without `mode`
            raise self._unfit(str(error)) from error
        self.remove([name])
        if not first or second:
            raise self._unfit("the second of two creations succeeded")

    def _unfit(self, found: str) -> UsageError:
        return UsageError(
            f"{self.address} cannot hold a workspace",
            expected="a store with conditional creation of objects (on S3: If-None-Match)",
            found=found,
            done="no test object was left there",
            todo="use a store that has it, such as AWS S3, or a folder as workspace",
        )

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    @contextmanager
    def _errors(self, action: str, name: str) -> Iterator[None]:
        """Turn the errors of fsspec and its packages into Plumbline's; `action` is a participle."""
        try:
            yield
        except (PlumblineError, FileExistsError, TypeError):
            raise
        except FileNotFoundError as error:
            raise UsageError(
                f"{self.address} does not exist", found=str(error), todo="create the bucket first"
            ) from error
        except Exception as error:  # file systems raise whatever the packages below them raise
            if _is_refusal(error):
                raise FileExistsError(name) from error
            if isinstance(error, PermissionError) or _lacks_credentials(error):
                raise UsageError(
                    f"{self.address}/{name} may not be {action}",
                    found=str(error),
                    todo="check the credentials (for S3 those of the AWS tools) and their permissions",
                ) from error
            raise NetworkError(
                f"{self.address}/{name} could not be {action}",
                found=str(error) or type(error).__name__,
                done="existing objects are not changed; finished outputs are kept on this machine",
                todo="run again: only what is missing is transferred",
            ) from error


def open_store(address: str) -> Store:
    """Return the store at an address; a process opens each address only once.

    Raises:
        UsageError: A workspace cannot be at such an address, or a package is missing.
    """
    return _open(address, os.getpid())


@lru_cache
def _open(address: str, process: int) -> Store:
    scheme = urlsplit(address).scheme
    if scheme in UNSUITABLE_SCHEMES:
        raise UsageError(
            f"{address} cannot hold a workspace",
            expected="an object store's address, such as s3://bucket/prefix, or a folder",
            found=f"{scheme}://",
            todo="name the folder itself" if scheme in ("file", "local") else "",
        )
    try:
        import fsspec  # takes 0.2 s, and only a workspace at an address needs it

        # Listings are not cached, since another machine may write at any time.
        system, root = fsspec.url_to_fs(address, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        raise _lacks_package(address, scheme, error) from error
    except ValueError as error:
        raise UsageError(
            f"{address} has an unknown scheme", expected="s3://bucket/prefix", found=str(error)
        ) from error
    except Exception as error:  # whatever the packages raise that connect at once, such as ftplib
        raise NetworkError(
            f"{address} could not be opened",
            expected="an object store's address, such as s3://bucket/prefix, or a folder",
            found=str(error) or type(error).__name__,
            done="nothing was started",
        ) from error
    return Store(address, system, root.rstrip("/"))


def _lacks_package(address: str, scheme: str, error: ImportError) -> UsageError:
    package = PACKAGES.get(scheme, f"the fsspec package for {scheme}://")
    command = f"pip install -e '.[{EXTRAS[scheme]}]'" if scheme in EXTRAS else f"pip install {package}"
    return UsageError(
        f"a workspace at {address} needs a package that is not installed: {package}",
        found=str(error),
        done="nothing was started",
        todo=command if scheme in PACKAGES else "",
    )


def _lacks_credentials(error: Exception) -> bool:
    """Whether credentials are missing: botocore's errors, by name, since it is an optional package."""
    return type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound")


def _is_refusal(error: Exception) -> bool:
    """Whether the store refused because the object exists; some S3 servers do not name the condition."""
    answer = getattr(error.__cause__ or error, "response", None) or {}
    return bool(answer.get("Error", {}).get("Code") == "PreconditionFailed")
