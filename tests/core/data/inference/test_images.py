"""The pixels that a model gets in a batch prediction are those that the normalize stage would give it."""

import os
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.core.config import Fit, NormalizeSettings, SourceSettings
from tasks.core.data.block_decoder import library
from tasks.core.data.inference import inputs
from tasks.core.data.inference.images import CHANGED, ImageBatch, image_batches
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.workspace import Workspace
from tests.support.sample_files import encoded, heic, noise, parquet, photos, put, smooth

SHAPE = (16, 16, 3)


def batches(
    *paths: object, size: int = 4, shape: tuple[int, int, int] = SHAPE, fit: Fit = Fit.crop
) -> list[ImageBatch]:
    return list(image_batches(list(inputs.list_inputs([str(path) for path in paths])), size, shape, fit))


@pytest.mark.parametrize("fit", Fit)
def test_image_batches_pixels_equal_those_of_normalize(
    tmp_path: Path, workspace: Workspace, fit: Fit
) -> None:
    root = photos(tmp_path / "photos", {"cat": 12, "dog": 12}, size=20)
    turned = Image.Exif()
    turned[0x0112] = 6
    put(root / "cat" / "turned.jpg", encoded(smooth(90, 120), "JPEG", quality=95, exif=turned))
    put(root / "dog" / "grey.png", encoded(noise(7, 33, 21, 1)))
    put(root / "dog" / "clear.png", encoded(Image.fromarray(noise(8, 24, 30, 4), "RGBA")))
    put(root / "dog" / "phone.HEIC", heic(smooth(40, 30), 6))
    put(root / "dog" / "phone.avif", encoded(smooth(40, 30), "AVIF"))
    put(root / "dog" / "without_suffix", encoded(noise(9), "JPEG2000"))
    put(root / "dog" / "clip.mov", b"\0\0\0\x14ftypqt  \0\0\0\0qt  ")
    raw = acquire.acquire(SourceSettings(dataset=str(root)), workspace)
    tensors = normalize.normalize(raw, NormalizeSettings(image_size=16, fit=fit), workspace)
    rows = {}
    for row in pq.read_table(tensors.directory / "rows.parquet").to_pylist():
        images = np.load(tensors.directory / f"{row['split']}.images.npy")
        rows[str(root / row["path"])] = images[row["row"]], (row["height"], row["width"])

    compared = 0
    for batch in batches(root, fit=fit):
        for number, path in enumerate(batch.paths):
            pixels, size = rows[path]
            np.testing.assert_array_equal(batch.images[number], pixels)
            assert tuple(batch.sizes[number]) == size
            compared += 1
    assert compared == len(rows) == 30


@pytest.mark.skipif(library.load() is None, reason="no compiled decoder here (make decoder builds it)")
def test_image_batches_are_the_same_without_the_compiled_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (height, width) in enumerate([(16, 16), (16, 16), (40, 30), (16, 16), (9, 90), (16, 16)]):
        put(tmp_path / f"{number}.jpg", encoded(smooth(height, width), "JPEG", quality=90))
    put(tmp_path / "3b.jpg", encoded(noise(3), "JPEG")[:200])
    put(tmp_path / "3c.jpg", b"")
    put(tmp_path / "3d.png", encoded(noise(4)))
    parquet(tmp_path / "rows.parquet", [0] * 3, contents=[encoded(noise(5), "JPEG"), None, encoded(noise(6))])
    compiled = batches(tmp_path)
    monkeypatch.setenv(library.VARIABLE, library.OFF)
    library.load.cache_clear()
    plain = batches(tmp_path)
    library.load.cache_clear()
    assert [len(batch) for batch in compiled] == [4, 4, 4]
    assert sum(batch.readable.sum() for batch in compiled) == 9
    for one, other in zip(compiled, plain, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.sizes, other.sizes)
        assert (one.paths, one.rows, one.problems) == (other.paths, other.rows, other.problems)


def test_image_batches_are_full_except_the_last(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 3})
    parquet(tmp_path / "b.parquet", [0] * 7, row_group_size=2)
    one, two, three = batches(tmp_path)
    assert (one.full, two.full, len(three)) == (True, True, 2)
    assert [*one.rows, *two.rows, *three.rows] == [None, None, None, 0, 1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(three.images[2:], 0)


def test_image_batches_unreadable_image_is_black_with_a_reason(tmp_path: Path) -> None:
    put(tmp_path / "a.png", b"\xff\xd8 not a picture")
    put(tmp_path / "b.png", b"")
    put(tmp_path / "c.png", encoded(noise(1)))
    parquet(tmp_path / "d.parquet", [0, 0], contents=[None, encoded(noise(2))])
    chunks = list(inputs.list_inputs([str(tmp_path)]))
    (tmp_path / "c.png").unlink()
    (batch,) = image_batches(chunks, 8, SHAPE)
    assert list(batch.readable) == [False, False, False, False, True]
    assert batch.problems[1] == "empty file"
    assert "No such file" in str(batch.problems[2])
    assert "no bytes in this row" in str(batch.problems[3])
    np.testing.assert_array_equal(batch.images[:4], 0)


def test_image_batches_changed_parquet_file_has_only_problems(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", [0, 1, 0])
    chunks = list(inputs.list_inputs([str(path)]))
    parquet(path, [0])
    os.utime(path, ns=(0, 0))
    (batch,) = image_batches(chunks, 8, SHAPE)
    assert batch.problems == [CHANGED] * 3
    assert batch.rows == [0, 1, 2]


def test_image_batches_rows_missing_at_an_address_have_problems(tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/shorter/x.parquet", parquet(tmp_path / "long.parquet", [0] * 3).read_bytes())
    chunks = list(inputs.list_inputs(["memory://shorter"]))
    files.pipe("/shorter/x.parquet", parquet(tmp_path / "short.parquet", [0]).read_bytes())
    (batch,) = image_batches(chunks, 8, SHAPE)
    assert batch.problems == [None, CHANGED, CHANGED]


def test_image_batches_from_an_address(tmp_path: Path) -> None:
    files, image = fsspec.filesystem("memory"), encoded(noise(3, 16, 16))
    files.pipe("/contents/a.png", image)
    path = parquet(tmp_path / "x.parquet", [0], contents=[image])
    files.pipe("/contents/b.parquet", path.read_bytes())
    (batch,) = batches("memory://contents")
    assert batch.paths == ["memory:///contents/a.png", "memory:///contents/b.parquet"]
    np.testing.assert_array_equal(batch.images[0], noise(3, 16, 16))
    np.testing.assert_array_equal(batch.images[1], noise(3, 16, 16))
