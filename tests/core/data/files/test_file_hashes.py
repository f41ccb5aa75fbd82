import hashlib
import os
import time
from pathlib import Path

import pytest

from tasks.core.data.files import file_stats
from tasks.core.data.files.file_hashes import Hashes
from tasks.core.errors import DataError
from tasks.core.workspace import Workspace
from tests.support.sample_files import put


def hash_files(root: Path, workspace: Workspace, *, ignore_cache: bool = False) -> tuple[dict[str, str], int]:
    """Hash every file of `root`. Returns the hashes and how many files were read."""
    hashes = Hashes(root, workspace, ignore_cache=ignore_cache)
    files = file_stats.stats_table(
        root, (file_stats.file_stat(path.name, "", "", path.stat()) for path in root.iterdir())
    )
    digests = dict(zip(files["path"].to_pylist(), hashes.compute(files).to_pylist(), strict=True))
    hashes.remember()
    return digests, hashes.read


@pytest.fixture
def old_files(tmp_path: Path) -> Path:
    """Three files that were last modified an hour ago."""
    hour_ago = time.time() - 3600
    for name in ("a", "b", "c"):
        os.utime(put(tmp_path / "files" / name, name.encode()), (hour_ago, hour_ago))
    return tmp_path / "files"


def test_hashes_of_unchanged_files_are_cached(old_files: Path, workspace: Workspace) -> None:
    first, read = hash_files(old_files, workspace)
    assert first == {name: hashlib.sha256(name.encode()).hexdigest() for name in "abc"}
    assert read == 3
    assert hash_files(old_files, workspace) == (first, 0)
    assert hash_files(old_files, workspace, ignore_cache=True) == (first, 3)


def test_hashes_of_a_changed_file_are_computed_again(old_files: Path, workspace: Workspace) -> None:
    first, _ = hash_files(old_files, workspace)
    status = (old_files / "b").stat()
    (old_files / "b").write_bytes(b"B")  # same size
    # The old time, as rsync -t sets it.
    os.utime(old_files / "b", ns=(status.st_atime_ns, status.st_mtime_ns))
    second, read = hash_files(old_files, workspace)
    assert read == 1
    assert second["b"] == hashlib.sha256(b"B").hexdigest()
    assert {**second, "b": ""} == {**first, "b": ""}


def test_hashes_of_a_recently_modified_file_are_not_cached(tmp_path: Path, workspace: Workspace) -> None:
    put(tmp_path / "files" / "fresh", b"1")
    hash_files(tmp_path / "files", workspace)
    _, read = hash_files(tmp_path / "files", workspace)
    assert read == 1


def test_hashes_with_a_damaged_cache_are_computed_again(old_files: Path, workspace: Workspace) -> None:
    first, _ = hash_files(old_files, workspace)
    for path in (workspace.root / "raw" / ".hashes").iterdir():
        path.write_bytes(b"PAR1 no parquet")
    assert hash_files(old_files, workspace) == (first, 3)


def test_hashes_of_a_missing_file_raise_with_its_name(tmp_path: Path, workspace: Workspace) -> None:
    status = put(tmp_path / "there", b"x").stat()
    with pytest.raises(DataError, match=r"gone\.png cannot be read"):
        Hashes(tmp_path, workspace).compute(
            file_stats.stats_table(tmp_path, [file_stats.file_stat("gone.png", "", "", status)])
        )


def test_flipped_bit_in_the_remembered_hashes_changes_no_hash(
    old_files: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = hash_files(old_files, workspace)
    remembered = Hashes(old_files, workspace).file
    content = remembered.read_bytes()
    at = content.index(first["b"].encode()) + 10
    remembered.write_bytes(bytes([*content[:at], content[at] ^ 1, *content[at + 1 :]]))
    assert hash_files(old_files, workspace) == (first, 3)
    assert f"{remembered} is damaged" in caplog.text
    assert hash_files(old_files, workspace) == (first, 0)
