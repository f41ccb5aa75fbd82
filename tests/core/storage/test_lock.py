import os
import stat
from pathlib import Path

import pytest

from tasks.core.storage import lock


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_umask_decides_who_may_use_a_lock(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with lock.exclusive(tmp_path / ".lock"):
            assert stat.S_IMODE((tmp_path / ".lock").stat().st_mode) == mode
    finally:
        os.umask(before)


@pytest.mark.skipif(not hasattr(os, "fork") or os.geteuid() != 0, reason="only root can become another user")
def test_lock_file_of_another_user_that_may_only_be_read_is_locked(tmp_path: Path) -> None:
    """A process of user 65534 locks a file that root wrote with mode 0644 in a folder that all may enter."""
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    path = tmp_path / ".lock"
    path.touch(0o644)
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        with lock.opened(path) as descriptor:
            os._exit(0 if lock.try_lock(descriptor) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
