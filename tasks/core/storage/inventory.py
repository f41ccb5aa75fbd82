"""What lies in a workspace's store: whole directories, broken ones, and objects that nobody believes."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from tasks.core.errors import FormatError
from tasks.core.storage import manifests
from tasks.core.storage.mirror import Mirror, content_digest, missing_files

TABLES = "metrics/"  # each object stands for itself
COMMITS = "commits"


@dataclass(frozen=True)
class Inventory:
    """A look at every object of a store, by names and sizes; contents are hashed when they are fetched.

    Args:
        whole: Number of directories whose objects are all there.
        broken: What is wrong with the others, in words, by directory.
        strays: Bytes by folder of objects that belong to no manifest.
        unfinished: Names of uploads in parts that were begun and not completed.
    """

    complete: int
    broken: dict[str, str]
    orphans: dict[str, int]
    unfinished: list[str]


def take_inventory(mirror: Mirror) -> Inventory:
    """Look at every object of a workspace's store; manifests are read, nothing is changed."""
    listing = mirror.store.listing("")
    names = [name for name in listing if name.endswith(f"/{manifests.MANIFEST}")]
    texts = mirror.store.read_many(names)
    known, broken, whole = set(names), {}, 0
    for name in texts:
        directory = str(PurePosixPath(name).parent)
        try:
            manifest = manifests.parse(texts[name], name)
        except FormatError as error:
            broken[directory] = error.summary
            continue
        if "deleted" in manifest:
            continue
        place = f"{directory}/{content_digest(manifest)}"
        known |= {f"{place}/{file}" for file in manifest["files"]}
        if absent := missing_files(manifest, directory, listing):
            broken[directory] = f"{directory} lacks {', '.join(absent[:3])}"
        whole += not absent
    return Inventory(whole, broken, _strays(listing, known), mirror.store.unfinished())


def _strays(listing: dict[str, int], known: set[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, size in listing.items():
        folder = PurePosixPath(name).parent
        if name not in known and not name.startswith(TABLES) and folder.name != COMMITS:
            found[str(folder)] = found.get(str(folder), 0) + size
    return found
