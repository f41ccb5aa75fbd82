"""Refusals of the operating system: one message each, and no retry of what would fail again."""

import errno
import resource
from pathlib import Path

import numpy as np
import pytest

from tasks.core.operations import machine_errors


@pytest.mark.parametrize(
    ("number", "summary"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "may not be read or written"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.ENOENT, "a file operation failed"),
    ],
)
def test_refusal_is_explained_and_names_the_file(number: int, summary: str) -> None:
    explained = machine_errors.explained(OSError(number, "text of the system", "/data/x.npy"))
    assert explained is not None
    assert summary in explained.summary
    assert explained.parts["found"] == "text of the system: /data/x.npy"


def test_a_current_folder_that_was_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(FileNotFoundError) as raised:
        Path("x").absolute()
    explained = machine_errors.explained(raised.value)
    assert explained is not None
    assert explained.summary == "the current folder was removed"


def test_real_refusal_of_a_long_name_shortens_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long") as raised:
        (tmp_path / ("a" * 1000)).write_bytes(b"")
    explained = machine_errors.explained(raised.value)
    assert explained is not None
    assert len(explained.parts["found"]) < 400


def test_numpy_that_writes_an_array_in_part_is_explained(tmp_path: Path) -> None:
    """NumPy's error has no number; a limit of the size of files is as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        with pytest.raises(OSError, match="requested and") as raised:
            np.save(tmp_path / "labels.npy", np.zeros(1_284, np.int64))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    explained = machine_errors.explained(raised.value)
    assert explained is not None
    assert explained.summary.startswith("the disk is full, or the limit")
    assert machine_errors.lasts(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device",
        "Can't write data (file write failed: time = Mon, errno = 28, error message = 'No space left')",
    ],
)
def test_number_in_the_text_of_a_library_counts(text: str) -> None:
    explained = machine_errors.explained(OSError(text))
    assert explained is not None
    assert explained.summary == "the disk is full"
    assert machine_errors.explained(OSError("encoder error -2 when writing image file")) is None


def test_only_lasting_refusals_are_not_retried() -> None:
    assert machine_errors.lasts(OSError(errno.ENOSPC, "full"))
    assert not machine_errors.lasts(OSError(errno.EIO, "input/output error"))
    assert not machine_errors.lasts(MemoryError())
