"""The download stage: what the digest depends on, and which sources are refused with nothing written."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.core.config import SourceSettings
from tasks.core.data.files import listing
from tasks.core.data.sources import acquire
from tasks.core.errors import DataError, UsageError
from tasks.core.storage.hashing import sha256_file
from tasks.core.workspace import Workspace
from tests.support.sample_files import encoded, files_below, noise, photos, put


def digest(root: Path, workspace: Workspace) -> str:
    return acquire.acquire(SourceSettings(str(root)), workspace).digest


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    return photos(tmp_path / "animals", {"cat": 3, "dog": 3})


def test_acquire_folder_is_listed_in_place(animals: Path, workspace: Workspace) -> None:
    before = {path: path.stat().st_mtime_ns for path in animals.rglob("*")}
    handle = acquire.acquire(SourceSettings(str(animals)), workspace)
    assert (handle.dataset, handle.format, handle.root, handle.images) == (
        "animals",
        "folder",
        str(animals),
        6,
    )
    files = list(listing.iter_files(listing.read(handle.directory)))
    assert [file.sha256 for file in files] == [sha256_file(animals / file.path) for file in files]
    assert {path: path.stat().st_mtime_ns for path in animals.rglob("*")} == before


def test_acquire_touched_file_keeps_the_digest(animals: Path, workspace: Workspace) -> None:
    first = digest(animals, workspace)
    os.utime(animals / "cat" / "000.png", (1, 1))
    assert digest(animals, workspace) == first


def test_acquire_moved_folder_keeps_the_digest(animals: Path, tmp_path: Path, workspace: Workspace) -> None:
    first = digest(animals, workspace)
    (tmp_path / "moved").mkdir()
    animals.rename(tmp_path / "moved" / "animals")
    assert digest(tmp_path / "moved" / "animals", workspace) == first


def _one_pixel(root: Path) -> None:
    image = noise(1)  # 000.png of the first folder
    image[5, 5, 0] ^= 1
    put(root / "cat" / "000.png", encoded(image))


def _one_more(root: Path) -> None:
    put(root / "cat" / "new.png", encoded(noise(99)))


def _one_less(root: Path) -> None:
    (root / "dog" / "001.png").unlink()


def _renamed(root: Path) -> None:
    (root / "dog" / "001.png").rename(root / "dog" / "zzz.png")


def _other_class(root: Path) -> None:
    (root / "dog" / "001.png").rename(root / "cat" / "001b.png")


def _renamed_class(root: Path) -> None:
    (root / "dog").rename(root / "hound")


@pytest.mark.parametrize("change", [_one_pixel, _one_more, _one_less, _renamed, _other_class, _renamed_class])
def test_acquire_changed_content_changes_the_digest(
    animals: Path, workspace: Workspace, change: Callable[[Path], None]
) -> None:
    first = digest(animals, workspace)
    change(animals)
    assert digest(animals, workspace) != first


def test_acquire_file_name_that_is_not_utf8_is_refused(animals: Path, workspace: Workspace) -> None:
    Path(os.fsdecode(os.fsencode(animals / "cat") + b"/\xff.png")).write_bytes(encoded(noise(5)))
    with pytest.raises(DataError, match="name is not UTF-8") as error:
        digest(animals, workspace)
    assert error.value.parts["found"] == r"b'cat/\xff.png'"
    assert files_below(workspace.root) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SourceSettings("cifar01"), "There is no dataset"),
        (SourceSettings("./nowhere/photos"), "No images can be read"),
        (SourceSettings("digits", archive=Path("x.tar.gz")), "--archive cannot be used with digits"),
        (SourceSettings("cifar10", archive=Path("nowhere.tar.gz")), "does not exist"),
        (SourceSettings("cifar10", archive_sha256="ab" * 32), "there is no --archive"),
    ],
)
def test_acquire_invalid_settings_are_refused(
    workspace: Workspace, settings: SourceSettings, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        acquire.acquire(settings, workspace)
    assert files_below(workspace.root) == []


def test_acquire_misspelled_dataset_gets_a_suggestion(workspace: Workspace) -> None:
    with pytest.raises(UsageError) as error:
        acquire.acquire(SourceSettings("cifar01"), workspace)
    assert "cifar10" in error.value.parts["to do"]


def test_acquire_digits_are_scikit_learns(workspace: Workspace) -> None:
    handle = acquire.acquire(SourceSettings("digits"), workspace)
    assert (handle.format, handle.images) == ("digits", 1797)
    assert isinstance(handle.digest, str)


def test_file_that_vanishes_while_its_folder_is_listed_is_one_message(
    tmp_path: Path, workspace: Workspace
) -> None:
    root, watched = photos(tmp_path / "animals", {"cat": 3, "dog": 3}), [True]
    for number in range(5):
        put(root / "cat" / f"note {number}", b"text")

    def remove_all(event: str, arguments: tuple[object, ...]) -> None:
        """As another process does, when the first bytes of a note are to be read."""
        if watched and event == "open" and str(arguments[0]).startswith(f"{root}/cat/note"):
            watched.clear()
            for path in (root / "cat").iterdir():
                path.unlink()

    sys.addaudithook(remove_all)
    with pytest.raises(DataError, match="was changed while it was listed") as caught:
        acquire.acquire(SourceSettings(str(root)), workspace)
    assert "no longer there: " in str(caught.value)
    assert not watched
