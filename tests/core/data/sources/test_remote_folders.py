"""Image folders and archives at addresses: memory:// and a real S3 server."""

import resource
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.sources import acquire as acquire_module
from tasks.core.data.sources import remote_copies
from tasks.core.data.tensors.normalize import normalize
from tasks.core.errors import DataError, NetworkError, UsageError
from tasks.core.stage.handles import RawDataset
from tasks.core.workspace import Workspace
from tests.support.image_archives import pack
from tests.support.sample_files import encoded, files_below, noise, parquet, photos, put
from tests.support.servers.s3_server import NAME, Bucket


def acquire(address: str | Path, workspace: Workspace) -> RawDataset:
    return acquire_module.acquire(SourceSettings(str(address)), workspace)


def copies(workspace: Workspace) -> list[str]:
    """Names of the copied files."""
    (folder,) = (path for path in workspace.downloads.iterdir() if path.is_dir())
    return [name for name in files_below(folder) if name != remote_copies.TAGS_FILE]


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    folder = photos(tmp_path / "pets", {"cat": 20, "dog/2024": 20})
    for name in ("readme.txt", "cat/notes.txt", "cat/.hidden.png", "__MACOSX/cat/1.png", "cover.png"):
        put(folder / name, b"x")
    put(folder / "cat" / "without-suffix", encoded(noise(777)))
    put(folder / "cat" / "empty", b"")
    return folder


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture
def remote_pets(pets: Path, memory: fsspec.AbstractFileSystem) -> str:
    memory.put(str(pets), "/pets", recursive=True)
    return "memory://pets"


@pytest.mark.parametrize("suffix", ["", "/"])
def test_folder_at_an_address_is_the_dataset_of_the_local_folder(
    pets: Path, remote_pets: str, workspace: Workspace, suffix: str
) -> None:
    remote, local = acquire(remote_pets + suffix, workspace), acquire(pets, workspace)
    assert (remote.digest, remote.images) == (local.digest, 41)
    assert (remote.dataset, remote.format) == ("pets", "folder")
    assert not remote.root.startswith("/")  # the copies are moved with the workspace
    assert len(copies(workspace)) == 41  # only images in class folders were copied
    tensors = normalize(remote, NormalizeSettings(), workspace)
    assert tensors.train + tensors.val + tensors.test == 41


def test_splits_of_a_folder_at_an_address(
    tmp_path: Path, memory: fsspec.AbstractFileSystem, workspace: Workspace
) -> None:
    folder = photos(tmp_path / "pets", {f"{split}/{name}": 4 for split in ("train", "test") for name in "ab"})
    memory.put(str(folder), "/pets", recursive=True)
    assert acquire("memory://pets", workspace).digest == acquire(folder, workspace).digest


def test_unchanged_files_are_not_copied_again(
    pets: Path, remote_pets: str, memory: fsspec.AbstractFileSystem, workspace: Workspace
) -> None:
    acquire(remote_pets, workspace)
    times = {path: path.stat().st_mtime_ns for path in workspace.downloads.rglob("*.png")}
    photos(pets, {"cat": 1}, seed=999)
    memory.put(str(pets / "cat" / "000.png"), "/pets/cat/000.png")
    assert acquire(remote_pets, workspace).digest == acquire(pets, workspace).digest
    after = {path: path.stat().st_mtime_ns for path in workspace.downloads.rglob("*.png")}
    assert [path.name for path in times if times[path] != after[path]] == ["000.png"]


def test_files_and_classes_that_are_gone_are_removed(
    remote_pets: str, memory: fsspec.AbstractFileSystem, workspace: Workspace
) -> None:
    memory.pipe("/pets/eel/1.png", b"x")
    assert acquire(remote_pets, workspace).images == 42
    memory.rm("/pets/eel", recursive=True)
    memory.rm("/pets/cat/000.png")
    assert acquire(remote_pets, workspace).images == 40
    assert not list(workspace.downloads.rglob("eel"))


def test_wrong_layout_is_refused_before_anything_is_copied(
    memory: fsspec.AbstractFileSystem, workspace: Workspace
) -> None:
    memory.pipe("/pets/cat/1.png", b"x")
    with pytest.raises(DataError, match="pets has only one class"):
        acquire("memory://pets", workspace)
    assert files_below(workspace.root) == []


@pytest.mark.parametrize(
    "name",
    [
        *("cat/../../../evil.png", "../evil.png", "cat//1.png", "cat\\..\\1.png", "./1.png"),
        *("../evil.parquet", "/evil.parquet", "shards/../../../evil.parquet"),
    ],
)
def test_listing_that_leads_out_of_its_folder_is_refused(
    tmp_path: Path, remote_pets: str, memory: fsspec.AbstractFileSystem, workspace: Workspace, name: str
) -> None:
    before = files_below(tmp_path)
    memory.store[f"/pets/{name}"] = MemoryFile(memory, f"/pets/{name}", b"x")
    with pytest.raises(DataError, match="memory://pets has a file whose name") as error:
        acquire(remote_pets, workspace)
    assert error.value.parts["found"] == repr(name)
    assert files_below(tmp_path) == before


def test_name_of_a_file_and_of_a_folder_is_refused(
    remote_pets: str, memory: fsspec.AbstractFileSystem, workspace: Workspace
) -> None:
    """An object store may have both; a folder may not."""
    memory.store["/pets/cat/000.png/1.png"] = MemoryFile(memory, "/pets/cat/000.png/1.png", b"x")
    with pytest.raises(DataError, match="as a file and as a folder"):
        acquire(remote_pets, workspace)


