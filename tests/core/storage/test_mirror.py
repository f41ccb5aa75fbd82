"""Finished directories in a store: two mirrors of one workspace, on a real S3 server on the loopback."""

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
from tasks.core.storage import manifests, mirror
from tasks.core.workspace import MIRRORS, Workspace
from tests.support.s3_server import ADDRESS, Bucket, half_visible

ROOT = Path(__file__).resolve().parents[3]
MADE_OF = Ingredients("normalize", {"raw": "abc"}, {"image_size": 32})
LARGE = b"0123456789" * 200_000  # above stage.SMALL: trusted by size and time


class Machine:
    """A mirror of its own; `at` makes it this process's."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._place, self._patch = place, monkeypatch

    def at(self) -> Workspace:
        self._patch.setenv(MIRRORS, str(self._place))
        return mirror.open_workspace(ADDRESS)

    def publish(self, text: str = "one", **options: bool) -> dict:
        """The stage that all these tests are about; `text` is what building it gives on this machine."""
        directory = self.at().root / "tensors" / MADE_OF.digest
        self.built = False

        def build(staging: Path) -> Mapping[str, object]:
            self.built = True
            (staging / "deep").mkdir()
            (staging / "deep" / "a.txt").write_text(text)
            (staging / "large.npy").write_bytes(LARGE)
            return {"dataset": "digits"}

        return publish_module.publish(directory, MADE_OF, build, **options)


@pytest.fixture
def here(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path / "here", monkeypatch)


@pytest.fixture
def there(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path / "there", monkeypatch)


def test_what_one_machine_built_another_finds(here: Machine, there: Machine, bucket: Bucket) -> None:
    made = here.publish()
    assert half_visible(bucket.objects()) == []
    assert there.publish() == made
    assert here.built
    assert not there.built
    directory = there.at().root / "tensors" / MADE_OF.digest
    assert (directory / "large.npy").read_bytes() == LARGE
    assert manifests.find_damage(directory) == ""
    assert [path.name for path in directory.parent.iterdir() if path.name.endswith(".tmp")] == []


def test_only_what_is_lacking_comes_down(here: Machine, there: Machine, bucket: Bucket) -> None:
    here.publish()
    there.publish()
    directory = there.at().root / "tensors" / MADE_OF.digest
    (directory / "deep" / "a.txt").unlink()
    bucket.forget()
    there.publish()
    assert (directory / "deep" / "a.txt").read_text() == "one"
    assert bucket.count("GET", r"a\.txt$") == 1
    assert bucket.count("GET", r"large\.npy$") == 0
    assert bucket.methods()["PUT"] == 0


def test_the_manifest_goes_last(here: Machine, bucket: Bucket) -> None:
    here.publish()
    sent = [name.rpartition("/")[2] for method, name in bucket.requests if method == "PUT"]
    assert sent[2:] == ["a.txt", "large.npy", "manifest.json"]  # after the two probes


def test_a_handle_brings_its_files(here: Machine, there: Machine) -> None:
    here.publish()
    workspace = there.at()
    handle = Handle(f"tensors/{MADE_OF.digest}", MADE_OF.digest)
    assert (handle.directory / "large.npy").read_bytes() == LARGE
    assert handle.directory.is_relative_to(workspace.root)


def test_a_glance_brings_the_manifest_only(here: Machine, there: Machine, bucket: Bucket) -> None:
    here.publish()
    directory = there.at().root / "tensors" / MADE_OF.digest
    bucket.forget()
    assert exists_anywhere(directory)
    assert manifests.read(ensure_manifest(directory))["digest"] == MADE_OF.digest
    assert is_manifest_only(directory)
    assert bucket.sent < 20_000 < len(LARGE)
    there.publish()
    assert not is_manifest_only(directory)


def test_of_two_contents_the_first_is_everybodys(here: Machine, there: Machine, bucket: Bucket) -> None:
    """As when two processors give different floating-point sums, both before the other has published."""
    directory = here.at().root / "tensors" / MADE_OF.digest
    late = [there]

    def gate(method: str, name: str) -> bool:
        if method == "PUT" and name.endswith("a.txt") and late:
            late.pop().publish("theirs")  # while ours is under way
            here.at()
        return True

    bucket.gate = gate
    manifest = here.publish("ours")
    assert (here.built, there.built) == (True, True)
    assert (directory / "deep" / "a.txt").read_text() == "theirs"
    assert manifest == there.publish("theirs")
    assert half_visible(bucket.objects()) == []


def test_a_refresh_replaces(here: Machine, there: Machine, bucket: Bucket) -> None:
    here.publish("old")
    here.publish("new", refresh=True)
    assert half_visible(bucket.objects()) == []
    there.publish()
    assert (there.at().root / "tensors" / MADE_OF.digest / "deep" / "a.txt").read_text() == "new"


def test_a_changed_object_is_refused(here: Machine, there: Machine, bucket: Bucket) -> None:
    here.publish()
    (name,) = (name for name in bucket.objects() if name.endswith("a.txt"))
    bucket.client.put_object(Bucket="plumb", Key=f"team/ws/{name}", Body=b"bad")
    with pytest.raises(ChecksumError, match="not what was uploaded"):
        there.publish()
    assert not (there.at().root / "tensors" / MADE_OF.digest).exists()


def test_objects_that_are_lost_are_sent_again(here: Machine, there: Machine, bucket: Bucket) -> None:
    here.publish()
    (name,) = (name for name in bucket.objects() if name.endswith("large.npy"))
    bucket.client.delete_object(Bucket="plumb", Key=f"team/ws/{name}")
    assert not mirror.of_workspace(there.at()).fetch(there.at().root / "tensors" / MADE_OF.digest)
    bucket.forget()
    here.publish()
    assert [name for method, name in bucket.requests if method == "PUT"] == [name]
    assert half_visible(bucket.objects()) == []


def test_other_content_that_is_not_whole_gives_way(here: Machine, there: Machine, bucket: Bucket) -> None:
    here.publish("one")
    (name,) = (name for name in bucket.objects() if name.endswith("large.npy"))
    bucket.client.delete_object(Bucket="plumb", Key=f"team/ws/{name}")
    there.publish("two")
    assert there.built
    assert half_visible(bucket.objects()) == []


def test_a_name_that_leads_outside_is_refused(here: Machine, there: Machine, bucket: Bucket) -> None:
    here.publish()
    name = f"tensors/{MADE_OF.digest}/manifest.json"
    manifest = json.loads(bucket.objects()[name])
    manifest["files"]["../../../outside.txt"] = manifest["files"].pop("deep/a.txt")
    bucket.client.put_object(Bucket="plumb", Key=f"team/ws/{name}", Body=json.dumps(manifest).encode())
    with pytest.raises(FormatError, match="outside of its folder"):
        there.publish()
    assert not there.built


BIG = """
import sys
from pathlib import Path
from tasks.core.stage import publish
from tasks.core.stage.ingredients import Ingredients
from tasks.core.storage.mirror import open_workspace
made_of = Ingredients("normalize", {"raw": "big"}, {})
def build(staging):
    (staging / "a.bin").write_bytes(bytes(3_000_000))
    (staging / "b.bin").write_bytes(bytes(range(250)) * 120_000)
    return {}
