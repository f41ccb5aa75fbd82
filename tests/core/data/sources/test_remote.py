"""Files at addresses: memory:// for fsspec, a local server for http."""

import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import fsspec
import pytest
from fsspec.registry import _registry

from tasks.core.config import SourceSettings
from tasks.core.data.sources import acquire as acquire_module
from tasks.core.data.sources import resolve
from tasks.core.errors import NetworkError, UsageError
from tasks.core.stage.handles import RawDataset
from tasks.core.workspace import Workspace
from tests.support.image_archives import pack
from tests.support.sample_files import files_below, parquet, photos, put

CATS = ("cat", "dog", "eel")


def acquire(address: str, workspace: Workspace) -> RawDataset:
    return acquire_module.acquire(SourceSettings(address), workspace)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    parquet(tmp_path / "pets" / "data" / "train-0.parquet", [0, 1, 2] * 10, names=CATS)
    parquet(tmp_path / "pets" / "data" / "test-0.parquet", [0, 1, 2] * 4, names=CATS, seed=1000)
    put(tmp_path / "pets" / "README.md", b"# pets")
    return tmp_path / "pets"


@pytest.fixture
def memory(pets: Path) -> Iterator[str]:
    system = fsspec.filesystem("memory")
    system.put(str(pets), "/pets", recursive=True)
    yield "memory://pets"
    system.rm("/pets", recursive=True)


def test_acquire_folder_at_an_address_equals_the_local_folder(
    pets: Path, memory: str, workspace: Workspace
) -> None:
    remote, local = acquire(memory, workspace), acquire(str(pets), workspace)
    assert remote.digest == local.digest
    assert not remote.root.startswith("/")  # the copies are moved with the workspace
    assert (remote.dataset, remote.format, remote.images) == ("pets", "parquet", 42)


def test_acquire_unchanged_address_is_not_copied_again(memory: str, workspace: Workspace) -> None:
    first = acquire(memory, workspace)
    copies = {path: path.stat().st_ino for path in workspace.downloads.rglob("*.parquet")}
    assert len(copies) == 2
    assert acquire(memory, workspace) == first
    assert {path: path.stat().st_ino for path in workspace.downloads.rglob("*.parquet")} == copies


def test_acquire_changed_address_is_copied_again(pets: Path, memory: str, workspace: Workspace) -> None:
    first = acquire(memory, workspace)
    other = parquet(pets / "data" / "test-0.parquet", [0, 1, 2] * 4, names=CATS, seed=5000)
    fsspec.filesystem("memory").put(str(other), "/pets/data/test-0.parquet")
    second = acquire(memory, workspace)
    assert second.digest != first.digest
    assert second.digest == acquire(str(pets), workspace).digest


def test_acquire_removed_remote_file_is_removed_locally(
    pets: Path, memory: str, workspace: Workspace
) -> None:
    acquire(memory, workspace)
    fsspec.filesystem("memory").rm("/pets/data/test-0.parquet")
    assert acquire(memory, workspace).images == 30


def test_acquire_single_file_at_an_address(memory: str, workspace: Workspace) -> None:
    assert acquire(f"{memory}/data/train-0.parquet", workspace).images == 30


def test_acquire_file_address_is_a_path(pets: Path, workspace: Workspace) -> None:
    assert acquire(f"file://{pets}", workspace).root == str(pets)


def test_acquire_empty_address_is_refused(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match=r"has no \.parquet file|nothing at"):
        acquire("memory://nowhere", workspace)
    assert files_below(workspace.root) == []


