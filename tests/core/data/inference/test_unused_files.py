"""The table of the files among the inputs of a prediction that are no images."""

import csv
from pathlib import Path

import pandas as pd
import pyarrow.dataset as ds
import pytest

from tasks.core.data.inference import inputs
from tasks.core.data.inference.unused_files import NAME, UnusedFiles
from tests.support.sample_files import encoded, noise, put


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


def test_unused_file_of_several_inputs_is_one_row(tmp_path: Path) -> None:
    put(tmp_path / "new" / "a.png", encoded(noise(1)))
    put(tmp_path / "new" / "notes.txt", b"a text")
    unused = UnusedFiles()
    listed = inputs.list_inputs([f"{tmp_path}/new", f"{tmp_path}/new/*", f"{tmp_path}/*"], unused.add)
    assert {file.path for file in listed} == {f"{tmp_path}/new/a.png"}
    unused.write(tmp_path)
    assert len(pd.read_csv(tmp_path / NAME)) == 1
