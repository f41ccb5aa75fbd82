"""Whether a source belongs to the dataset of its name: two projects may each have a `photos`.

A version's manifest has the source that it was trained on: where it was, and the digest of its listing. A
source belongs to the dataset if it is at one of these places, or has an image (by SHA-256) in common with one
of these listings, as a folder has that was moved. Any other is refused before anything is trained, because
its model would be judged against, and could replace, the champion of another project. `--name` decides
otherwise, either way.
"""

import logging
from collections.abc import Iterator
from typing import Any

import pyarrow.compute as pc

from tasks.core.data.files import listing
from tasks.core.errors import FormatError, UsageError
from tasks.core.registry import layout
from tasks.core.stage import publish
from tasks.core.stage.handles import RawDataset
from tasks.core.stage.stages import DOWNLOAD
from tasks.core.storage import manifests
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.data")

ROOT = "source_root"  # the fact of a version's manifest: `RawDataset.root`


def check_source_identity(raw: RawDataset, named: str | None, workspace: Workspace) -> None:
    """Refuse a source of which no published version of this name has seen an image.

    Args:
        raw: The listing of the source.
        named: The value of `--name`; with it the user has decided, and nothing is refused.
        workspace: The workspace with the registry.

    Raises:
        UsageError: Another source has this name.
    """
    sources = list(_facts_of_versions(raw.dataset, workspace))
    if not sources or any(facts.get(ROOT) == raw.root for facts in sources):
        return
    if not _is_other(raw, sources, workspace):
        return
    other = _place(sources[-1])
    if named:
        log.info("%s: %s has no image of %s; --name says that it is the same dataset", named, raw.root, other)
        return
    raise UsageError(
        f"{raw.dataset} is already the name of other images in this workspace",
        expected=f"images of {other}, from which its models were made",
        found=f"{raw.root or raw.dataset}, which has none of these images",
        done="nothing was trained, and no model was compared",
        todo=f"--name NAME for a dataset of its own; or --name {raw.dataset} if it is the same dataset, whose"
        " models are to be compared with the champion",
    )


def _facts_of_versions(dataset: str, workspace: Workspace) -> Iterator[dict[str, Any]]:
    """The facts in the manifest of each version; one whose model is damaged or gone counts, too."""
    directory = layout.synced_folder(dataset, workspace)
    for name in layout.version_names(directory):
        try:
            yield manifests.read(directory / name)["facts"]
        except FormatError:  # the comparison with the champion, and `plumbline doctor`, say so
            continue


def _is_other(raw: RawDataset, sources: list[dict[str, Any]], workspace: Workspace) -> bool:
    """Whether no image is in common; where no listing is left, whether the classes cannot be the same."""
    images = listing.read(raw.directory)
    known = False
    for earlier in _listings(sources, workspace):
        known = True
        if pc.any(pc.is_in(images["sha256"], earlier["sha256"].combine_chunks())).as_py():
            return False
    classes = {name for name in images["class_name"].unique().to_pylist() if name}
    return known or not classes or not any(classes & set(facts.get("classes", ())) for facts in sources)


def _listings(sources: list[dict[str, Any]], workspace: Workspace) -> Iterator[Any]:
    """The listings that the versions were made from, the latest first, as far as they are there."""
    digests = [facts.get("stages", {}).get(DOWNLOAD.name, {}).get("digest", "") for facts in sources]
    for digest in dict.fromkeys(filter(None, reversed(digests))):
        directory = DOWNLOAD.directory(digest, workspace)
        if not publish.ensure_local(directory) and (directory / listing.NAME).exists():
            yield listing.read(directory)


def _place(facts: dict[str, Any]) -> str:
    given = str(facts.get("parameters", {}).get("dataset", "") or "another source")
    root = str(facts.get(ROOT) or "")
    return root if root.startswith("/") else given
