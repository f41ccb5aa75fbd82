"""Folders whose images cannot be read are refused early, if a few files make that certain."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tasks.core.data.sources import first_images
from tasks.core.errors import QuarantineError
from tests.support.sample_files import encoded, noise, photos, put

ERROR_PAGE = b"<!DOCTYPE html><title>404</title>"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(100)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look ends after a second without an answer, which a busy machine would need for it."""
    monkeypatch.setattr(first_images, "SECONDS", 60.0)


def refused(root: Path, allowed: float = 0.01) -> str:
    with pytest.raises(QuarantineError) as error:
        first_images.check(root, allowed)
    return str(error.value)


def test_images_of_a_few_pixels_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(4):
            put(tmp_path / name / f"{number}.png", encoded(noise(number, 2, 3)))
    assert "a/0.png: tiny: 3x2 pixels" in refused(tmp_path)


def test_error_pages_under_the_name_of_images_are_refused(tmp_path: Path) -> None:
    for name in ("train/a", "train/b"):
        for number in range(300):
            put(tmp_path / name / f"{number:03}.jpg", ERROR_PAGE)
    told = refused(tmp_path, allowed=0.5)
    assert "at least 301 of 600 images cannot be used" in told
    assert "train/a/000.jpg: a text: not an image" in told
    first_images.check(tmp_path, 1.0)


def test_class_of_heic_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    photos(tmp_path, {"cat": 5})
    for number in range(5):
        put(tmp_path / "dog" / f"{number}.heic", HEIC)
    assert "pip install -e '.[heif]'" in refused(tmp_path)


def test_what_the_first_files_leave_open_is_left_to_the_stages(tmp_path: Path) -> None:
    """One bad file of each hundred is allowed, and one behind the first files is not looked for."""
    photos(tmp_path, {"cat": 5, "dog": 5})
    put(tmp_path / "cat" / "z.jpg", ERROR_PAGE)
    first_images.check(tmp_path, 0.01)
    (tmp_path / "cat" / "z.jpg").rename(tmp_path / "cat" / "0.jpg")
    first_images.check(tmp_path, 0.1)
    assert "at least 1 of 11 images" in refused(tmp_path)


def test_small_files_that_are_images_pass(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path / name / "plain.png", encoded(np.zeros((8, 8), np.uint8)))
        put(tmp_path / name / "notes.txt", b"not counted as an image")
    first_images.check(tmp_path, 0.0)


def test_thousands_have_separators(tmp_path: Path) -> None:
    for name in ("train/a", "train/b"):
        for number in range(1100):
            put(tmp_path / name / f"{number:04}.jpg", ERROR_PAGE)
    told = refused(tmp_path, allowed=0.5)
    assert "at least 1,101 of 2,200 images cannot be used" in told
    assert re.search(r" and 1,\d{3} more", told)
