"""The built-in datasets: their declarations, and their formats on small files."""

import gzip
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.readers import idx
from tasks.core.data.sources import acquire
from tasks.core.data.sources.catalog import DATASETS, DatasetSpec
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.cache import open_split
from tasks.core.errors import ArchiveError, ChecksumError, UsageError
from tasks.core.storage.hashing import sha256_file
from tasks.core.workspace import Workspace
from tests.support.sample_files import files_below, mnist, noise, put, records, tar_gz
from tests.support.sample_files import idx as idx_file

DIGITS_FORMAT = DATASETS["mnist"].array_format


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_catalog_entries_are_complete(dataset: DatasetSpec) -> None:
    assert len(set(dataset.array_format.classes)) == len(dataset.array_format.classes) >= 2
    assert not dataset.files or {split for _, split in dataset.array_format.members} == {"train", "test"}
    for file in dataset.files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.bytes > 0
        assert all(url.startswith("http") and url.endswith("/" + file.name) for url in file.urls)


def test_cifar100_uses_the_fine_label(tmp_path: Path, workspace: Workspace) -> None:
    array_format = DATASETS["cifar100"].array_format
    assert (len(array_format.classes), array_format.classes[0], array_format.classes[99]) == (
        100,
        "apple",
        "worm",
    )
    content = {name: records(array_format, [0, 99, 50, 7, 8, 9]) for name, _ in array_format.members}
    path = tar_gz(tmp_path / "cifar100.tar.gz", content)
    settings = SourceSettings("cifar100", path, sha256_file(path))
    handle = acquire.acquire(settings, workspace)
    cache = normalize.normalize(handle, NormalizeSettings(val_fraction=0.3), workspace)
    rows = pd.read_parquet(cache.directory / "rows.parquet").query("split == 'test'")
    assert sorted(rows["class_name"]) == sorted(array_format.classes[label] for label in [0, 99, 50, 7, 8, 9])


def files(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.iterdir()}


def test_idx_blocks_equal_the_written_values(tmp_path: Path) -> None:
    train, test = idx.blocks(files(mnist(tmp_path, 40, 10)), DIGITS_FORMAT)
    assert (train.part, train.split, test.part, test.split) == ("train", "train", "t10k", "test")
    assert np.array_equal(train.images, noise(40, 40, 28 * 28, 1).reshape(40, 28, 28, 1))
    assert train.labels.tolist() == [n % 10 for n in range(40)]


def test_idx_blocks_of_a_file_larger_than_a_block(tmp_path: Path) -> None:
    count = 2 * idx.BLOCK // 784 + 5
    blocks = list(idx.blocks(files(mnist(tmp_path, count, 10)), DIGITS_FORMAT))[:-1]
    assert len(blocks) == 3
    assert np.concatenate([block.labels for block in blocks]).tolist() == [n % 10 for n in range(count)]
    expected = noise(count, count, 28 * 28, 1).reshape(count, 28, 28, 1)
    assert np.array_equal(np.concatenate([block.images for block in blocks]), expected)


def test_acquire_folder_of_mnist_files_is_read_and_kept(tmp_path: Path, workspace: Workspace) -> None:
    given = mnist(tmp_path / "mnist")
    with pytest.raises(ChecksumError, match="not the expected archive") as error:
        acquire.acquire(SourceSettings("mnist", archive=given), workspace)
    declared = error.value.parts["to do"].split()[-1]
    assert files_below(workspace.root) == []
    handle = acquire.acquire(SourceSettings("mnist", given, declared), workspace)
    assert (handle.format, handle.images) == ("idx", 50)
    for path in given.iterdir():
        path.unlink()  # the workspace has its own copies
    cache = normalize.normalize(handle, NormalizeSettings(), workspace)
    assert (cache.shape, cache.test, cache.train + cache.val) == ((28, 28, 1), 10, 40)
    rows = pd.read_parquet(cache.directory / "rows.parquet").query("split == 'test'")
    images = noise(10, 10, 28 * 28, 1).reshape(10, 28, 28, 1)
    test = open_split(cache, "test")
    for row in rows.itertuples():
        number = int(row.path.removeprefix("t10k#"))
        assert np.array_equal(test.images[row.row], images[number])
        assert test.labels[row.row] == number % 10


