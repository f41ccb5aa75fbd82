"""Archives of known datasets: verified, counted, kept; and which are refused with nothing written."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tasks.core.config import SourceSettings
from tasks.core.data.files import listing
from tasks.core.data.readers.cifar import blocks
from tasks.core.data.sources import acquire
from tasks.core.data.sources.catalog import DATASETS
from tasks.core.errors import ArchiveError, ChecksumError, UsageError
from tasks.core.storage.hashing import sha256_file
from tasks.core.workspace import Workspace
from tests.support.sample_files import SMALL_CIFAR, files_below, put, records, tar_gz


def cifar(path: Path, *, train: int = 20, test: int = 10, first_label: int = 0) -> Path:
    """An archive in the real format of cifar10, with few images."""
    array_format = DATASETS["cifar10"].array_format
    members = {}
    for number, (name, split) in enumerate(array_format.members):
        count = train if split == "train" else test
        labels = [(first_label + k) % 10 if first_label < 10 else first_label for k in range(count)]
        members[name] = records(array_format, labels, seed=1000 * number)
    return tar_gz(path, members)


def archive_settings(path: Path, sha256: str | None = None) -> SourceSettings:
    return SourceSettings("cifar10", archive=path, archive_sha256=sha256 or sha256_file(path))


def test_acquire_archive_is_verified_counted_and_kept(tmp_path: Path, workspace: Workspace) -> None:
    path = cifar(tmp_path / "mine.tar.gz")
    handle = acquire.acquire(archive_settings(path), workspace)
    assert (handle.dataset, handle.format, handle.images) == ("cifar10", "cifar", 110)
    assert handle.manifest["facts"] == {"images": 110, "official": False}
    (file,) = listing.iter_files(listing.read(handle.directory))
    path.unlink()  # the workspace has its own copy
    assert sha256_file(workspace.downloads / file.path) == file.sha256


def test_cifar_blocks_equal_the_written_records(tmp_path: Path) -> None:
    path = tar_gz(
        tmp_path / "small.tar.gz",
        {"small/train.bin": records(SMALL_CIFAR, [0, 1, 1]), "small/test.bin": records(SMALL_CIFAR, [1], 50)},
    )
    train, test = blocks(path, SMALL_CIFAR)
    assert (train.part, train.split, test.part) == ("small/train.bin", "train", "small/test.bin")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 1], [1])
    expected = np.random.default_rng(1).integers(0, 256, (4, 4, 3), np.uint8)  # as written by `records`
    assert np.array_equal(train.images[1], expected)


def _valid_archive(path: Path) -> bytes:
    return cifar(path).read_bytes()


def _truncated(path: Path) -> bytes:
    return _valid_archive(path)[:-2000]


def _one_byte_changed(path: Path) -> bytes:
    content = bytearray(_valid_archive(path))
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


def _not_an_archive(path: Path) -> bytes:
    return b"<html>404 not found</html>" * 100


def _gzip_without_tar(path: Path) -> bytes:
    return gzip.compress(b"hello " * 1000)


def _member_outside(path: Path) -> bytes:
    return tar_gz(path, {"cifar-10-batches-bin/../../../evil.bin": b"x"}).read_bytes()


def _absolute(path: Path) -> bytes:
    return tar_gz(path, {"/tmp/evil.bin": b"x"}).read_bytes()


def _link(path: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    return buffer.getvalue()


def _missing_member(path: Path) -> bytes:
    array_format = DATASETS["cifar10"].array_format
    return tar_gz(
        path, {name: records(array_format, [0, 1]) for name, _ in array_format.members[:-1]}
    ).read_bytes()


def _member_empty(path: Path) -> bytes:
    return cifar(path, test=0).read_bytes()


def _half_a_record(path: Path) -> bytes:
    array_format = DATASETS["cifar10"].array_format
    return tar_gz(
        path, {name: records(array_format, [0, 1])[:-7] for name, _ in array_format.members}
    ).read_bytes()


def _label_outside_classes(path: Path) -> bytes:
    return cifar(path, first_label=10).read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_truncated, "cannot be read to its end"),
        (_one_byte_changed, "cannot be read to its end"),
        (_not_an_archive, "cannot be read to its end"),
        (_gzip_without_tar, "cannot be read to its end"),
        (_member_outside, "must not have"),
        (_absolute, "must not have"),
        (_link, "must not have"),
        (_missing_member, "does not have the expected members"),
        (_member_empty, "wrong record size"),
        (_half_a_record, "wrong record size"),
        (_label_outside_classes, "label outside"),
    ],
)
def test_acquire_invalid_archive_is_refused_and_nothing_is_written(
    tmp_path: Path, workspace: Workspace, content: Callable[[Path], bytes], message: str
) -> None:
    path = put(tmp_path / "given" / "bad.tar.gz", content(tmp_path / "made.tar.gz"))
    with pytest.raises(ArchiveError, match=message) as error:
        acquire.acquire(archive_settings(path), workspace)
    assert error.value.parts["done"] == "nothing was written"
    assert [name for name in files_below(workspace.root) if ".hashes" not in name] == []
    assert not (tmp_path / "evil.bin").exists()


def test_acquire_archive_with_other_hash_than_declared_is_refused(
    tmp_path: Path, workspace: Workspace
) -> None:
    path = cifar(tmp_path / "mine.tar.gz")
    with pytest.raises(ChecksumError) as error:
        acquire.acquire(archive_settings(path, "ab" * 32), workspace)
    assert "ab" * 32 in error.value.parts["expected"]
    assert sha256_file(path) in error.value.parts["to do"]
    assert files_below(workspace.root) == []


def test_acquire_unofficial_archive_must_be_declared(tmp_path: Path, workspace: Workspace) -> None:
    path = cifar(tmp_path / "mine.tar.gz")
    with pytest.raises(ChecksumError, match="is not the expected archive"):
        acquire.acquire(SourceSettings("cifar10", archive=path), workspace)
    assert files_below(workspace.root) == []


def test_acquire_invalid_sha256_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    path = cifar(tmp_path / "mine.tar.gz")
    with pytest.raises(UsageError, match="not a SHA-256"):
        acquire.acquire(archive_settings(path, "c4a38c50"), workspace)
