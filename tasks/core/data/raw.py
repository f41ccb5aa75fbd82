"""The download stage: look at the outside world and say, by content, what is there.

A raw dataset is a listing (`listing`), not a copy: a folder stays where it is, an archive lies in the
workspace's downloads. The digest follows from paths below the root, bytes, splits and class names.
"""

import logging
import os
import shutil
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tasks.core import stage
from tasks.core.config import SourceSettings
from tasks.core.data import archive, fetch, folder, listing, sources
from tasks.core.data.form import Form
from tasks.core.data.hashes import Hashes
from tasks.core.data.listing import File
from tasks.core.data.sources import Known, RemoteFile
from tasks.core.errors import ChecksumError, UsageError
from tasks.core.handles import RawDataset
from tasks.core.progress import Progress, silent
from tasks.core.stage import Ingredients
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.data")

DIGITS = Path("datasets/data/digits.csv.gz")  # inside scikit-learn
DIGITS_IMAGES = 1797
LISTING = 1  # raise when a listing means something else than before


def acquire(
    source: SourceSettings, workspace: Workspace, *, refresh: bool = False, progress: Progress = silent
) -> RawDataset:
    """Get the images' bytes, or look at the folder that has them.

    Args:
        source: Which dataset.
        workspace: Where the listing, and archives, are put.
        refresh: Read every byte again, also of files that look unchanged. An archive whose SHA-256 is
            right is not downloaded again.
        progress: Told bytes while downloading and files while hashing.

    Raises:
        UsageError: What was asked for cannot be.
        DataError, ChecksumError, ArchiveError: The data are not what they should be; nothing was written.
        NetworkError: The download failed and can be tried again.
    """
    sources.check(source)
    found = sources.find(source.dataset)
    if isinstance(found, Path):
        return _from_folder(found, workspace, refresh, progress)
    if not found.files:
        return _bundled(found, workspace)
    return _from_archive(found, source, workspace, refresh, progress)


def _from_folder(root: Path, workspace: Workspace, refresh: bool, progress: Progress) -> RawDataset:
    seen = folder.scan(root)
    hashes = Hashes(root, workspace, forget=refresh)
    sha256 = hashes.of([(image.path, image.status) for image in seen], progress)
    files = [
        File(image.path, image.status.st_size, sha256[image.path], image.split, image.class_name)
        for image in seen
    ]
    hashes.remember()
    log.info("%s: %s images, %s read", root, f"{len(files):,}", f"{hashes.read:,}")
    name, facts = sources.name_of(root), {"images": len(files)}
    return _publish(name, "folder", str(root), None, files, workspace, lambda: facts)


def _bundled(known: Known, workspace: Workspace) -> RawDataset:
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise UsageError(
            "scikit-learn, which has the digits, is not installed", todo="pip install scikit-learn"
        )
    path = Path(spec.origin).parent / DIGITS
    files = [File(path.name, path.stat().st_size, stage.sha256_file(path))]
    return _publish(
        known.name, known.kind, "", known.form, files, workspace, lambda: {"images": DIGITS_IMAGES}
    )


def _from_archive(
    known: Known, source: SourceSettings, workspace: Workspace, refresh: bool, progress: Progress
) -> RawDataset:
    """Verify the archive, count its images, list it; the count is only taken when the listing is new."""
    (official,) = known.files
    if source.archive is None:
        path, sha256 = _downloaded(official, workspace, refresh, progress), official.sha256
    else:
        path = source.archive.expanduser().resolve()
        sha256 = _accepted(path, official, source.archive_sha256, workspace, refresh)
    kept = _kept(sha256, official, workspace)
    files = [File(kept.relative_to(workspace.downloads).as_posix(), path.stat().st_size, sha256)]

    def count() -> dict[str, Any]:
        return {"images": archive.count(path, known.form), "official": sha256 == official.sha256}

    handle = _publish(
        known.name, known.kind, workspace.relative(workspace.downloads), known.form, files, workspace, count
    )
    if path != kept:
        _copy(path, kept, sha256)
    return handle


def _downloaded(official: RemoteFile, workspace: Workspace, refresh: bool, progress: Progress) -> Path:
    path = _kept(official.sha256, official, workspace)
    if path.exists():
        hashes = _hash(path, workspace, refresh)
        hashes.remember()
        if hashes.found[""] != official.sha256:
            log.warning("%s has been changed and is downloaded again", path)
            path.unlink()
    fetch.fetch(official, path, progress=progress)
    return path


def _accepted(
    path: Path, official: RemoteFile, declared: str | None, workspace: Workspace, refresh: bool
) -> str:
    """The SHA-256 of a given archive, if it is the official one or as declared."""
    hashes = _hash(path, workspace, refresh)
    found = hashes.found[""]
    expected = declared.lower() if declared else official.sha256
    log.info("%s has SHA-256 %s%s", path.name, found, " (official)" if found == official.sha256 else "")
    if found not in (expected, official.sha256) or (declared and found != expected):
        raise ChecksumError(
            f"{path} is not the expected archive",
            expected=f"SHA-256 {expected} ({'as declared' if declared else 'the official ' + official.name})",
            found=f"SHA-256 {found}",
            done="nothing was written",
            todo=f"if you trust this file, pass --archive-sha256 {found}",
        )
    hashes.remember()
    return found


def _hash(path: Path, workspace: Workspace, refresh: bool) -> Hashes:
    """The hashes of a single file, whose path below itself is empty."""
    hashes = Hashes(path, workspace, forget=refresh)
    hashes.of([("", path.stat())])
    return hashes


def _kept(sha256: str, official: RemoteFile, workspace: Workspace) -> Path:
    return workspace.downloads / sha256 / official.name


def _copy(source: Path, destination: Path, sha256: str) -> None:
    if destination.exists() and stage.sha256_file(destination) == sha256:
        return
    destination.parent.mkdir(parents=True, exist_ok=True)
    staging = destination.with_name(f".{destination.name}.{os.getpid()}.copy")
    shutil.copyfile(source, staging)
    if stage.sha256_file(staging) != sha256:
        staging.unlink()
        raise ChecksumError(f"{source} changed while it was copied", expected=f"SHA-256 {sha256}")
    stage.sync(staging)
    staging.replace(destination)


def _publish(
    dataset: str,
    kind: str,
    root: str,
    form: Form | None,
    files: list[File],
    workspace: Workspace,
    count: Callable[[], Mapping[str, Any]],
) -> RawDataset:
    ingredients = Ingredients(
        stage="download",
        inputs={"files": stage.digest_of([vars(file) for file in sorted(files)])},
        parameters={"dataset": dataset, "kind": kind, "form": form and form.as_json(), "listing": LISTING},
    )

    directory = workspace.raw / ingredients.digest
    facts = {} if stage.is_whole(directory) else count()  # before anything is written, since it can refuse

    def build(staging: Path) -> Mapping[str, Any]:
        listing.write(staging, files)
        return facts or count()

    manifest = stage.publish(directory, ingredients, build)
    return RawDataset(
        path=workspace.relative(directory),
        digest=ingredients.digest,
        dataset=dataset,
        kind=kind,
        root=root,
        images=manifest["facts"]["images"],
    )