@pytest.mark.parametrize(
    ("address", "package"),
    [
        ("hf://datasets/uoft-cs/cifar10", "huggingface_hub"),
        ("s3://bucket/pets", "s3fs"),
        ("gs://bucket/pets", "gcsfs"),
    ],
)
def test_acquire_missing_package_raises_with_its_name(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, address: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # importing it then raises ImportError
    monkeypatch.delitem(_registry, urlsplit(address).scheme, raising=False)  # loaded by an earlier test
    with pytest.raises(UsageError, match=f"not installed: {package}") as error:
        acquire(address, workspace)
    assert error.value.parts["to do"] == f"pip install {package}"


def test_acquire_unknown_scheme_is_refused(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="unknown scheme"):
        acquire("carrier-pigeon://loft/pets.parquet", workspace)


class Pages(SimpleHTTPRequestHandler):
    """Serves a folder. /broken/* announces more than it sends, /busy/* always responds with 503."""

    def do_HEAD(self) -> None:
        if not self._fault(b""):
            super().do_HEAD()

    def do_GET(self) -> None:
        if not self._fault(b"PAR1 and then silence"):
            super().do_GET()

    def _fault(self, body: bytes) -> bool:
        if self.path.startswith("/busy/"):
            self.send_error(503)
        elif self.path.startswith("/broken/"):
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(body)
        else:
            return False
        return True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, directory=str(tmp_path))) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_acquire_http_file_is_copied_once(pets: Path, server: str, workspace: Workspace) -> None:
    remote = acquire(f"{server}/pets/data/train-0.parquet", workspace)
    assert remote.digest == acquire(str(pets / "data" / "train-0.parquet"), workspace).digest
    (copy,) = workspace.downloads.rglob("*.parquet")
    inode = copy.stat().st_ino
    acquire(f"{server}/pets/data/train-0.parquet", workspace)
    assert copy.stat().st_ino == inode  # Last-Modified is unchanged


@pytest.mark.parametrize("name", ["birds.zip", "birds.tar.xz"])
def test_acquire_http_archive_is_the_dataset_of_its_folder(
    tmp_path: Path, server: str, workspace: Workspace, name: str
) -> None:
    folder = photos(tmp_path / "birds", {"crow": 3, "kite": 3})
    pack(folder, tmp_path / name)
    assert acquire(f"{server}/{name}", workspace).digest == acquire(str(folder), workspace).digest


@pytest.mark.parametrize(
    ("path", "error_type", "message"),
    [
        ("/pets/none.parquet", UsageError, "does not return a file"),
        ("/pets/data/", UsageError, "not the address of a parquet file"),
        ("/broken/x.parquet", NetworkError, "could not be read"),
        ("/busy/x.parquet", NetworkError, "does not respond as expected"),
    ],
)
def test_acquire_http_fault_raises(
    server: str, workspace: Workspace, path: str, error_type: type[Exception], message: str
) -> None:
    with pytest.raises(error_type, match=message):
        acquire(server + path, workspace)
    assert files_below(workspace.root) == []


def test_acquire_unreachable_host_raises_network_error(workspace: Workspace) -> None:
    with pytest.raises(NetworkError, match="could not be read"):
        acquire("http://127.0.0.1:9/pets.parquet", workspace)  # the discard port: nothing listens


# --- formats and names of paths ---


def test_detect_format_of_folders(tmp_path: Path) -> None:
    parquet(tmp_path / "hub" / "data" / "train-0.parquet", [0, 1], names=CATS)
    photos(tmp_path / "flat", {"cat": 1, "dog": 1})
    photos(tmp_path / "split", {"train/cat": 1, "train/dog": 1})
    photos(tmp_path / "both", {"cat": 1, "dog": 1})
    parquet(tmp_path / "both" / "extra.parquet", [0, 1], names=CATS)
    (tmp_path / "empty").mkdir()
    formats = {
        name: resolve.detect_format(tmp_path / name) for name in ("hub", "flat", "split", "both", "empty")
    }
    assert formats == {
        "hub": "parquet",
        "flat": "folder",
        "split": "folder",
        "both": "folder",
        "empty": "folder",
    }


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (Path("/data/My Photos (2024)"), "my-photos-2024"),
        (Path("/data/pets.parquet"), "pets"),
        (Path("/data/pets.csv"), "pets"),
        (Path("/data/v1.2"), "v1.2"),
        ("hf://datasets/uoft-cs/cifar10", "cifar10"),
        ("https://example.org/a/pets.parquet", "pets"),
        (Path("/"), "folder"),
    ],
)
def test_name_of_paths_and_addresses(source: Path | str, name: str) -> None:
    assert resolve.name_of(source) == name
