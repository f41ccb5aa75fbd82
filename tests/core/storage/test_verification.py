"""Bytes that are read are checked: blocks of large files, manifests, and lists of checksums."""

import json
import os
import zlib
from pathlib import Path

import pytest

from tasks.core.errors import DamagedOutputError, FormatError
from tasks.core.stage import publish
from tasks.core.stage.handles import Handle
from tasks.core.stage.ingredients import Ingredients
from tasks.core.storage import checksum_list, hashing, manifests
from tasks.core.workspace import Workspace

TENSORS = Ingredients("normalize", {}, {})
LARGE = 2 * hashing.BLOCK + 5


def large_output(workspace: Workspace) -> Handle:
    """An output with a file of two blocks and 5 bytes."""
    path = f"tensors/{TENSORS.digest}"

    def build(directory: Path) -> dict[str, int]:
        (directory / "train.images.npy").write_bytes(bytes(range(256)) * (LARGE // 256) + b"12345")
        return {"train": 3}

    publish.publish(workspace.root / path, TENSORS, build)
    return Handle(path, TENSORS.digest)


def flip(path: Path, offset: int) -> None:
    """Flip one bit, and keep size and time."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 4]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def read_it(handle: Handle) -> publish.Mapping[str, object]:
    """A later stage that reads the output."""
    later = Ingredients("train", {"tensors": handle.digest}, {})

    def build(directory: Path) -> dict[str, int]:
        (directory / "bytes.txt").write_text(str((handle.directory / "train.images.npy").stat().st_size))
        return {}

    return publish.publish(Workspace.active().root / "training" / later.digest, later, build)


def test_manifest_has_the_crc_32_of_each_block(workspace: Workspace) -> None:
    handle = large_output(workspace)
    content = (handle.directory / "train.images.npy").read_bytes()
    parts = [content[: 1 << 20], content[1 << 20 : 2 << 20], content[2 << 20 :]]
    expected = "".join(f"{zlib.crc32(part):08x}" for part in parts)
    assert handle.manifest["files"]["train.images.npy"]["crc32"] == expected
    assert len(parts[2]) == 5


@pytest.mark.parametrize(("offset", "block"), [(0, 1), (hashing.BLOCK + 7, 2), (LARGE - 1, 3)])
def test_damaged_block_stops_the_stage_that_reads_it_and_makes_the_output_a_miss(
    workspace: Workspace, offset: int, block: int
) -> None:
    handle = large_output(workspace)
    flip(handle.directory / "train.images.npy", offset)
    assert Handle(handle.path, handle.digest) == handle  # the quick check trusts size and time
    with pytest.raises(DamagedOutputError, match=rf"train.images.npy is damaged \(block {block} of 3"):
        read_it(handle)
    assert not (workspace.root / "training").exists() or not list((workspace.root / "training").glob("[!.]*"))
    with pytest.raises(FormatError, match="not usable"):
        Handle(handle.path, handle.digest)
    assert read_it(large_output(workspace))["stage"] == "train"


def test_stage_that_reads_an_evaluation_verifies_its_predictions(workspace: Workspace) -> None:
    """The evaluation has the predictions as an input, and their path as a fact."""

    def write(directory: Path) -> dict[str, int]:
        (directory / "test.probabilities.npy").write_bytes(bytes(LARGE))
        return {}

    predict = Ingredients("predict", {}, {})
    evaluate = Ingredients("evaluate", {"predictions": predict.digest}, {})
    publish.publish(workspace.root / "predictions" / predict.digest, predict, write)
    publish.publish(workspace.root / "evaluations" / evaluate.digest, evaluate, lambda _: {})
    flip(workspace.root / "predictions" / predict.digest / "test.probabilities.npy", LARGE // 2)
    issues = Ingredients("label_issues", {"evaluation": evaluate.digest}, {})
    with pytest.raises(DamagedOutputError, match=r"test.probabilities.npy is damaged \(block 2 of 3"):
        publish.publish(workspace.root / "label_issues" / issues.digest, issues, lambda _: {})


def test_damage_without_block_checksums_is_found_by_sha_256(workspace: Workspace) -> None:
    """A manifest of an earlier version."""
    handle = large_output(workspace)
    manifest = handle.manifest
    del manifest["files"]["train.images.npy"]["crc32"], manifest[hashing.SEAL]
    (handle.directory / manifests.MANIFEST).write_bytes(manifests.to_bytes(manifest))
    assert read_it(handle)["stage"] == "train"
    flip(handle.directory / "train.images.npy", 9)
    os.utime(handle.directory / manifests.MANIFEST)
    with pytest.raises(DamagedOutputError):
        publish.publish(workspace.root / "training" / "x", TENSORS, lambda _: {"at": str(handle.directory)})


def test_edited_manifest_is_refused(workspace: Workspace) -> None:
    handle = large_output(workspace)
    path = handle.directory / manifests.MANIFEST
    path.write_text(path.read_text().replace('"train": 3', '"train": 4'))
    assert "other content than when it was written" in manifests.find_damage(handle.directory)
    with pytest.raises(FormatError, match="is damaged"):
        manifests.read(handle.directory)


def test_manifest_whose_hash_has_a_damaged_name_is_refused(workspace: Workspace) -> None:
    handle = large_output(workspace)
    path = handle.directory / manifests.MANIFEST
    path.write_text(
        json.dumps({name.replace("sha256", "sha257"): item for name, item in handle.manifest.items()})
    )
    with pytest.raises(FormatError, match="unknown fields: sha257"):
        manifests.read(handle.directory)


def test_handle_with_other_facts_than_the_manifest_is_refused(workspace: Workspace) -> None:
    """As a flipped bit in Prefect's result record gives."""
    from tests.support.fake_outputs import FakeOutputs

    trained = FakeOutputs(workspace).trained("one")
    with pytest.raises(FormatError, match="not usable") as raised:
        type(trained)(**trained.as_dict() | {"val_accuracy": 0.85})
    assert "another val_accuracy" in raised.value.parts["found"]


def test_checksum_list_tells_a_damaged_file_from_a_damaged_line(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    checksum_list.add(tmp_path, [tmp_path / "a", tmp_path / "b"])
    checksum_list.add(tmp_path, [tmp_path / "c"])
    (tmp_path / "b").write_text("B")
    (tmp_path / "c").unlink()
    listed = checksum_list.read(tmp_path)
    assert [listed.differs(tmp_path / name) for name in ("a", "b")] == [False, True]
    assert listed.missing() == [tmp_path / "c"]
    flip(tmp_path / checksum_list.NAME, 20)
    listed = checksum_list.read(tmp_path)
    assert not listed.is_listed(tmp_path / "a")
    assert "line 1" in listed.problems[0]
    checksum_list.update(tmp_path, [tmp_path / "a"], [tmp_path / "c"])
    listed = checksum_list.read(tmp_path)
    assert (sorted(listed.checksums), listed.problems) == (["a", "b"], ())


def test_checksum_list_after_a_killed_writer_has_no_damaged_line(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    checksum_list.add(tmp_path, [tmp_path / "a"])
    path = tmp_path / checksum_list.NAME
    path.write_bytes(path.read_bytes() + b'{"path": "b"')
    checksum_list.add(tmp_path, [tmp_path / "b"])
    assert checksum_list.read(tmp_path).problems == ()
    assert sorted(checksum_list.read(tmp_path).checksums) == ["a", "b"]
