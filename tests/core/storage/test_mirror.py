"""Finished directories in a store: two mirrors of one workspace, with a real S3 server on the loopback."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tasks.core.errors import ChecksumError, FormatError
from tasks.core.stage import publish as publish_module
from tasks.core.stage.handles import Handle
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.publish import ensure_manifest, exists_anywhere, is_manifest_only
from tasks.core.storage import hashing, manifests, mirror, workspaces
from tasks.core.workspace import MIRRORS, Workspace
from tests.support.servers.s3_server import ADDRESS, Bucket, half_visible

ROOT = Path(__file__).resolve().parents[3]
INGREDIENTS = Ingredients("normalize", {"raw": "abc"}, {"image_size": 32})
LARGE = b"0123456789" * 200_000  # above ALWAYS_HASHED_BYTES: trusted by size and mtime


class Machine:
    """A machine with a mirror of its own; `activate` makes it the current machine of this process."""

    def __init__(self, mirrors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._mirrors, self._monkeypatch = mirrors, monkeypatch

    def activate(self) -> Workspace:
        """Use this machine's mirror from now on."""
        self._monkeypatch.setenv(MIRRORS, str(self._mirrors))
        return workspaces.open_workspace(ADDRESS)

    def publish(self, text: str = "one", **options: bool) -> dict:
        """Publish a stage on this machine; `text` becomes the content of its small file."""
        directory = self.activate().root / "tensors" / INGREDIENTS.digest
        self.built = False

        def build(staging: Path) -> Mapping[str, object]:
            self.built = True
            (staging / "deep").mkdir()
            (staging / "deep" / "a.txt").write_text(text)
            (staging / "large.npy").write_bytes(LARGE)
            return {"dataset": "digits"}

        return publish_module.publish(directory, INGREDIENTS, build, **options)


