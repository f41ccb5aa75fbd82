"""A disk that is full, at several sizes: one message, nothing half-written, and the next run is right."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.run_cli import Plumbline
from tests.support.warm_commands import WarmPlumbline, warm

pytestmark = [pytest.mark.stress, pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")]
WORKSPACE_SIZES = (16, 64, 160, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)  # kB
FLASH = ("--recipe", "flash", "--epochs", "1")
HOME_SIZES = (64, 512, 1024, 2048, 3072, 4096, 6144, 8192)  # kB


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a file system of that size; it is grown to 512 MB by `mount -o remount`."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def grow(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=512m", folder], check=True)


@pytest.fixture(scope="module")
def warm_plumbline(server: dict[str, str]) -> Iterator[WarmPlumbline]:
    with warm(server) as started:
        yield started


@pytest.mark.parametrize("kilobytes", WORKSPACE_SIZES)
def test_a_full_workspace_is_one_message(
    warm_plumbline: WarmPlumbline, tmp_path: Path, kilobytes: int
) -> None:
    plumbline = warm_plumbline.at(tmp_path / "no-workspace")
    with small_disk(tmp_path / "disk", kilobytes) as disk:
        command = ("flows/train_flow.py", *FLASH, "--workspace", disk / "ws")
        done = plumbline.run(*command)
        if done.returncode:
            assert done.stderr.startswith("error: the disk is full"), done.stderr
            assert len(done.stderr.splitlines()) == 4
        grow(disk)
        again = plumbline.run(*command)
        assert again.returncode == 0, again.stderr
        assert "v0001" in again.stdout
        doctor = plumbline.run(
            "flows/__main__.py", "doctor", "--min-free-gb", "0", "--workspace", disk / "ws"
        )
        assert doctor.returncode == 0, doctor.stdout


@pytest.mark.parametrize("kilobytes", HOME_SIZES)
def test_a_full_prefect_home_is_one_message(plumbline: Plumbline, tmp_path: Path, kilobytes: int) -> None:
    with small_disk(tmp_path / "disk", kilobytes) as disk:
        own = {name: value for name, value in plumbline.environment.items() if name != "PREFECT_API_URL"}
        own |= {"PREFECT_HOME": str(disk), "PREFECT_SERVER_API_PORT": "1"}
        own |= {"PREFECT_LOCAL_STORAGE_PATH": str(disk / "storage")}
        command = Plumbline(own, plumbline.workspace)
        done = command.train(*FLASH)
        if done.returncode:
            assert done.stderr.startswith("error: "), done.stderr
            assert "Traceback" not in done.stderr
            assert len(done.stderr.splitlines()) <= 8
        grow(disk)
        assert command.train(*FLASH).returncode == 0
