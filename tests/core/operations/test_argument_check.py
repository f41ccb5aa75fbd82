"""Wrong folders and tables are refused before a server starts, as the stages would refuse them."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tasks.core.errors import PlumblineError
from tasks.core.operations import argument_check
from tests.support.run_cli import ROOT
from tests.support.sample_files import encoded, noise, parquet, photos, put


def refused(path: Path | str, command: str = "train") -> str:
    error = argument_check.refusal(command, ["train", "--dataset", str(path)])
    assert isinstance(error, PlumblineError)
    return str(error)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ((), "has no classes"),
        (("cat",), "has only one class"),
        (("train", "test"), "splits without class folders"),
        (("val/a", "val/b", "test/a", "test/b"), "no train split"),
        (("train/a", "train/b", "test/a", "test/c"), "other classes in test"),
        (("photos/a", "photos/b"), "if the classes are in"),
    ],
)
def test_wrong_folders(tmp_path: Path, folders: tuple[str, ...], message: str) -> None:
    photos(tmp_path, dict.fromkeys(folders, 2))
    assert message in refused(tmp_path)
    assert argument_check.refusal("train", [f"--dataset={tmp_path}"]) is not None


def test_empty_class_says_what_is_there(tmp_path: Path) -> None:
    photos(tmp_path, {"cat": 1, "dog": 1})
    put(tmp_path / "eel" / "clip.mp4", b"\0\0\0\x18ftypmp42")
    assert "no image in eel, but a video (MP4) (1)" in refused(tmp_path)
    (tmp_path / "eel" / "clip.mp4").unlink()
    assert "no image in eel: the folder is empty" in refused(tmp_path)


@pytest.mark.parametrize("command", ["train", "sweep", "predict", "evaluate"])
def test_argument_that_is_not_utf8(command: str) -> None:
    error = argument_check.refusal(command, [command, "--workspace", "caf\udce9/ws"])
    assert error is not None
    assert error.parts["found"] == "b'caf\\xe9/ws'"


def test_wrong_tables_archives_and_names(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", b"file,class\n1.png,cat")
    put(tmp_path / "b.parquet", b"no parquet")
    put(tmp_path / "c.zip", b"no zip")
    put(tmp_path / "d.txt", b"text")
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
        archive.writestr("train/1.png", encoded(noise(1)))
    expected = {"a.csv": "lacks a column", "b.parquet": "cannot be read", "c.zip": "is no archive"}
    expected |= {"d.txt": "unsupported type", "e.zip": "splits without class folders", "gone": "nothing at"}
    assert {name: text in refused(tmp_path / name) for name, text in expected.items()} == dict.fromkeys(
        expected, True
    )
    assert "did you mean digits" in refused("digit")


def test_archives_that_have_to_be_unpacked_say_so(tmp_path: Path) -> None:
    put(tmp_path / "photos.7z", b"7z")
    assert "to do     give one of these; unpack other archives first" in refused(tmp_path / "photos.7z")
    put(tmp_path / "parts" / "cat.zip", b"PK")
    assert "to do     unpack the archives in it, each into a folder" in refused(tmp_path / "parts")


def test_compressed_tar_by_the_name_of_a_zip_is_left_to_the_stage(tmp_path: Path) -> None:
    photos(tmp_path / "pets", {"cat": 1, "dog": 1})
    with tarfile.open(tmp_path / "pets.zip", "w:gz") as archive:
        archive.add(tmp_path / "pets", "pets")
    assert argument_check.refusal("train", ["--dataset", str(tmp_path / "pets.zip")]) is None


def test_good_ones_and_other_commands_pass(tmp_path: Path) -> None:
    photos(tmp_path / "pets", {"train/cat": 1, "train/dog": 1, "test": 1})
    parquet(tmp_path / "x.parquet", [0, 1])
    for path in (tmp_path / "pets", tmp_path / "x.parquet", "digits", "s3://bucket/nothing"):
        assert argument_check.refusal("train", ["--dataset", str(path)]) is None
    assert argument_check.refusal("predict", ["--dataset", "nothing"]) is None
    assert argument_check.refusal("train", ["--dataset", "nothing", "--help"]) is None
    assert argument_check.refusal("train", ["--dataset"]) is None


@pytest.mark.slow
def test_command_ends_before_prefect_is_imported(tmp_path: Path) -> None:
    photos(tmp_path / "p", {"train": 1, "test": 1})
    command = [sys.executable, "-X", "importtime", str(ROOT / "flows" / "train_flow.py")]
    done = subprocess.run(
        [*command, "--dataset", str(tmp_path / "p")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "splits without class folders" in done.stderr
    assert "prefect.client" not in done.stderr
    assert not done.stdout