@pytest.fixture
def first(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose workspace is in the bucket."""
    return Machine(tmp_path / "first", monkeypatch)


@pytest.fixture
def second(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Another machine with the same workspace."""
    return Machine(tmp_path / "second", monkeypatch)


def test_publish_on_a_second_machine_downloads_what_the_first_built(
    first: Machine, second: Machine, bucket: Bucket
) -> None:
    manifest = first.publish()
    assert half_visible(bucket.objects()) == []
    assert second.publish() == manifest
    assert first.built
    assert not second.built
    directory = second.activate().root / "tensors" / INGREDIENTS.digest
    assert (directory / "large.npy").read_bytes() == LARGE
    assert manifests.find_damage(directory) == ""
    assert [path.name for path in directory.parent.iterdir() if path.name.endswith(".tmp")] == []


def test_publish_with_one_missing_file_downloads_only_that_file(
    first: Machine, second: Machine, bucket: Bucket
) -> None:
    first.publish()
    second.publish()
    directory = second.activate().root / "tensors" / INGREDIENTS.digest
    (directory / "deep" / "a.txt").unlink()
    bucket.forget()
    second.publish()
    assert (directory / "deep" / "a.txt").read_text() == "one"
    assert bucket.count("GET", r"a\.txt$") == 1
    assert bucket.count("GET", r"large\.npy$") == 0
    assert bucket.methods()["PUT"] == 0


def test_publish_uploads_the_manifest_last(first: Machine, bucket: Bucket) -> None:
    first.publish()
    uploaded = [name.rpartition("/")[2] for method, name in bucket.requests if method == "PUT"]
    assert uploaded[2:] == ["a.txt", "large.npy", "manifest.json"]  # after the two probes


def test_handle_directory_downloads_its_files(first: Machine, second: Machine) -> None:
    first.publish()
    workspace = second.activate()
    handle = Handle(f"tensors/{INGREDIENTS.digest}", INGREDIENTS.digest)
    assert (handle.directory / "large.npy").read_bytes() == LARGE
    assert handle.directory.is_relative_to(workspace.root)


def test_ensure_manifest_downloads_only_the_manifest(first: Machine, second: Machine, bucket: Bucket) -> None:
    first.publish()
    directory = second.activate().root / "tensors" / INGREDIENTS.digest
    bucket.forget()
    assert exists_anywhere(directory)
    assert manifests.read(ensure_manifest(directory))["digest"] == INGREDIENTS.digest
    assert is_manifest_only(directory)
    assert bucket.sent < 20_000 < len(LARGE)
    second.publish()
    assert not is_manifest_only(directory)


def test_publish_of_two_contents_at_once_keeps_the_first_on_both_machines(
    first: Machine, second: Machine, bucket: Bucket
) -> None:
    """Two processors may give different floating-point sums; both build before the other has published."""
    directory = first.activate().root / "tensors" / INGREDIENTS.digest
    not_yet_published = [second]

    def gate(method: str, name: str) -> bool:
        if method == "PUT" and name.endswith("a.txt") and not_yet_published:
            not_yet_published.pop().publish("from second")  # while the first machine uploads
            first.activate()
        return True

    bucket.gate = gate
    manifest = first.publish("from first")
    assert (first.built, second.built) == (True, True)
    assert (directory / "deep" / "a.txt").read_text() == "from second"
    assert manifest == second.publish("from second")
    assert half_visible(bucket.objects()) == []


def test_publish_with_refresh_replaces_the_content_of_the_store(
    first: Machine, second: Machine, bucket: Bucket
) -> None:
    first.publish("old")
    first.publish("new", refresh=True)
    assert half_visible(bucket.objects()) == []
    second.publish()
    assert (second.activate().root / "tensors" / INGREDIENTS.digest / "deep" / "a.txt").read_text() == "new"


def test_publish_with_a_changed_object_is_refused(first: Machine, second: Machine, bucket: Bucket) -> None:
    first.publish()
    (name,) = (name for name in bucket.objects() if name.endswith("a.txt"))
    bucket.client.put_object(Bucket="plumb", Key=f"team/ws/{name}", Body=b"bad")
    with pytest.raises(ChecksumError, match="not what was uploaded"):
        second.publish()
    assert not (second.activate().root / "tensors" / INGREDIENTS.digest).exists()


def test_publish_after_an_object_was_lost_uploads_it_again(
    first: Machine, second: Machine, bucket: Bucket
) -> None:
    first.publish()
    (name,) = (name for name in bucket.objects() if name.endswith("large.npy"))
    bucket.client.delete_object(Bucket="plumb", Key=f"team/ws/{name}")
    assert not mirror.of_workspace(second.activate()).fetch(
        second.activate().root / "tensors" / INGREDIENTS.digest
    )
    bucket.forget()
    first.publish()
    assert [name for method, name in bucket.requests if method == "PUT"] == [name]
    assert half_visible(bucket.objects()) == []


def test_publish_replaces_incomplete_other_content(first: Machine, second: Machine, bucket: Bucket) -> None:
    first.publish("one")
    (name,) = (name for name in bucket.objects() if name.endswith("large.npy"))
    bucket.client.delete_object(Bucket="plumb", Key=f"team/ws/{name}")
    second.publish("two")
    assert second.built
    assert half_visible(bucket.objects()) == []


def test_publish_with_a_manifest_path_outside_its_folder_is_refused(
    first: Machine, second: Machine, bucket: Bucket
) -> None:
    first.publish()
    name = f"tensors/{INGREDIENTS.digest}/manifest.json"
    manifest = json.loads(bucket.objects()[name])
    manifest["files"]["../../../outside.txt"] = manifest["files"].pop("deep/a.txt")
    bucket.client.put_object(
        Bucket="plumb", Key=f"team/ws/{name}", Body=manifests.to_bytes(hashing.sealed(manifest))
    )
    with pytest.raises(FormatError, match=r"has a part \.\."):
        second.publish()
    assert not second.built


BIG = """
import sys
from pathlib import Path
from tasks.core.stage import publish
from tasks.core.stage.ingredients import Ingredients
from tasks.core.storage.workspaces import open_workspace
ingredients = Ingredients("normalize", {"raw": "big"}, {})
def build(staging):
    (staging / "a.bin").write_bytes(bytes(3_000_000))
    (staging / "b.bin").write_bytes(bytes(range(250)) * 120_000)
    return {}
workspace = open_workspace(sys.argv[1])
publish.publish(workspace.root / "tensors" / ingredients.digest, ingredients, build)
print("done", flush=True)
"""


@pytest.mark.slow
def test_publish_killed_during_an_upload_is_completed_by_the_next(
    bucket: Bucket, first: Machine, second: Machine
) -> None:
    first.activate()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", BIG, ADDRESS]
    bucket.forget()
    bucket.pause = 0.005  # 64 KiB each: 30 MB would take 2.3 s
    process = subprocess.Popen(command, env=environment, cwd=ROOT)
    while bucket.received < 8_000_000:
        assert process.poll() is None, "the process ended too early"
        time.sleep(0.01)
    process.kill()
    process.wait()
    bucket.pause = 0.0
    assert [name.rpartition("/")[2] for name in bucket.objects()] == ["a.bin"]
    (directory,) = (path for path in (first.activate().root / "tensors").iterdir() if path.is_dir())
    assert manifests.find_damage(directory) == ""  # complete in the mirror, and not yet in the store
    assert not mirror.of_workspace(second.activate()).has(second.activate().root / "tensors" / directory.name)
    first.activate()
    bucket.forget()
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=ROOT, check=False)
    assert done.returncode == 0
    uploaded = [name.rpartition("/")[2] for method, name in bucket.requests if method == "PUT"]
    assert uploaded == ["b.bin", "manifest.json"]
    assert half_visible(bucket.objects()) == []
    assert mirror.of_workspace(second.activate()).has(second.activate().root / "tensors" / directory.name)
