"""Checkpoint files: what is kept, and which damage is detected."""

from pathlib import Path

import numpy as np
import pytest

from tasks.core.model.training import checkpoint
from tasks.core.model.training.checkpoint import Checkpoint


def checkpoint_at(step: int) -> Checkpoint:
    """A checkpoint whose content follows from its step."""
    arrays = [np.full((2, 3), step, np.float32), np.array(step, np.int64)]
    return Checkpoint(step, arrays, {"history": [{"epoch": step / 2}]})


def equal(loaded: Checkpoint | None, expected: Checkpoint) -> bool:
    """Whether two checkpoints have equal steps, facts and arrays."""
    return (
        loaded is not None
        and (loaded.step, loaded.facts) == (expected.step, expected.facts)
        and all(
            np.array_equal(a, b) and a.dtype == b.dtype
            for a, b in zip(loaded.arrays, expected.arrays, strict=True)
        )
    )


def test_latest_returns_newest_and_save_keeps_the_previous_one(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        checkpoint.save(tmp_path, checkpoint_at(step))
    loaded, damaged = checkpoint.latest(tmp_path)
    assert equal(loaded, checkpoint_at(15))
    assert damaged == []
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "0000000010.checkpoint",
        "0000000015.checkpoint",
    ]


def test_latest_in_missing_directory_returns_none(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "nowhere") == (None, [])


def test_latest_with_truncated_file_returns_the_previous_one(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, checkpoint_at(1))
    newest = checkpoint.save(tmp_path, checkpoint_at(2))
    content = newest.read_bytes()
    for length in [
        0,
        1,
        10,
        len(checkpoint.MAGIC),
        len(checkpoint.MAGIC) + 31,
        60,
        len(content) // 2,
        len(content) - 1,
    ]:
        newest.write_bytes(content[:length])
        loaded, damaged = checkpoint.latest(tmp_path)
        assert equal(loaded, checkpoint_at(1)), length
        assert damaged == [newest]


def test_latest_with_flipped_bit_returns_the_previous_one(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, checkpoint_at(1))
    newest = checkpoint.save(tmp_path, checkpoint_at(2))
    content = newest.read_bytes()
    for index in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[index] ^= 1 << index % 8
        newest.write_bytes(bytes(flipped))
        loaded, _ = checkpoint.latest(tmp_path)
        assert loaded is not None
        assert loaded.step == 1, index


def test_latest_with_all_files_damaged_returns_none(tmp_path: Path) -> None:
    paths = [checkpoint.save(tmp_path, checkpoint_at(step)) for step in (1, 2)]
    for path in paths:
        path.write_bytes(path.read_bytes()[:-3])
    assert checkpoint.latest(tmp_path) == (None, paths[::-1])


def test_save_removes_temporary_file_of_a_killed_writer(tmp_path: Path) -> None:
    leftover = tmp_path / ".0000000001.checkpoint.99999999.tmp"  # no such process
    leftover.write_bytes(b"half")
    assert checkpoint.latest(tmp_path) == (None, [])
    checkpoint.save(tmp_path, checkpoint_at(1))
    assert not leftover.exists()


@pytest.mark.parametrize("step", [9, 10_000_000_000])
def test_latest_sorts_steps_as_numbers(tmp_path: Path, step: int) -> None:
    checkpoint.save(tmp_path, checkpoint_at(step))
    checkpoint.save(tmp_path, checkpoint_at(step + 1))
    loaded, _ = checkpoint.latest(tmp_path)
    assert equal(loaded, checkpoint_at(step + 1))
