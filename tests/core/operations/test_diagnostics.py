"""`plumbline doctor` as a person runs it, on set-ups that the test breaks."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tasks.core.operations.run_lock import RunOwner
from tasks.core.stage import publish
from tasks.core.stage.ingredients import Ingredients
from tasks.core.storage import manifests
from tasks.core.workspace import Workspace

ROOT = Path(__file__).resolve().parents[3]

DEAD = 1 << 22  # above the largest process id


def doctor(workspace: Workspace, *arguments: str, **environment: str) -> tuple[int, str]:
    unused = {"PREFECT_SERVER_API_PORT": "1"}  # a server that runs on this machine is not asked
    done = subprocess.run(
        [sys.executable, "-m", "flows", "doctor", "--workspace", str(workspace.root), *arguments],
        cwd=ROOT,
        env=os.environ | unused | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


@pytest.fixture
def tensors(workspace: Workspace) -> Path:
    """A finished directory with a file of 2 MB, which cheap checks trust by its size and time."""
    made_of = Ingredients("normalize", {}, {})
    directory = workspace.root / "tensors" / made_of.digest

    def build(staging: Path) -> dict[str, object]:
        np.save(staging / "train.images.npy", np.zeros((2, 1 << 20), np.uint8))
        return {}

    publish.publish(directory, made_of, build)
    return directory


def test_a_sound_installation(workspace: Workspace, tensors: Path) -> None:
    code, said = doctor(workspace)
    assert code == 0, said
    assert "wrong" not in said
    assert "all 1 finished directories are whole" in said
    assert "none runs" in said


def test_a_flipped_bit_is_found(workspace: Workspace, tensors: Path) -> None:
    path = tensors / "train.images.npy"
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"\x01")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not manifests.find_damage(tensors)  # the cheap check cannot see it
    code, said = doctor(workspace)
    assert code == 1
    assert "train.images.npy has other content" in said
    assert f"rm -r {tensors}" in said


def test_a_server_that_is_down(workspace: Workspace) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/api"
    code, said = doctor(workspace, PREFECT_API_URL=address)
    assert code == 1
    assert f"no answer at {address}" in said
    assert "make dashboard" in said


def test_a_library_of_a_version_that_does_not_work(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "fastapi-0.165.0.dist-info").mkdir()
    (tmp_path / "fastapi-0.165.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: fastapi\nVersion: 0.165.0\n"
    )
    code, said = doctor(workspace, PYTHONPATH=str(tmp_path))
    assert code == 1
    assert "fastapi 0.165.0" in said
    assert "pip install" in said


def test_a_disk_that_is_nearly_full(workspace: Workspace) -> None:
    code, said = doctor(workspace, "--min-free-gb", "1e9")
    assert code == 1
    assert "GB free" in said
    assert "models gc" in said


def test_a_killed_run_and_what_it_left(workspace: Workspace) -> None:
    holder = RunOwner("an id", "digits with fast", "here", DEAD, "2026-01-01T00:00:00+00:00")
    lock = workspace.root / ".running" / "digits.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps(vars(holder)))
    (workspace.root / "tensors" / f".0123.{DEAD}.tmp").mkdir(parents=True)
    code, said = doctor(workspace)
    assert code == 1
    assert '"digits with fast"' in said
    assert "was killed" in said
    assert f"tensors/.0123.{DEAD}.tmp: a process that was killed was writing it" in said


def test_doctor_names_every_leftover_and_fix_removes_them(workspace: Workspace) -> None:
    """One of each way of writing: a stage, a file of a table, a version, portions, a copy of an archive."""
    names = [
        f"tensors/.0123456789abcdef.{DEAD}.tmp",
        f"tensors/.0123456789abcdef.portions.{DEAD}.tmp",
        f"metrics/runs/dataset=digits/.r1.parquet.{DEAD}.tmp",
        f"models/digits/.v0001.{DEAD}.tmp",
        f"downloads/abc/.x.tar.gz.{DEAD}.tmp",
    ]
    for name in names:
        path = workspace.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half") if "parquet" in name or "tar" in name else path.mkdir()
    code, said = doctor(workspace)
    assert code == 1
    assert all(name in said for name in names)
    assert "rm -r" not in said
    code, said = doctor(workspace, "--fix")
    assert code == 0, said
    assert all(f"removed {name}" in said for name in names)
    assert not any((workspace.root / name).exists() for name in names)


def test_fix_leaves_what_a_running_process_writes(workspace: Workspace) -> None:
    """A writer of this machine is known by its process id, one of another machine by its lock."""
    folder = workspace.root / "tensors"
    ours = folder / f".aaaa.{os.getpid()}.tmp"
    theirs = folder / f".bbbb.{DEAD}.tmp"
    for path in (ours, theirs):
        path.mkdir(parents=True)
    with publish.locked(folder / "bbbb"):
        _, said = doctor(workspace, "--fix")
    assert str(ours.name) not in said
    assert ours.exists()
    assert theirs.exists()
    assert f"{theirs.name}: a process that was killed" in said
