"""Refusals of the operating system: one message each, and no retry of what would fail again."""

import errno
from pathlib import Path

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


def test_real_refusal_of_a_long_name_shortens_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long") as raised:
        (tmp_path / ("a" * 1000)).write_bytes(b"")
    explained = machine_errors.explained(raised.value)
    assert explained is not None
    assert len(explained.parts["found"]) < 400


def test_only_lasting_refusals_are_not_retried() -> None:
    assert machine_errors.lasts(OSError(errno.ENOSPC, "full"))
    assert not machine_errors.lasts(OSError(errno.EIO, "input/output error"))
    assert not machine_errors.lasts(MemoryError())