workspace = open_workspace(sys.argv[1])
publish.publish(workspace.root / "tensors" / made_of.digest, made_of, build)
print("done", flush=True)
"""


def test_killed_in_the_middle_of_a_file(bucket: Bucket, here: Machine, there: Machine) -> None:
    here.at()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", BIG, ADDRESS]
    bucket.forget()
    bucket.pause = 0.005  # 64 KiB each: 30 MB would take 2.3 s
    process = subprocess.Popen(command, env=environment, cwd=ROOT)
    while bucket.received < 8_000_000:
        assert process.poll() is None, "it ended too early"
        time.sleep(0.01)
    process.kill()
    process.wait()
    bucket.pause = 0.0
    assert [name.rpartition("/")[2] for name in bucket.objects()] == ["a.bin"]
    (directory,) = (path for path in (here.at().root / "tensors").iterdir() if path.is_dir())
    assert manifests.find_damage(directory) == ""  # finished here, and not yet there
    assert not mirror.of_workspace(there.at()).has(there.at().root / "tensors" / directory.name)
    here.at()
    bucket.forget()
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=ROOT, check=False)
    assert done.returncode == 0
    sent = [name.rpartition("/")[2] for method, name in bucket.requests if method == "PUT"]
    assert sent == ["b.bin", "manifest.json"]
    assert half_visible(bucket.objects()) == []
    assert mirror.of_workspace(there.at()).has(there.at().root / "tensors" / directory.name)
