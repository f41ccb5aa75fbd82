"""Commits of a registry in a store, folded and not, with two mirrors on a real S3 server (moto)."""

import json

import pytest

from tasks.core.registry import commit_files, registry
from tasks.core.storage import hashing
from tests.support.servers.s3_client import Machine
from tests.support.servers.s3_server import Bucket

pytestmark = pytest.mark.slow


def commit_names(bucket: Bucket) -> list[str]:
    return sorted(name.rpartition("/")[2] for name in bucket.objects() if "/commits/" in name)


def test_many_commits_are_read_as_one_object(
    machine: Machine, other_machine: Machine, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folded after every third: five commits are one object and two commits for a machine that has none."""
    monkeypatch.setattr(commit_files, "FOLD_EVERY", 3)
    machine.publish("one")
    machine.publish("two")
    for version in ("v0001", "v0002", "v0001"):
        machine.promote(version)
    numbers = [f"{number:08d}.json" for number in range(1, 6)]
    assert commit_names(bucket) == sorted([*numbers, "00000003.folded.json"])
    workspace = other_machine.fake().workspace
    bucket.forget()
    assert other_machine.aliases() == {"champion": "v0001", "previous": "v0002"}
    read = [
        name.rpartition("/")[2] for method, name in bucket.requests if method == "GET" and "/commits/" in name
    ]
    assert sorted(read) == ["00000003.folded.json", "00000004.json", "00000005.json"]
    log = registry.history("animals", workspace)
    assert [line["action"] for line in log] == ["publish", "publish", *["promote"] * 3]
    other_machine.promote("v0002")
    assert machine.aliases() == {"champion": "v0002", "previous": "v0001"}
    assert log == registry.history("animals", machine.fake().workspace)[:5]


def test_a_commit_stands_if_the_folded_object_cannot_be_uploaded(
    machine: Machine,
    other_machine: Machine,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(commit_files, "FOLD_EVERY", 2)
    machine.publish("one")
    bucket.gate = lambda method, name: method != "PUT" or "folded" not in name
    bucket.refusal = "403 Forbidden"  # a 503 is tried again for 10 s
    machine.promote("v0001")
    assert "00000002.folded.json was not uploaded" in caplog.text
    assert commit_names(bucket) == ["00000001.json", "00000002.json"]
    assert other_machine.aliases() == machine.aliases() == {"champion": "v0001"}


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[" * 100_000, None, {"number": 1}, {"format": 2}],
    ids=["empty", "no keys", "deep", "gone", "other number", "other format"],
)
def test_folded_commits_that_are_damaged_or_others_or_gone_are_not_needed(
    machine: Machine,
    other_machine: Machine,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | dict[str, int] | None,
) -> None:
    """A dictionary stands for folded commits that are intact, but have another number or format."""
    monkeypatch.setattr(commit_files, "FOLD_EVERY", 2)
    machine.publish("one")
    machine.promote("v0001")
    machine.publish("two")
    ((name, folded),) = (item for item in bucket.objects().items() if item[0].endswith(".folded.json"))
    if isinstance(content, dict):
        content = json.dumps(hashing.sealed(json.loads(folded) | content)).encode()
    bucket.client.delete_object(Bucket="plumb", Key=f"team/ws/{name}")
    if content is not None:
        bucket.client.put_object(Bucket="plumb", Key=f"team/ws/{name}", Body=content)
    assert other_machine.names() == ["v0001", "v0002"]
    assert other_machine.aliases() == machine.aliases() == {"champion": "v0001"}


def test_registry_uncommitted_changes_of_a_kill_are_undone(machine: Machine, other_machine: Machine) -> None:
    version = machine.publish("one")
    machine.promote("v0001")
    directory = version.directory.parent
    (directory / "aliases.json").write_text('{"format": 1, "aliases": {"champion": "v0009"}, "change": null}')
    with (directory / "log.jsonl").open("a") as log:
        log.write('{"action": "promote", "half')
    (directory / "v0002").mkdir()
    assert machine.aliases() == {"champion": "v0001"}
    assert machine.names() == ["v0001"]
    assert len(registry.history("animals", machine.fake().workspace)) == 2
    assert other_machine.publish("two").version == "v0002"


def test_pull_lost_commits_raise(machine: Machine, bucket: Bucket) -> None:
    machine.publish("one")
    for name in bucket.objects():
        if "/commits/" in name:
            bucket.client.delete_object(Bucket="plumb", Key=f"team/ws/{name}")
    with pytest.raises(Exception, match="has lost commits"):
        machine.names()
