"""Predictions go into a folder of their own: a table of parquet files can be read with nothing else in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.core.data.inference import embeddings_table, output_folder
from tasks.core.errors import UsageError
from tests.support.sample_files import photos, put


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    photos(tmp_path / "pets", {"cat": 1, "dog": 1})
    with pytest.raises(UsageError, match="pets has other files") as error:
        output_folder.check(tmp_path / "pets")
    assert error.value.parts["found"] == "cat and 1 more"
    with pytest.raises(UsageError, match="is a file"):
        output_folder.check(put(tmp_path / "x.parquet", b""))


def test_new_folder_and_one_with_predictions_pass(tmp_path: Path) -> None:
    output_folder.check(tmp_path / "new")
    put(tmp_path / "_quarantine.csv", b"path")
    put(tmp_path / ".lock", b"")
    output_folder.check(tmp_path)
    put(tmp_path / "notes.txt", b"beside earlier predictions")
    put(tmp_path / "batch=20260101-000000-ab" / "_batch.json", b"{}")
    output_folder.check(tmp_path)


def test_list_of_earlier_predictions_ends_at_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of years of predictions has thousands of names, and each run looks several times."""
    for day in range(20):
        (tmp_path / f"batch={day}").mkdir()
    seen: list[str] = []

    @contextmanager
    def listed(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        with scandir(folder) as entries:
            yield (entry for entry in entries if seen.append(entry.name) is None)

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", listed)
    output_folder.check(tmp_path)
    assert len(seen) == 1


def test_embeddings_go_beside_those_of_earlier_runs_only(tmp_path: Path) -> None:
    put(tmp_path / "train.parquet", b"")
    with pytest.raises(UsageError, match="has other files"):
        embeddings_table.check_folder(tmp_path, tmp_path / "answers")
    put(tmp_path / "20260101-000000-1a2b3c4d-00000.parquet", b"")
    embeddings_table.check_folder(tmp_path, tmp_path.parent / "answers")


def test_only_folders_that_stay_are_named() -> None:
    assert output_folder.kept_in(Path("answers/batch=1")) == "; in answers/batch=1"
    assert output_folder.kept_in(Path("/tmp/plumbline-predict-x1/predictions/batch=1")) == ""
