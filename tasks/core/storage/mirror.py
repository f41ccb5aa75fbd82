"""A local mirror of a workspace in an object store: finished directories are uploaded and downloaded.

    <store>/tensors/<digest>/<content>/train.images.npy     files, in a folder named by their content
    <store>/tensors/<digest>/manifest.json                  written last; files without it are ignored

A store has no rename, so an object must be final as soon as it is visible. The name of the folder is a digest
of the SHA-256 of its files. So two machines that build the same stage or the same model version write to the
same object only if its bytes are equal. The manifest is created only if none exists: a second machine with
other content is told so, and takes the content of the first. Files of a killed upload are ignored until the
next upload of the same content completes them.
"""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.core.errors import ChecksumError, FormatError
from tasks.core.storage import atomic, hashing, manifests, names
from tasks.core.storage.object_store import Store, open_store
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.store")

VERSIONS = "models"  # models/<dataset>/<version>
CHECKED_MARK = ".proven"  # exists in a mirror whose store has passed `check_conditional_create`


@dataclass(frozen=True)
class Mirror:
    """The local folder of a workspace at an address, and the store that it mirrors.

    Args:
        root: The local folder.
        store: The store at the workspace's address.
    """

    root: Path
    store: Store

    def check_conditional_create(self) -> None:
        """Run `Store.check_conditional_create` once per mirror.

        Raises:
            UsageError: The store does not pass.
        """
        mark = self.root / CHECKED_MARK
        if not mark.exists():
            self.store.check_conditional_create()
            self.root.mkdir(parents=True, exist_ok=True)
            mark.write_text(f"{self.store.address}\n", encoding="utf-8")

    def push(self, directory: Path, at: Path | None = None, *, replace: bool = False) -> bool:
        """Upload the files of a finished directory that the store lacks, and its manifest last.

        Args:
            directory: The directory.
            at: Its final path in the mirror, if `directory` is another one. If the store already had this
                content, `directory` gets the store's manifest, which has the facts of who was first.
            replace: Upload it even if the store has other content under this name.

        Returns:
            True if the store now has this content; False if it already had different, complete content.
        """
        name = self.name(at or directory)
        ours = manifests.read(directory)
        theirs = self.manifest(name)
        if theirs is not None and content_digest(theirs) != content_digest(ours) and not replace:
            if at is not None or not missing_files(theirs, name, self.store.listing(name)):
                return False
            replace = True  # objects of the other content are missing
        self._upload_missing(directory, name, ours)
        if theirs is None or content_digest(theirs) != content_digest(ours):
            text = (directory / manifests.MANIFEST).read_bytes()
            if replace:
                self.store.write(f"{name}/{manifests.MANIFEST}", text)
                return True
            if self.store.create(f"{name}/{manifests.MANIFEST}", text):
                return True
            theirs = self.manifest(name) or {}
        if content_digest(theirs) != content_digest(ours):
            return False
        if at is not None:
            _take_manifest(directory, theirs)
        return True

    def remove_upload(self, directory: Path, at: Path) -> None:
        """Remove the objects that `push` uploaded in vain, because the manifest there lists other content.

        Args:
            directory: The directory that was pushed.
            at: Its path in the mirror.
        """
        prefix = f"{self.name(at)}/{content_digest(manifests.read(directory))}/"
        self.store.remove(name for name in self.store.listing(self.name(at)) if name.startswith(prefix))

    def fetch(self, directory: Path) -> bool:
        """Download the files of a directory that are missing locally.

        The directory's lock must be held. Every file is compared with its SHA-256 before the directory is put
        in place.

        Returns:
            True if the directory is complete now; False if the store does not have a complete one.

        Raises:
            ChecksumError: An object in the store is not what its manifest says.
        """
        name = self.name(directory)
        manifest = self.manifest(name)
        if manifest is None:
            return False
        for file in manifest["files"]:
            check_inside(file)
        atomic.remove_leftovers(directory)
        with atomic.staging_directory(directory) as staging:
            for file, entry in manifest["files"].items():
                source = f"{name}/{content_digest(manifest)}/{file}"
                candidates = [directory / file, *self._local_copies(manifest, file)]
                if not self._copy_or_download(candidates, staging / file, source, entry):
                    return False
            _write(staging / manifests.MANIFEST, manifest)
            atomic.replace_directory(staging, directory)
        log.debug("downloaded %s from %s", name, self.store.address)
        return True

    def fetch_manifest(self, directory: Path) -> bool:
        """Download only the manifest if it is missing. Returns whether it exists now."""
        if (directory / manifests.MANIFEST).exists():
            return True
        manifest = self.manifest(self.name(directory))
        if manifest is not None:
            directory.mkdir(parents=True, exist_ok=True)
            _write(directory / manifests.MANIFEST, manifest)
        return manifest is not None

    def has(self, directory: Path) -> bool:
        """Whether the store has the complete directory, by its manifest and the sizes of its objects."""
        name = self.name(directory)
        manifest = self.manifest(name)
        return manifest is not None and not missing_files(manifest, name, self.store.listing(name))

    def manifest(self, name: str) -> dict[str, Any] | None:
        """Return a directory's manifest in the store; None if there is none or the directory was deleted."""
        text = self.store.read(f"{name}/{manifests.MANIFEST}")
        if text is None:
            return None
        manifest = manifests.parse(text, f"{self.store.address}/{name}/{manifests.MANIFEST}")
        return None if "deleted" in manifest else manifest

    def delete(self, directory: Path) -> None:
        """Remove a directory's objects from the store; its name is never used again.

        A mark replaces the manifest. So a machine that does not know of the removal cannot create it.
        """
        name = self.name(directory)
        manifest = f"{name}/{manifests.MANIFEST}"
        mark = {"format": manifests.FORMAT, "deleted": True}
        self.store.write(manifest, json.dumps(mark).encode())
        self.store.remove(item for item in self.store.listing(name) if item != manifest)

    def name(self, path: Path) -> str:
        """Return the name of a local path in the store: relative to the workspace, with slashes."""
        return path.relative_to(self.root).as_posix()

    def _upload_missing(self, directory: Path, name: str, manifest: Mapping[str, Any]) -> None:
        missing = missing_files(manifest, name, self.store.listing(name))
        size = sum(manifest["files"][file]["bytes"] for file in missing)
        if size > manifests.ALWAYS_HASHED_BYTES:
            log.info("uploading %s, %.1f MB", name, size / 1e6)
        for file in missing:
            self.store.upload(directory / file, f"{name}/{content_digest(manifest)}/{file}")

    def _local_copies(self, manifest: Mapping[str, Any], file: str) -> list[Path]:
        """Return files of this name in the inputs and in versions: a version's model is its training's."""
        inputs = manifest["ingredients"]["inputs"].values()
        folders = [*(f"*/{digest}" for digest in inputs), f"{VERSIONS}/*/*"]
        return [path for folder in folders for path in self.root.glob(f"{folder}/{file}")]

    def _copy_or_download(
        self, candidates: list[Path], target: Path, source: str, entry: Mapping[str, Any]
    ) -> bool:
        """Put one file into the staging directory: a local copy if one has its SHA-256, else a download.

        Returns:
            False if the store does not have the object.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in candidates:
            same_size = path.is_file() and path.stat().st_size == entry["bytes"]
            if same_size and hashing.sha256_file(path) == entry["sha256"]:
                shutil.copyfile(path, target)
                break
        else:
            if entry["bytes"] > manifests.ALWAYS_HASHED_BYTES:
                log.info("downloading %s, %.1f MB", source, entry["bytes"] / 1e6)
            if not self.store.download(source, target):
                return False
            sha256 = hashing.sha256_file(target)
            if sha256 != entry["sha256"]:
                raise ChecksumError(
                    f"{self.store.address}/{source} is not what was uploaded",
                    expected=f"SHA-256 {entry['sha256']}",
                    found=sha256,
                    done="the downloaded file was removed",
                    todo="remove that object: the next run builds it again",
                )
        os.utime(target, ns=(entry["mtime_ns"], entry["mtime_ns"]))
        atomic.sync(target)
        return True


def of_workspace(workspace: Workspace) -> Mirror | None:
    """Return the mirror of a workspace at an address; None if the workspace is a folder."""
    return Mirror(workspace.root, open_store(workspace.address)) if workspace.address else None


def of_directory(directory: Path) -> Mirror | None:
    """Return the active workspace's mirror if the directory is inside it; None if it has no mirror."""
    workspace = Workspace.active()
    return of_workspace(workspace) if directory.is_relative_to(workspace.root) else None


