"""Archives of image folders as datasets, through the download and normalize stages."""

import bz2
import gzip
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.sources import acquire as acquire_module
from tasks.core.data.sources.resolve import name_of
from tasks.core.data.tensors import distributed_decode
from tasks.core.data.tensors.cache import read_rows
from tasks.core.data.tensors.distributed_decode import Portion
from tasks.core.data.tensors.normalize import normalize
from tasks.core.errors import ArchiveError, DataError, QuarantineError, UsageError
from tasks.core.stage.handles import RawDataset, TensorCache
from tasks.core.workspace import Workspace
from tests.support.image_archives import MODES, pack, tarred, two_classes
from tests.support.sample_files import encoded, files_below, noise, photos, put

LAYOUTS = {
    "classes": {"cat": 20, "dog/2023": 10, "dog/2024": 10},
    "splits": {f"{split}/{name}": 6 for split in ("train", "val", "test") for name in ("cat", "dog")},
}


def acquire(path: Path, workspace: Workspace, *, refresh: bool = False) -> RawDataset:
    return acquire_module.acquire(SourceSettings(str(path)), workspace, refresh=refresh)


def other_workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "other")


def files_of(tensors: TensorCache) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in tensors.directory.glob("*.*") if path.suffix != ".json"}


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "./", "holiday/", "./holiday/"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", MODES)
def test_archive_gives_the_same_dataset_as_its_folder(
    tmp_path: Path, workspace: Workspace, suffix: str, layout: str, prefix: str
) -> None:
    folder = photos(tmp_path / "in" / "photos", LAYOUTS[layout])
    put(folder / "readme.txt", b"x")
    shutil.copyfile(next(folder.rglob("*/cat/001.png"), folder / "cat" / "001.png"), folder / "photo")
    first = next(path for path in sorted(folder.rglob("002.png")))
    put(first.with_name("without-suffix"), encoded(noise(777)))
    put(first.with_name("movie.mp4"), b"\0\0\0\x18ftypmp42")
    put(folder / "__MACOSX" / "cat" / "._1.png", b"x")
    put(folder / "cat" / ".hidden.png", b"x") if layout == "classes" else None
    expected = normalize(acquire(folder, workspace), NormalizeSettings(), workspace)
    other = other_workspace(tmp_path)
    archive = pack(folder, tmp_path / f"photos{suffix}", prefix)
    before = sorted(tmp_path.iterdir())
    raw = acquire(archive, other)
    tensors = normalize(raw, NormalizeSettings(), other)
    assert (raw.dataset, raw.format, raw.images) == ("photos", "archive", sum(LAYOUTS[layout].values()) + 1)
    assert raw.digest == acquire(folder, other).digest
    assert files_of(tensors) == files_of(expected)
    assert tensors.digest == expected.digest
    assert {*before, other.root} >= set(tmp_path.iterdir())  # nothing was unpacked beside the archive


def test_folder_and_archive_in_one_workspace_share_the_tensors(tmp_path: Path, workspace: Workspace) -> None:
    folder = photos(tmp_path / "photos", LAYOUTS["classes"])
    first = normalize(acquire(folder, workspace), NormalizeSettings(), workspace)
    times = {path: path.stat().st_mtime_ns for path in first.directory.iterdir()}
    raw = acquire(pack(folder, tmp_path / "photos.zip"), workspace)
    assert normalize(raw, NormalizeSettings(), workspace) == first
    assert {path: path.stat().st_mtime_ns for path in first.directory.iterdir()} == times


def test_larger_archive_reuses_the_tensors_of_the_folder(tmp_path: Path, workspace: Workspace) -> None:
    folder = photos(tmp_path / "photos", LAYOUTS["classes"])
    normalize(acquire(folder, workspace), NormalizeSettings(), workspace)
    photos(folder, {"dog/2025": 5}, seed=1000)
    raw = acquire(pack(folder, tmp_path / "photos.tar"), workspace)
    assert normalize(raw, NormalizeSettings(), workspace).manifest["facts"]["decoded"] == 5


def test_archive_without_the_packed_folder_called_train_keeps_its_meaning(
    tmp_path: Path, workspace: Workspace
) -> None:
    """`train/<class>/*` is a split as a folder, and so it is in an archive."""
    folder = photos(tmp_path / "photos", {"train/cat": 10, "train/dog": 10})
    raw = acquire(pack(folder, tmp_path / "photos.zip"), workspace)
    assert raw.digest == acquire(folder, workspace).digest


def test_unchanged_archive_is_not_read_again(tmp_path: Path, workspace: Workspace) -> None:
    archive = pack(photos(tmp_path / "photos", {"cat": 3, "dog": 3}), tmp_path / "photos.tar.gz")
    raw = acquire(archive, workspace)
    (copy,) = workspace.downloads.rglob("*.tar")
    inode = copy.stat().st_ino
    assert acquire(archive, workspace) == raw
    assert copy.stat().st_ino == inode
    assert acquire(archive, workspace, refresh=True) == raw
    assert copy.stat().st_ino != inode


