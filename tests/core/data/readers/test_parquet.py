"""Parquet files of images in the layout of the Hugging Face hub."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.decode import Target
from tasks.core.data.files import listing
from tasks.core.data.readers.parquet.reader import ParquetReader, scan, split_of
from tasks.core.data.sources import acquire, resolve
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.cache import open_split
from tasks.core.errors import DataError
from tasks.core.stage.handles import TensorCache
from tasks.core.storage.hashing import sha256_file
from tasks.core.workspace import Workspace
from tests.support.sample_files import encoded, files_below, noise, parquet, put

CATS = ("cat", "dog", "eel")


def normalized(source: Path, workspace: Workspace, settings: NormalizeSettings | None = None) -> TensorCache:
    handle = acquire.acquire(SourceSettings(str(source)), workspace)
    return normalize.normalize(handle, settings or NormalizeSettings(val_fraction=0.3), workspace)


def check(cache: TensorCache, split: str, seed: int, labels: list[str], file: str) -> None:
    """Every row of a split has the image and the label that its path refers to."""
    rows = pd.read_parquet(cache.directory / "rows.parquet").query(f"split == '{split}'")
    opened = open_split(cache, split)
    assert len(rows) > 0
    for row in rows.itertuples():
        name, number = row.path.split("#")
        assert name == file
        assert np.array_equal(opened.images[row.row], noise(seed + int(number)))
        assert cache.classes[opened.labels[row.row]] == row.class_name == labels[int(number)]


def test_parquet_single_file_is_read(tmp_path: Path, workspace: Workspace) -> None:
    labels = [number % 3 for number in range(60)]
    path = parquet(tmp_path / "pets.parquet", labels, names=CATS)
    handle = acquire.acquire(SourceSettings(str(path)), workspace)
    assert (handle.dataset, handle.format, handle.images) == ("pets", "parquet", 60)
    cache = normalized(path, workspace)
    assert (cache.classes, cache.shape) == (CATS, (32, 32, 3))
    for split in ("train", "val", "test"):
        check(cache, split, 0, [CATS[label] for label in labels], "pets.parquet")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/train-00000-of-00002.parquet", "train"),
        ("data/validation-00000-of-00001.parquet", "val"),
        ("plain_text/test/0000.parquet", "test"),
        ("my_dev_set.parquet", "val"),
        ("TRAIN.parquet", "train"),
        ("constrained.parquet", ""),
        ("latest.parquet", ""),
        ("part-0.parquet", ""),
    ],
)
def test_split_of_file_name(name: str, split: str) -> None:
    assert split_of(name) == split


def test_parquet_folder_of_shards_is_read(tmp_path: Path, workspace: Workspace) -> None:
    root = tmp_path / "pets"
    parquet(root / "data" / "train-00000-of-00002.parquet", [0, 1, 2] * 10, names=CATS)
    parquet(root / "data" / "train-00001-of-00002.parquet", [0, 1, 2] * 10, names=CATS, seed=1000)
    parquet(root / "data" / "test-00000-of-00001.parquet", [0, 1, 2] * 4, names=CATS, seed=2000)
    put(root / "README.md", b"# pets")
    cache = normalized(root, workspace)
    assert (cache.test, cache.train + cache.val) == (12, 60)
    check(cache, "test", 2000, list(CATS) * 4, "data/test-00000-of-00001.parquet")


def test_parquet_classes_are_matched_by_name(tmp_path: Path, workspace: Workspace) -> None:
    """The test file has the same classes in another order."""
    parquet(tmp_path / "pets" / "train.parquet", [0, 1, 2] * 20, names=CATS)
    parquet(tmp_path / "pets" / "test.parquet", [0, 1, 2] * 5, names=("eel", "cat", "dog"), seed=1000)
    cache = normalized(tmp_path / "pets", workspace)
    assert cache.classes == CATS
    check(cache, "test", 1000, ["eel", "cat", "dog"] * 5, "test.parquet")


def test_parquet_string_labels_are_class_names(tmp_path: Path, workspace: Workspace) -> None:
    labels = ["dog", "cat"] * 30
    cache = normalized(parquet(tmp_path / "pets.parquet", labels), workspace)
    assert cache.classes == ("cat", "dog")
    check(cache, "train", 0, labels, "pets.parquet")


def test_parquet_numbers_without_names_become_names(tmp_path: Path, workspace: Workspace) -> None:
    cache = normalized(parquet(tmp_path / "pets.parquet", [7, 3] * 30), workspace)
    assert cache.classes == ("3", "7")


@pytest.mark.parametrize(
    ("image", "label"), [("img", "label"), ("image", "fine_label"), ("picture", "species")]
)
def test_parquet_other_column_names_are_found(
    tmp_path: Path, workspace: Workspace, image: str, label: str
) -> None:
    path = parquet(tmp_path / "pets.parquet", [0, 1, 2] * 20, names=CATS, image=image, label=label)
    assert normalized(path, workspace).classes == CATS


def test_parquet_plain_binary_and_dictionary_columns_are_read(tmp_path: Path, workspace: Workspace) -> None:
    images = pa.array([encoded(noise(number)) for number in range(60)], pa.large_binary())
    labels = pa.array(["dog", "cat"] * 30).dictionary_encode()
    pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "pets.parquet")
    cache = normalized(tmp_path / "pets.parquet", workspace)
    check(cache, "train", 0, ["dog", "cat"] * 30, "pets.parquet")


def test_parquet_digest_depends_on_the_bytes(tmp_path: Path, workspace: Workspace) -> None:
    path = parquet(tmp_path / "pets.parquet", [0, 1, 2] * 20, names=CATS)
    first = acquire.acquire(SourceSettings(str(path)), workspace).digest
    parquet(path, [0, 1, 2] * 20, names=CATS)
    assert acquire.acquire(SourceSettings(str(path)), workspace).digest == first
    parquet(path, [0, 1, 2] * 19 + [0, 1, 1], names=CATS)
    assert acquire.acquire(SourceSettings(str(path)), workspace).digest != first


@pytest.mark.parametrize("row_group_size", [1, 7, 1000])
def test_parquet_images_of_single_rows_from_any_row_group(tmp_path: Path, row_group_size: int) -> None:
    for name, seed in (("a", 0), ("b", 1000)):
        parquet(
            tmp_path / f"{name}.parquet", [0, 1, 2] * 10, names=CATS, seed=seed, row_group_size=row_group_size
        )
    names = [f"{name}.parquet" for name in "ab"]
    files = [listing.ListedFile(name, 0, sha256_file(tmp_path / name)) for name in names]
    reader = ParquetReader(tmp_path, listing.table(files))
    wanted = [0, 6, 7, 8, 29, 30, 44, 59]
    rows = reader.index()
    assert [rows[number].path for number in (0, 29, 30, 59)] == [
        "a.parquet#0",
        "a.parquet#29",
        "b.parquet#0",
        "b.parquet#29",
    ]
    images = list(reader.images(wanted, Target(None, 3)))
    assert [image.row for image in images] == wanted
    for image in images:
        assert np.array_equal(image.image, noise(image.row % 30 + 1000 * (image.row >= 30)))


# --- files that are refused ---


def _not_parquet(path: Path) -> None:
    put(path, b"PAR1 and no more")


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _bad_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    start = content.index(b"\x89PNG") - 40
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)


def _no_images(path: Path) -> None:
    pq.write_table(pa.table({"label": [0, 1], "text": ["a", "b"]}), path)


def _no_labels(path: Path) -> None:
    pq.write_table(pa.table({"image": [b"a", b"b"], "caption": ["a", "b"]}), path)


def _two_image_columns(path: Path) -> None:
    pq.write_table(pa.table({"left": [b"a", b"b"], "right": [b"a", b"b"], "label": [0, 1]}), path)


def _label_without_name(path: Path) -> None:
    parquet(path, [0, 1, 3], names=CATS)


def _one_class(path: Path) -> None:
    parquet(path, ["cat"] * 5)


def _no_rows(path: Path) -> None:
    parquet(path, [], contents=[])


def _repeated_class_name(path: Path) -> None:
    parquet(path, [0, 1], names=("cat", "cat"))


def _names_for_strings(path: Path) -> None:
    parquet(path, ["cat", "dog"], names=("cat", "dog"))


def _a_column_twice(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.append_column("label", table["label"]), path)


def _odd_metadata(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": [1]})}), path)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (_not_parquet, "cannot be read"),
        (_truncated, "cannot be read"),
        (_no_images, "no clear column of images"),
        (_no_labels, "no clear column of labels"),
        (_two_image_columns, "no clear column of images"),
        (_label_without_name, "label without a class name"),
        (_one_class, "only one class"),
        (_no_rows, "has no rows"),
        (_a_column_twice, "columns of one name"),
        (_repeated_class_name, "not a list of distinct names"),
        (_names_for_strings, "labels that are not integers"),
        (_odd_metadata, "metadata that do not describe its columns"),
    ],
)
def test_parquet_invalid_file_is_refused_and_nothing_is_written(
    tmp_path: Path, workspace: Workspace, fault: Callable[[Path], None], message: str
) -> None:
    path = parquet(tmp_path / "pets.parquet", [0, 1, 2] * 5, names=CATS)
    fault(path)
    with pytest.raises(DataError, match=message):
        acquire.acquire(SourceSettings(str(path)), workspace)
    assert [name for name in files_below(workspace.root) if ".hashes" not in name] == []


def test_parquet_damaged_page_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    path = parquet(tmp_path / "pets.parquet", [0, 1, 2] * 20, names=CATS)
    _bad_page(path)
    with pytest.raises(DataError, match="cannot be read"):
        normalized(path, workspace)
    assert files_below(workspace.root / "tensors") == []


def test_parquet_file_changed_after_listing_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    path = parquet(tmp_path / "pets.parquet", [0, 1, 2] * 20, names=CATS)
    handle = acquire.acquire(SourceSettings(str(path)), workspace)
    parquet(path, [0, 1, 2] * 20, names=CATS, seed=5)
    with pytest.raises(DataError, match="changed after it was listed"):
        normalize.normalize(handle, NormalizeSettings(), workspace)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [(CATS, ("cat", "dog", "fox"), "other classes in test"), (CATS, ("cat", "dog"), "other classes in test")],
)
def test_parquet_split_with_other_classes_is_refused(
    tmp_path: Path, workspace: Workspace, train: tuple[str, ...], test: tuple[str, ...], message: str
) -> None:
    parquet(tmp_path / "pets" / "train.parquet", [0, 1, 2] * 5, names=train)
    parquet(tmp_path / "pets" / "test.parquet", [0, 1] * 5, names=test, seed=100)
    with pytest.raises(DataError, match=message):
        acquire.acquire(SourceSettings(str(tmp_path / "pets")), workspace)


@pytest.mark.parametrize(
    ("split", "labels", "message"),
    [
        ("test", [], "has no rows in test"),
        ("train", [], "no rows in train"),
        ("test", [None] * 3, "no labels in"),
    ],
)
def test_parquet_split_without_rows_or_labels_is_called_that(
    tmp_path: Path, workspace: Workspace, split: str, labels: list[int | None], message: str
) -> None:
    """Not "other classes in test than in train", which follows from it."""
    for name in ("train", "test"):
        parquet(tmp_path / "pets" / f"{name}.parquet", labels if name == split else ["cat", "dog"] * 5)
    with pytest.raises(DataError, match=message):
        acquire.acquire(SourceSettings(str(tmp_path / "pets")), workspace)


def test_parquet_file_without_rows_beside_others_is_read(tmp_path: Path, workspace: Workspace) -> None:
    """Writers in parts leave some."""
    parquet(tmp_path / "pets" / "part-0.parquet", ["cat", "dog"] * 5)
    parquet(tmp_path / "pets" / "part-1.parquet", [])
    assert acquire.acquire(SourceSettings(str(tmp_path / "pets")), workspace).images == 10


def test_parquet_split_in_some_names_only_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    parquet(tmp_path / "pets" / "train.parquet", [0, 1, 2] * 5, names=CATS)
    parquet(tmp_path / "pets" / "more.parquet", [0, 1, 2] * 5, names=CATS, seed=100)
    with pytest.raises(DataError, match="split in some names only") as error:
        acquire.acquire(SourceSettings(str(tmp_path / "pets")), workspace)
    assert error.value.parts["found"] == "more.parquet"


def test_tables_of_a_workspace_in_the_folder_are_no_images(tmp_path: Path, workspace: Workspace) -> None:
    """`cd shards`, then `plumbline train --dataset .` twice."""
    root = tmp_path / "pets"
    parquet(root / "data" / "train.parquet", [0, 1] * 20, names=CATS[:2])
    put(root / "workspace" / ".running" / "pets.lock", b"")
    put(root / "workspace" / "metrics" / "runs.parquet", b"PAR1")
    put(root / "workspace" / "reports" / "x.png", b"x")
    assert resolve.detect_format(root) == "parquet"
    assert scan(root)["path"].to_pylist() == ["data/train.parquet"]