def check_inside(name: str) -> str:
    """Return the relative name of an object or a file, if it stays below its folder.

    Raises:
        FormatError: It does not. Otherwise write access to the bucket would allow writing anywhere on this
            machine.
    """
    if reason := names.refusal(name):
        raise FormatError(
            f"the store has a file whose name {reason}",
            expected="relative names in UTF-8, with forward slashes, that stay inside their folder",
            found=repr(name),
            done="nothing was written",
            todo="find out who writes to this bucket",
        )
    return name


def content_digest(manifest: Mapping[str, Any]) -> str:
    """Return a digest of a directory's content: the names and SHA-256 of its files."""
    return hashing.digest_of({name: entry["sha256"] for name, entry in manifest.get("files", {}).items()})


def missing_files(manifest: Mapping[str, Any], name: str, listing: Mapping[str, int]) -> list[str]:
    """Return the files of a directory that the store lacks, or has with another size.

    Args:
        manifest: The manifest of the directory.
        name: The name of the directory in the store.
        listing: Bytes by name of the objects below it.
    """
    folder = f"{name}/{content_digest(manifest)}"
    return [
        file for file, entry in manifest["files"].items() if listing.get(f"{folder}/{file}") != entry["bytes"]
    ]


def _take_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    for file, entry in manifest["files"].items():
        os.utime(directory / file, ns=(entry["mtime_ns"], entry["mtime_ns"]))
    _write(directory / manifests.MANIFEST, manifest)


def _write(path: Path, manifest: Mapping[str, Any]) -> None:
    atomic.write_bytes(path, manifests.to_bytes(manifest))
