"""Two users of one workspace: what one has written, the other trains on, predicts with and promotes."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.core.registry import registry
from tasks.core.workspace import Workspace
from tests.support.run_cli import ROOT, write_photos

pytestmark = [
    pytest.mark.stress,
    pytest.mark.timeout(0),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may become two users"),
]
GROUP, ANN, BEN = 64100, 64001, 64002


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder of the group, with a home for each user; `tmp_path` is closed to others than its owner."""
    folder = Path(tempfile.mkdtemp(prefix="plumbline-users-"))
    folder.chmod(0o755)
    write_photos(folder / "photos")
    for user in (ANN, BEN):
        (folder / str(user)).mkdir()
        os.chown(folder / str(user), user, GROUP)
    (folder / "shared").mkdir()
    os.chown(folder / "shared", 0, GROUP)
    (folder / "shared").chmod(0o2775)
    (folder / "python").mkdir()  # the interpreter may lie in a home that is closed to others
    subprocess.run(["mount", "--bind", sys.base_prefix, folder / "python"], check=True)
    try:
        # read-only, so that whoever removes what a killed test left does not remove the interpreter
        subprocess.run(["mount", "-o", "remount,ro,bind", folder / "python"], check=True)
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder / "python"], check=True)
    (folder / "python").rmdir()
    shutil.rmtree(folder)


def run(folder: Path, user: int, *command: object) -> str:
    """Run a command as a user of the group, with umask 002. Returns what it printed; it must succeed."""
    home = folder / str(user)
    own = {
        "HOME": str(home),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "prefect" / "storage"),
        "PREFECT_SERVER_API_PORT": "1",
        "PLUMBLINE_WORKSPACE": str(folder / "shared" / "ws"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")]),
        "LD_LIBRARY_PATH": str(folder / "python" / "lib"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [folder / "python" / "bin" / "python3", *map(str, command)],
        env={name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"} | own,
        cwd=home,
        user=user,
        group=GROUP,
        extra_groups=[],
        umask=0o002,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, (user, command, done.stdout + done.stderr)
    return done.stdout


def test_two_users_train_predict_and_promote_by_turns(shared: Path) -> None:
    train, predict = ROOT / "flows/train_flow.py", ROOT / "flows/predict_flow.py"
    models, out = ("-m", "flows", "models"), ("--out", shared / "shared" / "predictions")
    run(shared, ANN, train, "--epochs", "1")
    run(shared, BEN, train, "--epochs", "2", "--promote", "always")
    run(shared, ANN, *models, "rollback", "digits")
    run(shared, ANN, predict, shared / "photos" / "across", *out)
    run(shared, BEN, predict, shared / "photos" / "down", *out)
    assert "nothing to do" in run(shared, BEN, predict, shared / "photos" / "across", *out)
    run(shared, BEN, *models, "promote", "digits", "v0002")
    run(shared, BEN, *models, "alias", "digits", "kiosk", "v0001")
    run(shared, ANN, *models, "alias", "digits", "kiosk", "--remove")
    assert "reused" in run(shared, ANN, train, "--epochs", "2")
    run(shared, BEN, "-m", "flows", "doctor", "--min-free-gb", "0")
    run(shared, ANN, "-m", "flows", "doctor", "--min-free-gb", "0", "--fix")
    closed = [path for path in (shared / "shared").rglob("*") if not path.stat().st_mode & 0o020]
    assert closed == []
    workspace = Workspace.open(shared / "shared" / "ws")
    assert registry.champion("digits", workspace).version == "v0002"  # type: ignore[union-attr]
    users = {path.stat().st_uid for path in workspace.root.rglob("*") if path.is_file()}
    assert users == {ANN, BEN}