def test_parquet_files_come_before_images(
    tmp_path: Path, remote_pets: str, memory: fsspec.AbstractFileSystem, workspace: Workspace
) -> None:
    """As before images were read: a repository of parquet files may have pictures in its description."""
    memory.put(str(parquet(tmp_path / "train-0.parquet", ["a", "b"] * 10)), "/pets/train-0.parquet")
    raw = acquire(remote_pets, workspace)
    assert (raw.format, raw.images, copies(workspace)) == ("parquet", 20, ["train-0.parquet"])


@pytest.mark.parametrize("name", ["pets.zip", "pets.tar", "pets.tar.gz"])
def test_archive_at_an_address_is_the_dataset_of_its_folder(
    tmp_path: Path, pets: Path, memory: fsspec.AbstractFileSystem, workspace: Workspace, name: str
) -> None:
    memory.put(str(pack(pets, tmp_path / name)), f"/{name}")
    raw = acquire(f"memory://{name}", workspace)
    assert (raw.digest, raw.dataset) == (acquire(pets, workspace).digest, "pets")
    assert not raw.root.startswith("/")
    tensors = normalize(raw, NormalizeSettings(), workspace)
    assert tensors.train + tensors.val + tensors.test == 41


def test_file_of_another_kind_at_an_address_is_refused(
    memory: fsspec.AbstractFileSystem, workspace: Workspace
) -> None:
    memory.pipe("/pets.csv", b"path,label")
    with pytest.raises(UsageError, match="not the address of a parquet file or an archive"):
        acquire("memory://pets.csv", workspace)


# --- a real S3 server ---


@pytest.fixture
def bucket_pets(bucket: Bucket, pets: Path, tmp_path: Path) -> Iterator[str]:
    """The folder in the bucket, beside an object that marks a folder, as consoles make it."""
    for path in sorted(pets.rglob("*")):
        if path.is_file():
            name = f"sets/pets/{path.relative_to(pets).as_posix()}"
            bucket.client.put_object(Bucket=NAME, Key=name, Body=path.read_bytes())
    bucket.client.put_object(Bucket=NAME, Key="sets/pets/cat/", Body=b"")
    fsspec.filesystem("s3").clear_instance_cache()
    bucket.requests.clear()
    yield f"s3://{NAME}/sets/pets"
    fsspec.filesystem("s3").clear_instance_cache()


@pytest.mark.slow
def test_folder_on_s3_is_the_dataset_of_the_local_folder(
    pets: Path, bucket_pets: str, workspace: Workspace
) -> None:
    remote, local = acquire(bucket_pets, workspace), acquire(pets, workspace)
    assert (remote.digest, remote.format, remote.images) == (local.digest, "folder", 41)
    assert len(copies(workspace)) == 41


@pytest.mark.slow
def test_unchanged_images_on_s3_are_not_asked_for_and_new_ones_are(
    pets: Path, bucket: Bucket, bucket_pets: str, workspace: Workspace
) -> None:
    acquire(bucket_pets, workspace)
    images = [name for method, name in bucket.requests if method == "GET" and name.endswith(".png")]
    assert len(images) == len(set(images)) == 40  # one request each
    path = photos(pets, {"eel": 1}, seed=999) / "eel" / "000.png"
    bucket.client.put_object(Bucket=NAME, Key="sets/pets/eel/000.png", Body=path.read_bytes())
    bucket.requests.clear()
    assert acquire(bucket_pets, workspace).digest == acquire(pets, workspace).digest
    assert [name for _, name in bucket.requests if name.endswith(".png")] == ["sets/pets/eel/000.png"]


@pytest.mark.slow
def test_archive_on_s3_is_the_dataset_of_the_local_folder(
    tmp_path: Path, pets: Path, bucket: Bucket, bucket_pets: str, workspace: Workspace
) -> None:
    body = pack(pets, tmp_path / "pets.zip").read_bytes()
    bucket.client.put_object(Bucket=NAME, Key="sets/pets.zip", Body=body)
    assert acquire(f"{bucket_pets}.zip", workspace).digest == acquire(pets, workspace).digest


@pytest.mark.slow
def test_copy_that_broke_off_goes_on_where_it_was(
    pets: Path, bucket: Bucket, bucket_pets: str, workspace: Workspace
) -> None:
    """The server does not give one image; the others that were copied are not copied again."""
    missing = "sets/pets/dog/2024/019.png"
    bucket.gate = lambda method, name: not (method == "GET" and name == missing)
    with pytest.raises(NetworkError):
        acquire(bucket_pets, workspace)
    times = {path: path.stat().st_mtime_ns for path in workspace.downloads.rglob("*.png")}
    assert len(times) == 39
    bucket.gate = lambda *_: True
    assert acquire(bucket_pets, workspace).digest == acquire(pets, workspace).digest
    assert {path: path.stat().st_mtime_ns for path in times} == times


# --- errors of this machine ---


def test_copy_that_cannot_be_written_is_no_network_error(remote_pets: str, workspace: Workspace) -> None:
    """A network error would be retried. The limit stands for a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            acquire(remote_pets, workspace)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_parquet_suffix_in_capitals_at_an_address_is_read(
    tmp_path: Path, memory: fsspec.AbstractFileSystem, workspace: Workspace
) -> None:
    for name in ("train-0.parquet", "train-1.PARQUET"):
        memory.put(str(parquet(tmp_path / name, [0, 1] * 5)), f"/tables/{name}")
    assert acquire("memory://tables", workspace).images == 20
