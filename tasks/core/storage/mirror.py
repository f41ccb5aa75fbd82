"""A local mirror of a workspace in an object store: finished directories go up and come down whole.

    <store>/tensors/<digest>/<content>/train.images.npy     files, in a folder named by their content
    <store>/tensors/<digest>/manifest.json                  last: what has no manifest, nobody believes

A store has no rename, so an object that is seen must be final. The folder's name is a digest of the files'
SHA-256: two machines that build the same stage, or the same number of a model, never write to the same
object unless its bytes are the same ones. The manifest is created only if there is none; who comes second
with other content learns so and takes the first one's. What a killed upload leaves is not believed, and the
next upload of that content completes it.
"""

import json
import logging
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.core.errors import ChecksumError, FormatError
from tasks.core.storage import atomic, hashing, manifests
from tasks.core.storage.object_store import Store, open_store
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.store")

PROVEN = ".proven"


@dataclass(frozen=True)
class Mirror:
    """A workspace's folder and the store that it is a mirror of.

    Args:
        root: The folder.
        store: The store, at the workspace's address.
    """

    root: Path
    store: Store

    def check_conditional_create(self) -> None:
        """See once for each mirror that the store can be agreed on (`Store.prove`)."""
        mark = self.root / PROVEN
        if not mark.exists():
            self.store.check_conditional_create()
            self.root.mkdir(parents=True, exist_ok=True)
            mark.write_text(f"{self.store.address}\n", encoding="utf-8")

    def push(self, directory: Path, at: Path | None = None, *, replace: bool = False) -> bool:
        """Send a finished directory, as far as the store lacks it; its manifest last.

        Args:
            directory: Where it lies.
            at: Where it belongs in the mirror, if not there.
            replace: Be what the store has, also if there is something else.

        Returns:
            Whether the store has this content now; False if it had other content before, and has it whole.
        """
        name = self.name(at or directory)
        ours = manifests.read(directory)
        theirs = self.manifest(name)
        if theirs is not None and content_digest(theirs) != content_digest(ours) and not replace:
            if at is not None or not missing_files(theirs, name, self.store.listing(name)):
                return False
            replace = True  # what stands there has lost objects
        self._complete(directory, name, ours)
        if theirs is not None and content_digest(theirs) == content_digest(ours):
            return True
        text = (directory / manifests.MANIFEST).read_bytes()
        if replace:
            self.store.write(f"{name}/{manifests.MANIFEST}", text)
            return True
        if self.store.create(f"{name}/{manifests.MANIFEST}", text):
            return True
        return content_digest(self.manifest(name) or {}) == content_digest(ours)

    def remove_upload(self, directory: Path, at: Path) -> None:
        """Remove from the store what `push` sent for nothing: another one's manifest stands there."""
        place = f"{self.name(at)}/{content_digest(manifests.read(directory))}/"
        self.store.remove(each for each in self.store.listing(self.name(at)) if each.startswith(place))

    def fetch(self, directory: Path) -> bool:
        """Bring a directory, as far as it is lacking here; False if the store hasn't a whole one.

        The directory's lock must be held. Each file is held against its SHA-256 before anything is seen here.

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
                alike = [directory / file, *self._local_copies(manifest, file)]
                if not self._copy_or_download(alike, staging / file, source, entry):
                    return False
            _write(staging / manifests.MANIFEST, manifest)
            atomic.replace_directory(staging, directory)
        log.debug("%s is from %s", name, self.store.address)
        return True

    def fetch_manifest(self, directory: Path) -> bool:
        """Bring only the manifest, if there is none here; whether there is one now."""
        if (directory / manifests.MANIFEST).exists():
            return True
        manifest = self.manifest(self.name(directory))
        if manifest is not None:
            directory.mkdir(parents=True, exist_ok=True)
            _write(directory / manifests.MANIFEST, manifest)
        return manifest is not None

    def has(self, directory: Path) -> bool:
        """Whether the store has the directory whole, by its manifest and the sizes of its objects."""
        name = self.name(directory)
        manifest = self.manifest(name)
        return manifest is not None and not missing_files(manifest, name, self.store.listing(name))

    def manifest(self, name: str) -> dict[str, Any] | None:
        """A directory's manifest in the store; None if there is none, or if what was there was deleted."""
        text = self.store.read(f"{name}/{manifests.MANIFEST}")
        if text is None:
            return None
        manifest = manifests.parse(text, f"{self.store.address}/{name}/{manifests.MANIFEST}")
        return None if "deleted" in manifest else manifest

    def delete(self, directory: Path) -> None:
        """Remove a directory's objects from the store; its name is not given again.

        A mark stays in the manifest's place, so that creating it fails for one who hasn't heard yet.
        """
        name = self.name(directory)
        mark = {"format": manifests.FORMAT, "deleted": True}
        self.store.write(f"{name}/{manifests.MANIFEST}", json.dumps(mark).encode())
        self.store.remove(each for each in self.store.listing(name) if each != f"{name}/{manifests.MANIFEST}")

    def push_files(self, folder: Path, pattern: str, again: Collection[Path] = ()) -> None:
        """Send the files of a folder that the store lacks; they are written once and never changed.

        Args:
            folder: Searched with what is below it.
            pattern: Of the files' names.
            again: Files that are sent in any case.
        """
        there = self.store.listing(self.name(folder))
        for path in sorted(folder.rglob(pattern)):
            if not path.name.startswith(".") and (path in again or self.name(path) not in there):
                self.store.upload(path, self.name(path))

    def pull_files(self, folder: Path, suffix: str) -> None:
        """Bring the files of a folder that are lacking here, many at a time."""
        there = self.store.listing(self.name(folder))
        names = [name for name in there if name.endswith(suffix) and not (self.root / name).exists()]
        for name, content in self.store.read_many(names).items():
            path = self.root / check_inside(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_bytes(path, content)

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _complete(self, directory: Path, name: str, manifest: Mapping[str, Any]) -> None:
        wanted = missing_files(manifest, name, self.store.listing(name))
        size = sum(manifest["files"][file]["bytes"] for file in wanted)
        if size > manifests.ALWAYS_HASHED_BYTES:
            log.info("uploading %s, %.1f MB", name, size / 1e6)
        for file in wanted:
            self.store.upload(directory / file, f"{name}/{content_digest(manifest)}/{file}")

    def _local_copies(self, manifest: Mapping[str, Any], file: str) -> list[Path]:
        """The file of that name in what the directory was made from: a version's model is its training's."""
        inputs = manifest["ingredients"]["inputs"].values()
        return [path for digest in inputs for path in self.root.glob(f"*/{digest}/{file}")]

    def _copy_or_download(
        self, alike: list[Path], target: Path, source: str, entry: Mapping[str, Any]
    ) -> bool:
        """One file into the staging folder: from the mirror if one there is the same, else from the store."""
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in alike:
            same_size = path.is_file() and path.stat().st_size == entry["bytes"]
            if same_size and hashing.sha256_file(path) == entry["sha256"]:
                shutil.copyfile(path, target)
                break
        else:
            if entry["bytes"] > manifests.ALWAYS_HASHED_BYTES:
                log.info("downloading %s, %.1f MB", source, entry["bytes"] / 1e6)
            if not self.store.download(source, target):
                return False
            found = hashing.sha256_file(target)
            if found != entry["sha256"]:
                raise ChecksumError(
                    f"{self.store.address}/{source} is not what was uploaded",
                    expected=f"SHA-256 {entry['sha256']}",
                    found=found,
                    done="nothing of it was kept",
                    todo="remove that object: the next run makes it again",
                )
        os.utime(target, ns=(entry["mtime_ns"], entry["mtime_ns"]))
        atomic.sync(target)
        return True


def open_workspace(path: str | Path | None = None) -> Workspace:
    """`Workspace.open`, and for one at an address a check that machines can agree on its store.

    Raises:
        UsageError: An address that cannot hold a workspace.
        NetworkError: An address that doesn't answer.
    """
    workspace = Workspace.open(path)
    if remote := of_workspace(workspace):
        remote.check_conditional_create()
    return workspace


def of_workspace(workspace: Workspace) -> Mirror | None:
    """The mirror of a workspace at an address; None for a folder."""
    return Mirror(workspace.root, open_store(workspace.address)) if workspace.address else None


def of_directory(directory: Path) -> Mirror | None:
    """The active workspace's mirror if the directory lies in it; None without one."""
    workspace = Workspace.active()
    return of_workspace(workspace) if directory.is_relative_to(workspace.root) else None


def check_inside(name: str) -> str:
    """The name of an object or a file, if it stays below the folder that it is relative to.

    Raises:
        FormatError: It doesn't: whoever may write to the bucket must not write elsewhere on this machine.
    """
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise FormatError(
            f"the store names a file outside of its folder: {name!r}",
            expected="a name below it",
            found=name,
            done="nothing was written",
            todo="find out who writes to this bucket",
        )
    return name


def content_digest(manifest: Mapping[str, Any]) -> str:
    """A digest of what a directory holds: names and SHA-256 of its files."""
    return hashing.digest_of({name: entry["sha256"] for name, entry in manifest.get("files", {}).items()})


def missing_files(manifest: Mapping[str, Any], name: str, listing: Mapping[str, int]) -> list[str]:
    """Files of a directory that a listing of the store hasn't, or not whole.

    Args:
        manifest: The directory's.
        name: Of the directory.
        listing: Names and bytes of the objects below it.
    """
    place = f"{name}/{content_digest(manifest)}"
    return [
        file for file, entry in manifest["files"].items() if listing.get(f"{place}/{file}") != entry["bytes"]
    ]


def _write(path: Path, manifest: Mapping[str, Any]) -> None:
    atomic.write_bytes(path, manifests.to_bytes(manifest))
