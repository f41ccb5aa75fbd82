"""The table of the files among the inputs of a prediction that are no images."""

import csv
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from tasks.core.data.inference.unused_files import NAME, UnusedFiles


def test_unused_files_are_a_table_that_the_next_listing_replaces(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unused = UnusedFiles()
    unused.add("/photos/clip.mp4", "a video (MP4): not an image")
    unused.add("/photos/caf\udce9, a, b.txt", "a text: not an image")
    unused.add("/photos/notes.txt", "a text: not an image")
    unused.write(tmp_path)
    with (tmp_path / NAME).open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["path", "reason"],
            ["/photos/clip.mp4", "a video (MP4): not an image"],
            [r"/photos/caf\udce9, a, b.txt", "a text: not an image"],
            ["/photos/notes.txt", "a text: not an image"],
        ]
    assert "a text (2), a video (MP4) (1)" in caplog.text
    assert ds.dataset(tmp_path).files == []  # readers of the predictions do not see it
    UnusedFiles().write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unused_system_files_are_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    unused = UnusedFiles()
    unused.add("/photos/.DS_Store", "a system file of macOS: not an image")
    unused.write(tmp_path)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
