"""A folder as it comes from a phone: every photo is used, and everything else is named."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.readers import factory
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.cache import open_split
from tasks.core.errors import QuarantineError
from tasks.core.stage.handles import RawDataset, TensorCache
from tasks.core.workspace import Workspace
from tests.support.sample_files import encoded, heic, noise, photos, put, smooth

MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(100)


def listed(root: Path, workspace: Workspace) -> RawDataset:
    return acquire.acquire(SourceSettings(str(root)), workspace)


def normalized(root: Path, workspace: Workspace, **settings: float) -> TensorCache:
    return normalize.normalize(listed(root, workspace), NormalizeSettings(**settings), workspace)


def quarantined(handle: RawDataset | TensorCache) -> dict[str, str]:
    table = pd.read_parquet(handle.directory / "quarantine.parquet")
    assert set(table["done"]) <= {"left out; the file is unchanged"}
    return dict(zip(table["path"], table["reason"], strict=True))


def phone_folder(root: Path) -> set[str]:
    """Two classes of PNGs, and a photo of each other format. Returns the paths of the photos."""
    photos(root, {"cat": 20, "dog": 20})
    scene = smooth(32, 32)
    for name, content in {
        "IMG_1.HEIC": heic(scene, 6),
        "IMG_2.heif": heic(noise(901)),
        "IMG_3.jpg": heic(noise(902)),  # renamed
        "IMG_4": heic(noise(903)),
        "IMG_5.avif": encoded(scene, "AVIF"),
        "IMG_6.MPO": encoded(noise(904), "MPO"),
        "IMG_7.jfif": encoded(noise(905), "JPEG"),
        "IMG_8.jpe": encoded(noise(906), "JPEG"),
        "IMG_9.jp2": encoded(noise(907), "JPEG2000"),
        "IMG_10.j2k": encoded(noise(908), "JPEG2000", no_jp2=True),
        "IMG_11": encoded(noise(909), "WEBP"),
        "IMG_12.bak": encoded(noise(910), "GIF"),
    }.items():
        put(root / "cat" / name, content)
    return {path.relative_to(root).as_posix() for path in root.rglob("*.*") if path.is_file()} | {
        *("cat/IMG_4", "cat/IMG_11")
    }


def add_other_files(root: Path) -> dict[str, str]:
    """Files of a phone and of a file manager that are no images. Returns the reasons by path."""
    for name in ("IMG_1.MOV", "IMG_2.mp4", "clip"):
        put(root / "dog" / name, MP4)
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._IMG_1.HEIC", "IMG_1.AAE"):
        put(root / "dog" / name, b"<?xml version='1.0' encoding='UTF-8'?>")
    put(root / "notes.txt", b"taken in May")
    video, windows = "a video (MP4): not an image", "a system file of Windows: not an image"
    return {
        **dict.fromkeys(("dog/IMG_1.MOV", "dog/IMG_2.mp4", "dog/clip"), video),
        **dict.fromkeys(("dog/Thumbs.db", "dog/desktop.ini"), windows),
        **dict.fromkeys(("dog/.DS_Store", "dog/._IMG_1.HEIC"), "a system file of macOS: not an image"),
        **dict.fromkeys(("dog/IMG_1.AAE", "notes.txt"), "a text: not an image"),
    }


def test_normalize_phone_folder_uses_every_photo_and_names_the_rest(
    tmp_path: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """The other files, a sixth of all, do not count towards `max_quarantine`, which is 1 % here."""
    root = tmp_path / "phone"
    images, other = phone_folder(root), add_other_files(root)
    raw = listed(root, workspace)
    assert (raw.images, raw.unused_files) == (len(images), len(other)) == (52, 9)
    assert str(raw) == "phone: 52 images, 9 other files"
    assert quarantined(raw) == other
    assert (
        "a video (MP4) (3), a system file of macOS (2), a text (2), a system file of Windows (2)"
        in caplog.text
    )
    cache = normalize.normalize(raw, NormalizeSettings(), workspace)
    rows = pd.read_parquet(cache.directory / "rows.parquet").set_index("path")
    assert set(rows.index) == images
    assert (cache.quarantined, quarantined(cache)) == (0, {})
    turned = rows.loc["cat/IMG_1.HEIC"]
    image = open_split(cache, turned["split"]).images[turned["row"]]
    expected = np.rot90(smooth(32, 32), -1)  # orientation 6: a viewer turns it clockwise
    assert np.abs(image.astype(int) - expected).max() <= 2


def test_normalize_other_files_make_no_new_tensors(tmp_path: Path, workspace: Workspace) -> None:
    """A note or a video beside the photos is named, and no model is trained again."""
    root = tmp_path / "phone"
    phone_folder(root)
    clean_raw, clean = listed(root, workspace), normalized(root, workspace)
    other = add_other_files(root)
    raw, cache = listed(root, workspace), normalized(root, workspace)
    assert raw.digest != clean_raw.digest
    assert raw.images_digest == clean_raw.images_digest == clean_raw.digest
    assert cache == clean
    (root / "notes.txt").unlink()
    assert quarantined(listed(root, workspace)) == {
        path: reason for path, reason in other.items() if path != "notes.txt"
    }
    put(root / "dog" / "new", encoded(noise(999)))
    assert normalized(root, workspace).digest != clean.digest


def test_normalize_corrected_dataset_keeps_the_table_of_other_files(
    tmp_path: Path, workspace: Workspace
) -> None:
    root = tmp_path / "phone"
    phone_folder(root)
    corrections = put(tmp_path / "corrections.csv", b"path,class_name\ndog/000.png,cat\n")
    source = SourceSettings(str(root), corrections=corrections)
    clean = acquire.acquire(source, workspace)
    other = add_other_files(root)
    raw = acquire.acquire(source, workspace)
    assert quarantined(raw) == other
    assert raw.images_digest == clean.images_digest


def test_normalize_images_that_cannot_be_decoded_still_count(tmp_path: Path, workspace: Workspace) -> None:
    root = tmp_path / "phone"
    phone_folder(root)
    put(root / "cat" / "IMG_20.jxl", b"\xff\x0a" + bytes(50))
    put(root / "cat" / "IMG_21", encoded(noise(1))[:60])
    put(root / "cat" / "IMG_22.jpg", MP4)
    with pytest.raises(QuarantineError, match="3 of 55 images") as error:
        normalized(root, workspace)
    assert "cat/IMG_20.jxl: JPEG XL: Pillow does not read it" in error.value.parts["found"]
    assert "cat/IMG_22.jpg: a video (MP4): not an image" in error.value.parts["found"]
    assert len(quarantined(normalized(root, workspace, max_quarantine=0.06))) == 3


def test_normalize_heic_is_read_once_its_extra_is_installed(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version of pillow-heif is an ingredient only where there may be HEIC files."""
    root, plain = tmp_path / "phone", photos(tmp_path / "plain", {"cat": 20, "dog": 20})
    phone_folder(root)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
        assert "pillow-heif" not in factory.libraries(listed(root, workspace))
        before, plain_before = normalized(root, workspace, max_quarantine=0.1), normalized(plain, workspace)
        assert quarantined(before) == dict.fromkeys(
            ("cat/IMG_1.HEIC", "cat/IMG_2.heif", "cat/IMG_3.jpg", "cat/IMG_4"),
            "HEIC: pip install -e '.[heif]' to read it",
        )
    assert "pillow-heif" in factory.libraries(listed(root, workspace))
    after = normalized(root, workspace, max_quarantine=0.1)
    assert (after.quarantined, after.train + after.val + after.test) == (0, 52)
    assert normalized(plain, workspace) == plain_before
