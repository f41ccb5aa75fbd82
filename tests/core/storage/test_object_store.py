"""The store against a real S3 server on the loopback (moto), with the faults that S3 has."""

from pathlib import Path

import pytest

from tasks.core.errors import NetworkError, UsageError
from tasks.core.storage import mirror, workspaces
from tasks.core.storage.object_store import Store, open_store
from tasks.core.workspace import Workspace
from tests.support.servers.s3_server import ADDRESS, Bucket


@pytest.fixture
def store(bucket: Bucket) -> Store:
    """The store of the empty bucket."""
    return open_store(ADDRESS)


def test_store_creates_an_object_once_and_lists_reads_and_removes_it(store: Store) -> None:
    assert store.create("a/b", b"mine")
    assert not store.create("a/b", b"another's")
    assert store.create("a/b", b"mine")  # a retry after a lost answer finds its own bytes
    assert store.read("a/b") == b"mine"
    assert store.read("a/c") is None
    assert store.listing("a") == {"a/b": 4}
    assert store.listing("b") == {}
    assert store.folders("") == ["a"]
    store.write("a/b", b"changed")
    assert store.read_many(["a/b"]) == {"a/b": b"changed"}
    store.remove(["a/b"])
    assert store.listing("") == {}


def test_create_after_a_lost_answer_succeeds(store: Store, bucket: Bucket) -> None:
    bucket.losing.add("a/b")
    assert store.create("a/b", b"mine")
    assert bucket.count("PUT", "a/b") == 2
    assert store.read("a/b") == b"mine"


def test_upload_then_download_gives_the_same_bytes(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 1000)
    store.upload(tmp_path / "file", "x/file")
    assert store.download("x/file", tmp_path / "new" / "file")
    assert (tmp_path / "new" / "file").read_bytes() == (tmp_path / "file").read_bytes()
    assert not store.download("x/nothing", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_open_workspace_without_conditional_writes_is_refused(bucket: Bucket) -> None:
    bucket.conditional = False
    with pytest.raises(UsageError, match="cannot hold a workspace") as caught:
        workspaces.open_workspace(ADDRESS)
    assert "If-None-Match" in caught.value.parts["expected"]
    assert bucket.objects() == {}


def test_open_workspace_checks_the_store_once_per_mirror(bucket: Bucket) -> None:
    workspaces.open_workspace(ADDRESS)
    assert bucket.count("PUT", r"\.probes/") == 2
    workspaces.open_workspace(ADDRESS)
    assert bucket.count("PUT", r"\.probes/") == 2
    assert bucket.objects() == {}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("s3://no-such-bucket/ws", "does not exist"),
        ("file:///tmp/ws", "cannot hold a workspace"),
        ("memory://ws", "cannot hold a workspace"),
        ("odd://ws", "has an unknown scheme"),
        ("adl://b/ws", "a package that is not installed"),
    ],
)
def test_open_workspace_at_an_unsuitable_address_is_refused(
    bucket: Bucket, address: str, expected: str
) -> None:
    with pytest.raises(UsageError, match=expected):
        workspaces.open_workspace(address)


def test_read_from_a_server_that_does_not_answer_is_a_network_error(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    bucket.gate = lambda *_: False
    with pytest.raises(NetworkError, match="could not be read") as caught:
        open_store(f"{ADDRESS}/impatient").read("a")
    assert "run again" in caught.value.parts["to do"]


def test_write_without_credentials_is_a_usage_error(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(UsageError, match="may not be written") as caught:
        open_store(f"{ADDRESS}/unsigned").check_conditional_create()
    assert "credentials" in caught.value.parts["to do"]


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("s3://bucket/team/ws/", "s3://bucket/team/ws"),
        (Path("s3://bucket/team/ws"), "s3://bucket/team/ws"),  # Path keeps one of the two slashes
        ("gs://bucket/ws", "gs://bucket/ws"),
    ],
)
def test_workspace_at_an_address_has_a_mirror(
    given: str | Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLUMBLINE_MIRROR", "/mirrors")
    workspace = Workspace.at(given)
    assert workspace.address == address
    assert workspace.root.parent == Path("/mirrors")
    assert workspace.root != Workspace.at("s3://bucket/team-ws").root


def test_workspace_at_a_folder_has_no_address(tmp_path: Path) -> None:
    assert Workspace.at(tmp_path / "s3:").address == ""
    assert Workspace.at("c:/photos").address == ""
    assert mirror.of_workspace(Workspace.at(tmp_path)) is None