def test_combined_sha256_equals_that_of_sha256sum(tmp_path: Path, workspace: Workspace) -> None:
    given = mnist(tmp_path / "mnist")
    printed = subprocess.run(
        "LC_ALL=C; sha256sum *.gz | sha256sum",
        shell=True,
        cwd=given,
        capture_output=True,
        text=True,
        check=True,
    )
    declared = printed.stdout.split()[0]
    assert acquire.acquire(SourceSettings("mnist", given, declared), workspace).images == 50


def _truncated(content: bytes) -> bytes:
    return content[:-20]


def _damaged(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def _no_gzip(content: bytes) -> bytes:
    return gzip.decompress(content)


def _float_type(content: bytes) -> bytes:
    plain = gzip.decompress(content)
    return gzip.compress(plain[:2] + b"\x0d" + plain[3:])


def _one_value_less(content: bytes) -> bytes:
    return gzip.compress(gzip.decompress(content)[:-1])


def _one_value_more(content: bytes) -> bytes:
    return gzip.compress(gzip.decompress(content) + b"\0")


def _another_count(content: bytes) -> bytes:
    plain = gzip.decompress(content)
    return gzip.compress(plain[:4] + (39).to_bytes(4, "big") + plain[8:])


def _an_absurd_count(content: bytes) -> bytes:
    plain = gzip.decompress(content)
    return gzip.compress(plain[:4] + b"\xff" * 4 + plain[8:])


def _header_only(content: bytes) -> bytes:
    return gzip.compress(gzip.decompress(content)[:6])


FAULTS = (
    _truncated,
    _damaged,
    _no_gzip,
    _float_type,
    _one_value_less,
    _one_value_more,
    _another_count,
    _an_absurd_count,
    _header_only,
)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"])
@pytest.mark.parametrize("fault", FAULTS)
def test_idx_faulty_file_is_refused(tmp_path: Path, fault: Callable[[bytes], bytes], name: str) -> None:
    folder = mnist(tmp_path)
    put(folder / name, fault((folder / name).read_bytes()))
    with pytest.raises(ArchiveError) as error:
        list(idx.blocks(files(folder), DIGITS_FORMAT))
    # With another count it is unknown which of the two files is wrong.
    assert name in str(error.value) or fault is _another_count


def test_idx_label_outside_the_classes_is_refused(tmp_path: Path) -> None:
    folder = mnist(tmp_path)
    put(folder / "t10k-labels-idx1-ubyte.gz", idx_file(np.full(10, 10, np.uint8)))
    with pytest.raises(ArchiveError, match="t10k-labels"):
        list(idx.blocks(files(folder), DIGITS_FORMAT))


def test_idx_images_of_another_size_are_refused(tmp_path: Path) -> None:
    folder = mnist(tmp_path)
    put(folder / "t10k-images-idx3-ubyte.gz", idx_file(noise(1, 10, 27 * 28, 1).reshape(10, 27, 28)))
    with pytest.raises(ArchiveError) as error:
        list(idx.blocks(files(folder), DIGITS_FORMAT))
    assert error.value.parts["found"] == "10x27x28"


@pytest.mark.parametrize("existing", ["nothing", "a file", "three of four"])
def test_acquire_incomplete_folder_of_files_is_refused(
    tmp_path: Path, workspace: Workspace, existing: str
) -> None:
    given = tmp_path / "mnist"
    if existing == "a file":
        put(given, b"x")
    if existing == "three of four":
        (mnist(given) / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UsageError, match="is incomplete") as error:
        acquire.acquire(SourceSettings("mnist", archive=given), workspace)
    assert "t10k-labels-idx1-ubyte.gz" in error.value.parts["expected"]
    assert ("t10k-labels" in error.value.parts["found"]) == (existing == "three of four")
