from pathlib import Path

import numpy as np
import pytest

from tasks.core.data.tensors import npy_writer
from tasks.core.data.tensors.npy_writer import BLOCK, RowFile


@pytest.mark.parametrize("without", [[], [0], [3, 7, 8], [99], list(range(100)), list(range(0, 100, 2))])
def test_row_file_rows_in_any_order_are_byte_identical_to_numpys(tmp_path: Path, without: list[int]) -> None:
    images = np.random.default_rng(1).integers(0, 256, (100, 4, 4, 3), np.uint8)
    rows = RowFile(tmp_path / "rows.npy", 100, (4, 4, 3))
    for row in np.random.default_rng(2).permutation(100):
        rows.write(row, images[row])
    rows.close(without=without)
    np.save(tmp_path / "numpy.npy", np.delete(images, without, axis=0))
    assert (tmp_path / "rows.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_row_file_close_removes_rows_across_blocks(tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (20, 1024, 1024, 1), np.uint8)  # 8 rows per block
    assert images.nbytes > 2 * BLOCK
    rows = RowFile(tmp_path / "rows.npy", 20, (1024, 1024, 1))
    rows.write(0, images)
    rows.close(without=[1, 9, 17])
    assert np.array_equal(np.load(tmp_path / "rows.npy"), np.delete(images, [1, 9, 17], axis=0))


def test_row_file_other_shape_or_dtype_is_refused(tmp_path: Path) -> None:
    rows = RowFile(tmp_path / "rows.npy", 2, (4, 4, 3))
    with pytest.raises(ValueError, match=r"\(4, 4, 1\)"):
        rows.write(0, np.zeros((4, 4, 1), np.uint8))
    with pytest.raises(ValueError, match="float32"):
        rows.write(0, np.zeros((4, 4, 3), np.float32))


@pytest.mark.parametrize("shape", [(50, 8, 8, 3), (7, 5, 3, 1), (1, 2000, 2000, 3)])
def test_channel_stats_equal_numpys(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(3).integers(0, 200, shape, np.uint8)
    np.save(tmp_path / "images.npy", images)
    mean, std = npy_writer.channel_stats(tmp_path / "images.npy")
    assert mean == pytest.approx(images.mean(axis=(0, 1, 2), dtype=np.float64), abs=1e-6)
    assert std == pytest.approx(images.std(axis=(0, 1, 2), dtype=np.float64), abs=1e-6)


def test_channel_stats_of_a_constant_channel(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.full((3, 4, 4, 1), 7, np.uint8))
    assert npy_writer.channel_stats(tmp_path / "images.npy") == ([7.0], [0.0])
