"""Archives of image folders, good and bad, for the tests of what reads them."""

import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.support.sample_files import encoded, noise

MODES = {".zip": "", ".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.xz": "w:xz", ".tar.bz2": "w:bz2"}


def pack(folder: Path, path: Path, prefix: str = "") -> Path:
    """Pack a folder, with entries for its folders, as its suffix says."""
    suffix = next(suffix for suffix in MODES if path.name.endswith(suffix))
    members = {name.relative_to(folder).as_posix(): name for name in sorted(folder.rglob("*"))}
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, member in members.items():
                archive.write(member, prefix + name)
    else:
        with tarfile.open(path, MODES[suffix]) as archive:
            for name, member in members.items():
                archive.add(member, prefix + name, recursive=False)
    return path


def two_classes() -> dict[str, bytes]:
    """The files of a small folder of images, by name."""
    names = [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(3)]
    return {name: encoded(noise(seed, 8, 8)) for seed, name in enumerate(names)}


def zipped(path: Path, members: Mapping[str, bytes], infos: Iterable[zipfile.ZipInfo] = ()) -> Path:
    """A zip of these members, then one of some bytes for each of `infos`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        for info in infos:
            archive.writestr(info, b"x")
    return path


def tarred(path: Path, members: Mapping[str, bytes], infos: Iterable[tarfile.TarInfo] = ()) -> Path:
    """A tar of these members, then one without content for each of `infos`."""
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in infos:
            archive.addfile(info)
    return path
