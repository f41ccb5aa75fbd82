"""A run is killed at every upload: nothing is half visible, and the next run ends like an undisturbed run."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks.core.registry import layout, registry
from tasks.core.runs import tables
from tasks.core.workspace import MIRRORS, Workspace
from tests.support.servers.s3_server import ADDRESS, Bucket, half_visible

pytestmark = [pytest.mark.stress, pytest.mark.timeout(3600)]
ROOT = Path(__file__).resolve().parents[3]
RUN = """
import pandas as pd
from tasks.core.config import PromotePolicy
from tasks.core.registry import commit_files
from tasks.core.registry.promotion import promotion
from tasks.core.runs import tables
from tasks.core.storage.workspaces import open_workspace
from tests.support.fake_outputs import FakeOutputs
commit_files.FOLD_EVERY = 2  # the promotion's commit is folded with that of the publication
fake = FakeOutputs(open_workspace(), ("no", "yes"), 40)
facts = {"classes": list(fake.classes), "shape": list(fake.shape)}
made = fake.trained("one"), fake.evaluation("one", 2.0)
promotion.promote(*made, None, PromotePolicy.better, fake.tensors(), facts, fake.workspace, who="ann")
for table in ("classes", "runs"):
    tables.append(table, "animals", "r1", pd.DataFrame([{"evaluation": made[1].digest}]), fake.workspace)
"""


def start(mirror: Path) -> subprocess.Popen[str]:
    environment = {"PYTHONPATH": str(ROOT), "PLUMBLINE_WORKSPACE": ADDRESS, MIRRORS: str(mirror)}
    return subprocess.Popen([sys.executable, "-c", RUN], env=os.environ | environment, cwd=ROOT)


def kill_at(upload: int, carried_out: bool, mirror: Path, bucket: Bucket) -> bool:
    """Kill a run at its n-th upload.

    Args:
        upload: Number of the upload, from 1.
        carried_out: Whether the store still carries out this upload.
        mirror: The mirror of the run.
        bucket: The bucket.

    Returns:
        False if the run has fewer uploads.
    """
    started, killed, uploads = threading.Event(), threading.Event(), []

    def gate(method: str, name: str) -> bool:
        if method != "PUT":
            return True
        uploads.append(name)
        if len(uploads) == upload:
            started.set()
            killed.wait(60)
        return carried_out if len(uploads) >= upload else True

    bucket.gate = gate
    process = start(mirror)
    while not started.wait(0.02):
        if process.poll() is not None:
            return False
    process.kill()
    process.wait()
    killed.set()
    bucket.gate = lambda *_: True
    return True


def final_objects(bucket: Bucket) -> set[str]:
    """Names of all objects except probes and commits; the number of commits depends on the kills."""
    return {name for name in bucket.objects() if ".probes/" not in name and "/commits/" not in name}


@pytest.mark.parametrize("carried_out", [False, True])
def test_run_killed_at_every_upload_leaves_a_consistent_store(
    carried_out: bool, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert start(tmp_path / "undisturbed").wait() == 0
    expected = final_objects(bucket)
    upload = 0
    while True:
        upload += 1
        bucket.reset()
        mirror = tmp_path / str(upload)
        if not kill_at(upload, carried_out, mirror, bucket):
            break
        monkeypatch.setenv(MIRRORS, str(tmp_path / f"other {upload}"))
        assert half_visible(bucket.objects()) == []
        other = Workspace.open(ADDRESS)
        aliases = registry.aliases("animals", other)
        assert set(aliases.values()) <= set(layout.version_names(layout.synced_folder("animals", other)))
        for version in registry.versions("animals", other):
            assert (version.directory / "model.keras").read_text() == "one"
        assert start(mirror).wait() == 0
        assert final_objects(bucket) == expected
        assert half_visible(bucket.objects()) == []
        assert registry.aliases("animals", other) == {"champion": "v0001"}
        actions = [line["action"] for line in registry.history("animals", other)]
        assert actions == ["publish", "promote"]
        assert len(tables.read("runs", other)) == 1
    print(f"{upload - 1} kills")
    assert upload > 20