@pytest.mark.parametrize("suffix", MODES)
def test_changed_archive_is_another_dataset(tmp_path: Path, workspace: Workspace, suffix: str) -> None:
    folder = photos(tmp_path / "photos", {"cat": 3, "dog": 3})
    archive = tmp_path / f"photos{suffix}"
    before = acquire(pack(folder, archive), workspace)
    photos(folder, {"cat": 1}, seed=99)
    after = acquire(pack(folder, archive), workspace)
    assert (before.images, after.images) == (6, 6)
    assert before.digest != after.digest == acquire(folder, workspace).digest
    assert len([*workspace.downloads.rglob("*.tar")]) <= 1  # the copy was replaced


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_archive_that_changes_after_it_was_listed_is_quarantined(
    tmp_path: Path, workspace: Workspace, suffix: str
) -> None:
    folder = photos(tmp_path / "photos", {"cat": 10, "dog": 10})
    raw = acquire(pack(folder, tmp_path / f"photos{suffix}"), workspace)
    shutil.copyfile(folder / "cat" / "001.png", folder / "cat" / "000.png")
    (folder / "dog" / "000.png").unlink()
    pack(folder, tmp_path / f"photos{suffix}")
    with pytest.raises(QuarantineError, match="2 of 20 images") as error:
        normalize(raw, NormalizeSettings(), workspace)
    assert "changed after it was listed" in error.value.parts["found"]


def test_damaged_image_in_an_archive_is_quarantined(tmp_path: Path, workspace: Workspace) -> None:
    folder = photos(tmp_path / "photos", {"cat": 20, "dog": 20})
    put(folder / "cat" / "000.png", (folder / "cat" / "000.png").read_bytes()[:99])
    raw = acquire(pack(folder, tmp_path / "photos.zip"), workspace)
    assert normalize(raw, NormalizeSettings(max_quarantine=0.1), workspace).quarantined == 1


def test_archive_decoded_in_portions_gives_the_same_tensors(tmp_path: Path, workspace: Workspace) -> None:
    raw = acquire(pack(photos(tmp_path / "photos", LAYOUTS["classes"]), tmp_path / "photos.zip"), workspace)
    expected = files_of(normalize(raw, NormalizeSettings(), workspace))

    def work(portions: Sequence[Portion]) -> Iterator[Portion]:
        for portion in portions:
            distributed_decode.decode(portion, workspace)
            yield portion

    tensors = normalize(raw, NormalizeSettings(), workspace, refresh=True, work=work, portion=7)
    assert files_of(tensors) == expected


def test_corrections_of_an_archive(tmp_path: Path, workspace: Workspace) -> None:
    archive = pack(photos(tmp_path / "photos", {"cat": 20, "dog": 20}), tmp_path / "photos.zip")
    table = put(tmp_path / "fixes.csv", b"path,class_name\ncat/000.png,dog\n")
    source = SourceSettings(str(archive), corrections=table)
    tensors = normalize(acquire_module.acquire(source, workspace), NormalizeSettings(), workspace)
    rows = read_rows(tensors, ["path", "class_name"]).to_pylist()
    assert {"path": "cat/000.png", "class_name": "dog"} in rows


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar", "photos.tar.gz"])
def test_archive_in_a_wrong_layout_is_refused(tmp_path: Path, workspace: Workspace, name: str) -> None:
    archive = pack(photos(tmp_path / "photos", {"cat": 3}), tmp_path / name)
    with pytest.raises(DataError, match="has only one class"):
        acquire(archive, workspace)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(600), "begins with b'\\x89PNG"),
        (b"<html>not found</html>", "begins with b'<html>no'"),
        (b"", "an empty file"),
    ],
)
@pytest.mark.parametrize("suffix", MODES)
def test_file_that_is_no_archive_is_refused(
    tmp_path: Path, workspace: Workspace, suffix: str, content: bytes, found: str
) -> None:
    with pytest.raises(ArchiveError, match="is no archive") as error:
        acquire(put(tmp_path / f"photos{suffix}", content), workspace)
    assert ".zip, .tar, .tar.gz" in error.value.parts["expected"]
    assert found in error.value.parts["found"]
    assert files_below(workspace.root) == []


def test_archive_of_another_suffix_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="No images can be read") as error:
        acquire(put(tmp_path / "photos.rar", b"Rar!"), workspace)
    assert ".zip" in error.value.parts["expected"]


@pytest.mark.parametrize("suffix", MODES)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.75])
def test_truncated_archive_is_refused(
    tmp_path: Path, workspace: Workspace, suffix: str, share: float
) -> None:
    whole = pack(photos(tmp_path / "photos", {"cat": 9, "dog": 9}), tmp_path / f"whole{suffix}").read_bytes()
    archive = put(tmp_path / f"photos{suffix}", whole[: int(len(whole) * share)])
    with pytest.raises(ArchiveError):
        acquire(archive, workspace)
    assert files_below(workspace.root) == []


def test_tar_in_two_compressions_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    tar = tarred(tmp_path / "photos.tar", two_classes()).read_bytes()
    archive = put(tmp_path / "photos.tar.gz", gzip.compress(gzip.compress(tar)))
    with pytest.raises(ArchiveError, match="no random access"):
        acquire(archive, workspace)


@pytest.mark.slow
def test_compressed_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path, workspace: Workspace) -> None:
    archive = put(tmp_path / "photos.tar.bz2", bz2.compress(bytes(400 << 20), 9))
    assert archive.stat().st_size < 1000
    with pytest.raises(ArchiveError, match="unpacks to too much"):
        acquire(archive, workspace)
    assert files_below(workspace.root) == []


def test_archives_are_named_like_their_folder(tmp_path: Path) -> None:
    names = {name_of(tmp_path / f"My Photos{suffix}") for suffix in (*MODES, ".ZIP", ".Tar.Gz")}
    assert names == {name_of(tmp_path / "My Photos")} == {"my-photos"}
