"""Whether the files of a workspace are what was written: outputs, tables, features, hashes, downloads.

Each finished directory has a manifest with the SHA-256 of its files; other folders have a list of checksums.
The registry's files and Prefect's records are checked in `registry_files`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tasks.core.data.files.parquet_part import is_damaged
from tasks.core.model.features.kind import FOLDER as FEATURES
from tasks.core.operations.doctor.finding import DOCTOR_FIX, RESTORE, Finding, command
from tasks.core.progress import Progress
from tasks.core.stage import publish
from tasks.core.stage.stages import CHECKPOINTS, DOWNLOAD, PARTS, STAGES
from tasks.core.storage import atomic, checksum_list, hashing, lock, manifests
from tasks.core.workspace import Workspace

CHECKSUM = re.compile(r"[0-9a-f]{64}")
AGAIN = f"`{DOCTOR_FIX}` removes it, and the next run makes it again"


def outputs(workspace: Workspace, progress: Progress) -> Iterator[Finding]:
    """Check every byte of the finished directories, and that each directory of a stage has a manifest."""
    directories = {path.parent for path in workspace.root.glob(f"*/**/{manifests.MANIFEST}")}
    directories |= set(_unfinished(workspace))
    finished = sorted(path for path in directories if not publish.is_manifest_only(path))
    damaged = 0
    for done, directory in enumerate(finished, 1):
        problem = manifests.find_damage(directory, thorough=True) or _unlisted(directory)
        progress(done, len(finished), workspace.relative(directory))
        if problem:
            damaged += 1
            yield _damaged_output(directory, problem, workspace)
    if not damaged:
        yield Finding(
            "outputs", f"all {len(finished):,} finished directories are complete; every byte was checked"
        )


def tables(workspace: Workspace) -> Iterator[Finding]:
    """Check the parts of the metrics tables."""
    for folder in _folders(workspace.metrics):
        yield from _listed("tables", folder, folder.glob("**/*.parquet"), RESTORE, _set_aside)


def features(workspace: Workspace) -> Iterator[Finding]:
    """Check the features that are kept per image."""
    for folder in _folders(workspace.root / FEATURES):
        yield from _listed("features", folder, folder.glob("*.parquet"), AGAIN, _remove)


def remembered_hashes(workspace: Workspace) -> Iterator[Finding]:
    """Check the remembered hashes of files."""
    folder = DOWNLOAD.directory(".hashes", workspace)
    yield from _listed("hashes", folder, folder.glob("*.parquet"), AGAIN, _remove)


def downloads(workspace: Workspace) -> Iterator[Finding]:
    """Check downloads: folders are named by the SHA-256 of their file, or their files are in the list."""
    listed = checksum_list.read(workspace.downloads)
    yield from _of_list("downloads", workspace.downloads, listed)
    for folder in _folders(workspace.downloads):
        files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
        for path in files:
            by_name = CHECKSUM.fullmatch(folder.name) and hashing.sha256_file(path) != folder.name
            if by_name or listed.differs(path):
                found = f"{path} has other content than when it was written"
                yield Finding("downloads", found, AGAIN, _mender(_remove, workspace.downloads, path))
    yield from _missing("downloads", listed, AGAIN)


def _unfinished(workspace: Workspace) -> Iterator[Path]:
    """Directories where a stage's output or a version should be, but without a manifest."""
    folders = sorted({workspace.root / stage.folder for stage in (*STAGES, *PARTS) if stage.folder})
    for folder in (*folders, *_folders(workspace.models)):
        pattern = "v[0-9]*" if folder.parent == workspace.models else "[0-9a-f]*"
        yield from (path for path in folder.glob(pattern) if path.is_dir() and not _needs_no_manifest(path))


def _needs_no_manifest(directory: Path) -> bool:
    """Whether it has one, or is what a stopped training resumes from."""
    return directory.suffix == CHECKPOINTS or (directory / manifests.MANIFEST).exists()


def _unlisted(directory: Path) -> str:
    """A file that the manifest does not have; empty if there is none."""
    known = {manifests.MANIFEST, *manifests.read(directory)["files"]}
    names = (
        path.relative_to(directory).as_posix() for path in sorted(directory.rglob("*")) if path.is_file()
    )
    return next(
        (f"{directory / name} is not among the files of its manifest" for name in names if name not in known),
        "",
    )


def _damaged_output(directory: Path, problem: str, workspace: Workspace) -> Finding:
    if directory.is_relative_to(workspace.models):
        return Finding("outputs", problem, f"{RESTORE}; nothing here can make a published model again")
    removal = command("rm", "-r", directory)
    fix = f"`{DOCTOR_FIX}`, or {removal} (the next run builds it again)"

    def mend() -> str:
        with lock.opened(publish.lock_path(directory)) as descriptor:
            if not lock.try_lock(descriptor):
                return f"kept {workspace.relative(directory)}: a process is using it"
            atomic.remove_directory(directory)
        return f"removed {workspace.relative(directory)}: the next run builds it again"

    return Finding("outputs", problem, fix, mend)


def _listed(
    about: str, folder: Path, paths: Iterable[Path], fix: str, mend: Callable[[Path, Path], str]
) -> Iterator[Finding]:
    """Check the files of a folder with a list of checksums."""
    listed = checksum_list.read(folder)
    yield from _of_list(about, folder, listed)
    for path in sorted(path for path in paths if not path.name.startswith((".", "_"))):
        if is_damaged(path, listed):
            found = f"{path} has other content than when it was written"
            yield Finding(about, found, f"{fix}; `{DOCTOR_FIX}` takes it out", _mender(mend, folder, path))
        elif not listed.is_listed(path):
            found = f"{path} has no checksum: it was written by an earlier version, or the list was damaged"
            yield Finding(about, found, f"`{DOCTOR_FIX}` records it", _mender(_record, folder, path))
    yield from _missing(about, listed, fix)


def _of_list(about: str, folder: Path, listed: checksum_list.ChecksumList) -> Iterator[Finding]:
    for problem in listed.problems:
        yield Finding(about, problem, f"`{DOCTOR_FIX}` removes the line", _mender(_tidy, folder, folder))


def _missing(about: str, listed: checksum_list.ChecksumList, fix: str) -> Iterator[Finding]:
    for path in listed.missing():
        text = f"{fix}; `{DOCTOR_FIX}` takes it off the list"
        yield Finding(about, f"{path} is missing", text, _mender(_forget, listed.folder, path))


def _mender(mend: Callable[[Path, Path], str], folder: Path, path: Path) -> Callable[[], str]:
    return lambda: mend(folder, path)


def _remove(folder: Path, path: Path) -> str:
    path.unlink(missing_ok=True)
    if (folder / checksum_list.NAME).exists():
        checksum_list.update(folder, removed=[path])
    return f"removed {path}: it is made again when it is needed"


def _set_aside(folder: Path, path: Path) -> str:
    """Rename a part so that no reader of parquet takes it for one; names with "_" are skipped by all."""
    aside = path.with_name(f"_{path.name}.damaged")
    path.rename(aside)
    checksum_list.update(folder, removed=[path])
    return f"set aside as {aside}"


def _record(folder: Path, path: Path) -> str:
    checksum_list.update(folder, [path])
    return f"recorded the checksum of {path}"


def _forget(folder: Path, path: Path) -> str:
    checksum_list.update(folder, removed=[path])
    return f"took {path} off the list of checksums"


def _tidy(folder: Path, _: Path) -> str:
    checksum_list.update(folder)
    return f"removed damaged lines of {folder / checksum_list.NAME}"


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("[!.]*") if path.is_dir())
