"""Inventory of a workspace's object store: complete directories, broken ones and orphaned objects."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from tasks.core.errors import FormatError
from tasks.core.storage import manifests
from tasks.core.storage.mirror import Mirror, content_digest, missing_files

TABLES = "metrics/"  # its objects have no manifest
COMMITS = "commits"


@dataclass(frozen=True)
class Inventory:
    """The state of a store by the names and sizes of its objects; contents are hashed when fetched.

    Args:
        complete: Number of directories that have all their objects.
        broken: Problem by directory, for the directories that are not complete.
        orphans: Bytes by folder, of objects that no manifest lists.
        unfinished: Names of multipart uploads that were begun and not completed.
    """

    complete: int
    broken: dict[str, str]
    orphans: dict[str, int]
    unfinished: list[str]


def take_inventory(mirror: Mirror) -> Inventory:
    """List all objects of a store and read its manifests; nothing is changed.

    Args:
        mirror: The mirror of the store.
    """
    listing = mirror.store.listing("")
    names = [name for name in listing if name.endswith(f"/{manifests.MANIFEST}")]
    texts = mirror.store.read_many(names)
    listed, broken, complete = set(names), {}, 0
    for name in texts:
        directory = str(PurePosixPath(name).parent)
        try:
            manifest = manifests.parse(texts[name], name)
        except FormatError as error:
            broken[directory] = error.summary
            continue
        if "deleted" in manifest:
            continue
        folder = f"{directory}/{content_digest(manifest)}"
        listed |= {f"{folder}/{file}" for file in manifest["files"]}
        if missing := missing_files(manifest, directory, listing):
            broken[directory] = f"{directory} lacks {', '.join(missing[:3])}"
        complete += not missing
    return Inventory(complete, broken, _orphans(listing, listed), mirror.store.unfinished())


def _orphans(listing: dict[str, int], listed: set[str]) -> dict[str, int]:
    orphans: dict[str, int] = {}
    for name, size in listing.items():
        folder = PurePosixPath(name).parent
        if name not in listed and not name.startswith(TABLES) and folder.name != COMMITS:
            orphans[str(folder)] = orphans.get(str(folder), 0) + size
    return orphans
