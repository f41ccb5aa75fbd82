from pathlib import Path

import numpy as np
import pytest

from tasks.core.model.training import checkpoint
from tasks.core.model.training.checkpoint import Checkpoint


def at(step: int) -> Checkpoint:
    arrays = [np.full((2, 3), step, np.float32), np.array(step, np.int64)]
    return Checkpoint(step, arrays, {"history": [{"epoch": step / 2}]})


def same(one: Checkpoint | None, other: Checkpoint) -> bool:
    return (
        one is not None
        and (one.step, one.facts) == (other.step, other.facts)
        and all(
            np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(one.arrays, other.arrays, strict=True)
        )
    )


def test_the_newest_is_loaded_and_the_one_before_it_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        checkpoint.save(tmp_path, at(step))
    loaded, damaged = checkpoint.latest(tmp_path)
    assert same(loaded, at(15))
    assert damaged == []
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "0000000010.checkpoint",
        "0000000015.checkpoint",
    ]


def test_without_any_there_is_none(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "nowhere") == (None, [])


def test_any_truncation_is_refused_and_the_one_before_used(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, at(1))
    newest = checkpoint.save(tmp_path, at(2))
    whole = newest.read_bytes()
    for length in [
        0,
        1,
        10,
        len(checkpoint.MAGIC),
        len(checkpoint.MAGIC) + 31,
        60,
        len(whole) // 2,
        len(whole) - 1,
    ]:
        newest.write_bytes(whole[:length])
        loaded, damaged = checkpoint.latest(tmp_path)
        assert same(loaded, at(1)), length
        assert damaged == [newest]


def test_a_flipped_bit_anywhere_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, at(1))
    newest = checkpoint.save(tmp_path, at(2))
    whole = newest.read_bytes()
    for place in range(0, len(whole), 3):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        newest.write_bytes(bytes(flipped))
        loaded, _ = checkpoint.latest(tmp_path)
        assert loaded is not None
        assert loaded.step == 1, place


def test_all_damaged_means_from_the_start(tmp_path: Path) -> None:
    paths = [checkpoint.save(tmp_path, at(step)) for step in (1, 2)]
    for path in paths:
        path.write_bytes(path.read_bytes()[:-3])
    assert checkpoint.latest(tmp_path) == (None, paths[::-1])


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    left = tmp_path / ".0000000001.checkpoint.1.tmp"
    left.write_bytes(b"half")
    assert checkpoint.latest(tmp_path) == (None, [])
    checkpoint.save(tmp_path, at(1))
    assert not left.exists()


@pytest.mark.parametrize("step", [9, 10_000_000_000])
def test_steps_sort_as_numbers(tmp_path: Path, step: int) -> None:
    checkpoint.save(tmp_path, at(step))
    checkpoint.save(tmp_path, at(step + 1))
    loaded, _ = checkpoint.latest(tmp_path)
    assert same(loaded, at(step + 1))
