from pathlib import Path

import numpy as np
import pytest

from tasks.core.data.loader import mmap
from tasks.core.data.tensors.cache import RowView


def resident(path: Path) -> int:
    """Resident size of the mapped file in this process, in kB."""
    lines = Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines()
    starts = [number for number, line in enumerate(lines) if line.endswith(str(path))]
    return sum(
        int(next(line for line in lines[start:] if line.startswith("Rss:")).split()[1]) for start in starts
    )


def test_read_rows_of_a_mapped_file_releases_its_pages(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3000, 32, 32, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    rows = np.random.default_rng(1).integers(0, 3000, 1000)
    assert mapped[:].sum() > 0  # everything is read
    assert resident(tmp_path / "images.npy") > 8000
    gathered = mmap.read_rows(mapped, rows)
    assert np.array_equal(gathered, images[rows])
    assert gathered.flags.writeable
    assert resident(tmp_path / "images.npy") < 500


def test_read_rows_of_a_file_maps_no_page_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault would map 64 KiB around each row."""
    monkeypatch.setattr(mmap, "release_pages", lambda images: None)
    images = np.random.default_rng(0).normal(size=(3000, 32, 32, 3)).astype(np.float16)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    rows = np.random.default_rng(1).permutation(3000)[:256]
    rows[10:20] = np.arange(100, 110)
    assert np.array_equal(mmap.read_rows(mapped, rows), images[rows])
    view = RowView(mapped, np.arange(0, 3000, 3))
    assert np.array_equal(mmap.read_rows(view, rows[rows < 1000]), images[::3][rows[rows < 1000]])
    assert resident(tmp_path / "images.npy") < 500


def test_read_rows_of_a_part_and_of_a_removed_file(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert np.array_equal(mmap.read_rows(mapped[10:20], np.array([3, 1])), images[[13, 11]])
    assert not len(mmap.read_rows(mapped, np.arange(0)))
    (tmp_path / "images.npy").unlink()
    assert np.array_equal(mmap.read_rows(mapped, np.array([3, 1])), images[[3, 1]])


def test_pages_of_a_part_are_released(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.ones((3000, 32, 32, 3), np.uint8))
    part = np.load(tmp_path / "images.npy", mmap_mode="r")[:2000]
    assert part.sum() > 0
    assert resident(tmp_path / "images.npy") > 5000
    mmap.release_pages(part)
    assert resident(tmp_path / "images.npy") < 500


def test_read_rows_of_an_array_in_memory() -> None:
    images = np.arange(40, dtype=np.uint8).reshape(10, 2, 2, 1)
    assert np.array_equal(mmap.read_rows(images, np.array([3, 1])), images[[3, 1]])


def test_read_of_consecutive_rows_releases_their_pages(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3000, 32, 32, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    rows = np.arange(0, 3000, 3)
    out = np.empty((500, 32, 32, 3), np.uint8)
    for array in (images, mapped):
        mmap.read(array, 2500, 3000, out)
        assert np.array_equal(out, images[2500:])
    mmap.read(RowView(mapped, rows), 500, 1000, out)
    assert np.array_equal(out, images[rows][500:])
    assert resident(tmp_path / "images.npy") < 500
