"""Finds the weights of a backbone and checks their SHA-256."""

from importlib import metadata
from pathlib import Path

from tasks.core.errors import ChecksumError, DataError
from tasks.core.model.backbones.catalog import Backbone, PackageFile
from tasks.core.storage import hashing


def locate(backbone: Backbone) -> Path:
    """The verified file of a backbone's weights.

    Raises:
        DataError: The weights are not on this machine.
        ChecksumError: The file has another content than the declared one.
    """
    return verified(_in_package(backbone.weights), backbone)


def verified(path: Path, backbone: Backbone) -> Path:
    """The path, once its content is shown to be the declared weights.

    Raises:
        ChecksumError: It is another content.
    """
    found = hashing.sha256_file(path)
    if found != backbone.weights.sha256:
        raise ChecksumError(
            f"the weights of {backbone.name} are damaged or of another version",
            expected=f"{backbone.weights.bytes} bytes with SHA-256 {backbone.weights.sha256}",
            found=f"{path}: {path.stat().st_size} bytes with SHA-256 {found}",
            done="nothing was loaded",
            todo=_how_to_install(backbone.weights),
        )
    return path


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
            todo=_how_to_install(file),
        )
    return paths[0]


def _how_to_install(file: PackageFile) -> str:
    return f"pip install --force-reinstall --no-deps -c constraints.txt {file.distribution}"
