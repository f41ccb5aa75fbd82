"""The store against a real S3 server on the loopback (moto), with the faults that S3 has."""

from pathlib import Path

import pytest

from tasks.core.errors import NetworkError, UsageError
from tasks.core.storage import mirror
from tasks.core.storage.object_store import Store, open_store
from tasks.core.workspace import Workspace
from tests.support.s3_server import ADDRESS, Bucket


@pytest.fixture
def store(bucket: Bucket) -> Store:
    return open_store(ADDRESS)


def test_an_object_is_created_once(store: Store) -> None:
    assert store.create("a/b", b"mine")
    assert not store.create("a/b", b"another's")
    assert store.create("a/b", b"mine")  # what a second try after a lost answer would find
    assert store.read("a/b") == b"mine"
    assert store.read("a/c") is None
    assert store.listing("a") == {"a/b": 4}
    assert store.listing("b") == {}
    assert store.folders("") == ["a"]
    store.write("a/b", b"changed")
    assert store.read_many(["a/b"]) == {"a/b": b"changed"}
    store.remove(["a/b"])
    assert store.listing("") == {}


def test_a_lost_answer_does_not_make_a_creation_fail(store: Store, bucket: Bucket) -> None:
    bucket.losing.add("a/b")
    assert store.create("a/b", b"mine")
    assert bucket.count("PUT", "a/b") == 2
    assert store.read("a/b") == b"mine"


def test_files_go_up_and_come_down(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 1000)
    store.upload(tmp_path / "file", "x/file")
    assert store.download("x/file", tmp_path / "new" / "file")
    assert (tmp_path / "new" / "file").read_bytes() == (tmp_path / "file").read_bytes()
    assert not store.download("x/nothing", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_store_without_conditions_is_refused(bucket: Bucket) -> None:
    bucket.conditional = False
    with pytest.raises(UsageError, match="cannot hold a workspace") as caught:
        mirror.open_workspace(ADDRESS)
    assert "If-None-Match" in caught.value.parts["expected"]
    assert bucket.objects() == {}


def test_a_mirror_asks_once_whether_the_store_will_do(bucket: Bucket) -> None:
    mirror.open_workspace(ADDRESS)
    assert bucket.count("PUT", r"\.probes/") == 2
    mirror.open_workspace(ADDRESS)
    assert bucket.count("PUT", r"\.probes/") == 2
    assert bucket.objects() == {}


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("s3://no-such-bucket/ws", "is not there"),
        ("file:///tmp/ws", "cannot hold a workspace"),
        ("memory://ws", "cannot hold a workspace"),
        ("odd://ws", "of an unknown kind"),
        ("adl://b/ws", "a package that is not installed"),
    ],
)
def test_what_cannot_hold_a_workspace_is_said(bucket: Bucket, address: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        mirror.open_workspace(address)


def test_a_server_that_does_not_answer_is_a_network_fault(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    bucket.gate = lambda *_: False
    with pytest.raises(NetworkError, match="could not be read") as caught:
        open_store(f"{ADDRESS}/impatient").read("a")
    assert "run again" in caught.value.parts["to do"]


def test_missing_credentials_are_said(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(UsageError, match="may not be written") as caught:
        open_store(f"{ADDRESS}/unsigned").check_conditional_create()
    assert "credentials" in caught.value.parts["to do"]


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("s3://bucket/team/ws/", "s3://bucket/team/ws"),
        (Path("s3://bucket/team/ws"), "s3://bucket/team/ws"),  # a path has one of the slashes
        ("gs://bucket/ws", "gs://bucket/ws"),
    ],
)
def test_addresses_are_known(given: str | Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUMBLINE_MIRROR", "/mirrors")
    workspace = Workspace.at(given)
    assert workspace.address == address
    assert workspace.root.parent == Path("/mirrors")
    assert workspace.root != Workspace.at("s3://bucket/team-ws").root


def test_a_folder_is_no_address(tmp_path: Path) -> None:
    assert Workspace.at(tmp_path / "s3:").address == ""
    assert Workspace.at("c:/photos").address == ""
    assert mirror.of_workspace(Workspace.at(tmp_path)) is None
