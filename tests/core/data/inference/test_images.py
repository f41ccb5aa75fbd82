"""What a model is given in a batch prediction are the pixels that normalize would give it."""

import os
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.inference import inputs
from tasks.core.data.inference.images import CHANGED, ImageBatch, image_batches
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.workspace import Workspace
from tests.support.sample_files import encoded, noise, parquet, photos, put, smooth

SHAPE = (16, 16, 3)


def blocks(*places: object, size: int = 4, shape: tuple[int, int, int] = SHAPE) -> list[ImageBatch]:
    return list(image_batches(list(inputs.list_inputs([str(place) for place in places])), size, shape))


def test_the_pixels_are_those_of_normalize(tmp_path: Path, workspace: Workspace) -> None:
    root = photos(tmp_path / "photos", {"cat": 12, "dog": 12}, size=20)
    turned = Image.Exif()
    turned[0x0112] = 6
    put(root / "cat" / "turned.jpg", encoded(smooth(90, 120), "JPEG", quality=95, exif=turned))
    put(root / "dog" / "grey.png", encoded(noise(7, 33, 21, 1)))
    put(root / "dog" / "clear.png", encoded(Image.fromarray(noise(8, 24, 30, 4), "RGBA")))
    listed = acquire.acquire(SourceSettings(dataset=str(root)), workspace)
    made = normalize.normalize(listed, NormalizeSettings(image_size=16), workspace)
    rows = {}
    for row in pq.read_table(made.directory / "rows.parquet").to_pylist():
        images = np.load(made.directory / f"{row['split']}.images.npy")
        rows[str(root / row["path"])] = images[row["row"]], (row["height"], row["width"])

    seen = 0
    for block in blocks(root):
        for number, file in enumerate(block.paths):
            pixels, size = rows[file]
            np.testing.assert_array_equal(block.images[number], pixels)
            assert tuple(block.sizes[number]) == size
            seen += 1
    assert seen == len(rows) == 27


def test_blocks_are_full_but_the_last_and_keep_the_order(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 3})
    parquet(tmp_path / "b.parquet", [0] * 7, row_group_size=2)
    one, two, three = blocks(tmp_path)
    assert (one.full, two.full, len(three)) == (True, True, 2)
    assert [*one.rows, *two.rows, *three.rows] == [None, None, None, 0, 1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(three.images[2:], 0)


def test_what_cannot_be_read_is_black_and_has_a_reason(tmp_path: Path) -> None:
    put(tmp_path / "a.png", b"\xff\xd8 not a picture")
    put(tmp_path / "b.png", b"")
    put(tmp_path / "c.png", encoded(noise(1)))
    parquet(tmp_path / "d.parquet", [0, 0], contents=[None, encoded(noise(2))])
    lines = list(inputs.list_inputs([str(tmp_path)]))
    (tmp_path / "c.png").unlink()
    (block,) = image_batches(lines, 8, SHAPE)
    assert list(block.readable) == [False, False, False, False, True]
    assert block.problems[1] == "empty file"
    assert "No such file" in str(block.problems[2])
    np.testing.assert_array_equal(block.images[:4], 0)


def test_a_parquet_file_that_changed_has_no_rows_to_trust(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", [0, 1, 0])
    lines = list(inputs.list_inputs([str(path)]))
    parquet(path, [0])
    os.utime(path, ns=(0, 0))
    (block,) = image_batches(lines, 8, SHAPE)
    assert block.problems == [CHANGED] * 3
    assert block.rows == [0, 1, 2]


def test_rows_that_an_address_does_not_have_any_more_are_still_rows(tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/shorter/x.parquet", parquet(tmp_path / "long.parquet", [0] * 3).read_bytes())
    lines = list(inputs.list_inputs(["memory://shorter"]))
    files.pipe("/shorter/x.parquet", parquet(tmp_path / "short.parquet", [0]).read_bytes())
    (block,) = image_batches(lines, 8, SHAPE)
    assert block.problems == [None, CHANGED, CHANGED]


def test_files_at_an_address_are_read_there(tmp_path: Path) -> None:
    files, image = fsspec.filesystem("memory"), encoded(noise(3, 16, 16))
    files.pipe("/contents/a.png", image)
    path = parquet(tmp_path / "x.parquet", [0], contents=[image])
    files.pipe("/contents/b.parquet", path.read_bytes())
    (block,) = blocks("memory://contents")
    assert block.paths == ["memory:///contents/a.png", "memory:///contents/b.parquet"]
    np.testing.assert_array_equal(block.images[0], noise(3, 16, 16))
    np.testing.assert_array_equal(block.images[1], noise(3, 16, 16))
