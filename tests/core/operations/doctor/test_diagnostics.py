"""`plumbline doctor`, run as a command on installations and workspaces that the test damages."""

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

ROOT = Path(__file__).resolve().parents[4]

DEAD = 1 << 22  # above the largest process id


def doctor(workspace: Workspace, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run `plumbline doctor`. Returns its exit code and what it printed."""
    workspace.root.mkdir(exist_ok=True)
    unused_port = {"PREFECT_SERVER_API_PORT": "1"}  # doctor must not find a server that runs on this machine
    done = subprocess.run(
        [sys.executable, "-m", "flows", "doctor", "--workspace", str(workspace.root), *arguments],
        cwd=ROOT,
        env=os.environ | unused_port | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


@pytest.fixture
def tensors(workspace: Workspace) -> Path:
    """A finished directory with a file of 2 MB, which quick checks trust by its size and mtime."""
    ingredients = Ingredients("normalize", {}, {})
    directory = workspace.root / "tensors" / ingredients.digest

    def build(staging: Path) -> dict[str, object]:
        np.save(staging / "train.images.npy", np.zeros((2, 1 << 20), np.uint8))
        return {}

    publish.publish(directory, ingredients, build)
    return directory


def test_doctor_of_a_sound_installation_exits_with_0(workspace: Workspace, tensors: Path) -> None:
    code, output = doctor(workspace)
    assert code == 0, output
    assert "wrong" not in output
    assert "all 1 finished directories are complete" in output
    assert "none runs" in output


@pytest.mark.slow
def test_doctor_names_a_file_with_a_flipped_bit(workspace: Workspace, tensors: Path) -> None:
    path = tensors / "train.images.npy"
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"\x01")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not manifests.find_damage(tensors)  # the quick check cannot see it
    code, output = doctor(workspace)
    assert code == 1
    assert "train.images.npy has other content" in output
    assert f"rm -r {tensors}" in output
    code, output = doctor(workspace, "--fix")
    assert code == 0, output
    assert f"removed tensors/{tensors.name}: the next run builds it again" in output
    assert not tensors.exists()


@pytest.mark.slow
def test_doctor_quotes_the_commands_that_it_prints(tmp_path: Path) -> None:
    """A workspace with a blank in its name: pasted into a shell, the command removes that folder only."""
    workspace = Workspace(tmp_path / "my ws")
    directory = workspace.root / "tensors" / "0123456789abcdef"
    directory.mkdir(parents=True)  # a directory of a stage without a manifest
    code, output = doctor(workspace)
    assert code == 1
    command = output[output.index("rm -r") :].partition(" (")[0]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert not directory.exists()
    assert workspace.root.exists()


@pytest.mark.slow
def test_doctor_names_a_server_that_does_not_answer(workspace: Workspace) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/api"
    code, output = doctor(workspace, PREFECT_API_URL=address)
    assert code == 1
    assert f"no answer at {address}" in output
    assert "make dashboard" in output


@pytest.mark.slow
def test_doctor_names_a_library_of_a_broken_version(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "fastapi-0.165.0.dist-info").mkdir()
    (tmp_path / "fastapi-0.165.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: fastapi\nVersion: 0.165.0\n"
    )
    code, output = doctor(workspace, PYTHONPATH=str(tmp_path))
    assert code == 1
    assert "fastapi 0.165.0" in output
    assert "pip install" in output


@pytest.mark.slow
def test_doctor_with_too_little_free_disk_exits_with_1(workspace: Workspace) -> None:
    code, output = doctor(workspace, "--min-free-gb", "1e9")
    assert code == 1
    assert "GB free" in output
    assert "models gc" in output


@pytest.mark.slow
def test_doctor_names_a_killed_run_and_its_leftovers(workspace: Workspace) -> None:
    owner = RunOwner("an id", "digits with fast", "here", DEAD, "2026-01-01T00:00:00+00:00")
    lock = workspace.root / ".running" / "digits.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps(vars(owner)))
    (workspace.root / "tensors" / f".0123.{DEAD}.tmp").mkdir(parents=True)
    code, output = doctor(workspace)
    assert code == 1
    assert '"digits with fast"' in output
    assert "was killed" in output
    assert f"tensors/.0123.{DEAD}.tmp: a process that was killed was writing it" in output


@pytest.mark.slow
def test_doctor_names_every_leftover_and_fix_removes_them(workspace: Workspace) -> None:
    """One leftover of each kind: a stage, parts of tensors, a table's part, a version, a copied archive."""
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
    code, output = doctor(workspace)
    assert code == 1
    assert all(name in output for name in names)
    assert "rm -r" not in output
    code, output = doctor(workspace, "--fix")
    assert code == 0, output
    assert all(f"removed {name}" in output for name in names)
    assert not any((workspace.root / name).exists() for name in names)


@pytest.mark.slow
def test_doctor_fix_keeps_what_a_running_process_writes(workspace: Workspace) -> None:
    """A writer of this machine is recognised by its process id, one of another machine by its lock."""
    folder = workspace.root / "tensors"
    own = folder / f".aaaa.{os.getpid()}.tmp"
    other = folder / f".bbbb.{DEAD}.tmp"
    for path in (own, other):
        path.mkdir(parents=True)
    with publish.locked(folder / "bbbb"):
        _, output = doctor(workspace, "--fix")
    assert own.name not in output
    assert other.name not in output
    assert own.exists()
    assert other.exists()
