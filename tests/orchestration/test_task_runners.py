"""The normalize stage decodes parts of a folder on a running Dask cluster."""

import hashlib
from pathlib import Path

import pytest
from distributed import LocalCluster

from tests.support.run_cli import Plumbline
from tests.support.sample_files import photos

pytestmark = pytest.mark.slow
NORMALIZE = """
import sys
from tasks.core.operations import environment
environment.prepare_command()
from prefect import flow
from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.parameters.runner_settings import RunnerName, RunnerSettings
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import distributed_decode
from tasks.core.workspace import Workspace
from tasks.normalize import normalize
distributed_decode.MAX_IMAGES = 20
source = acquire.acquire(SourceSettings(sys.argv[1]), Workspace.active())
settings = RunnerSettings(RunnerName.dask, address=sys.argv[2]) if len(sys.argv) > 2 else RunnerSettings()
stage = normalize.with_options(result_storage=Workspace.active().results)
flow(lambda: print("digest", stage(source, NormalizeSettings(), settings).digest), name="normalize")()
"""


def normalize(plumbline: Plumbline, *arguments: object) -> dict[str, str]:
    """Normalize the folder in a process of its own. Returns the SHA-256 of each file of the tensors."""
    script = plumbline.workspace.parent / "normalize.py"
    script.write_text(NORMALIZE)
    variables = {"PLUMBLINE_WORKSPACE": str(plumbline.workspace), "PYTHONPATH": str(plumbline.root)}
    process = Plumbline(plumbline.environment | variables, plumbline.workspace, Path("/"))
    done = process.run(str(script), *arguments)
    assert "digest" in done.stdout, done.stdout + done.stderr
    (tensors,) = plumbline.workspace.glob("tensors/[!.]*")
    return {
        f"{tensors.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in tensors.iterdir()
        if path.name != "manifest.json"
    }


def test_normalize_on_a_dask_cluster_gives_the_same_bytes(
    plumbline: Plumbline, server: dict[str, str], tmp_path: Path
) -> None:
    folder = photos(tmp_path / "animals", {"cat": 60, "dog": 50})
    local = normalize(plumbline, folder)
    other = Plumbline(server, tmp_path / "other")
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        assert normalize(other, folder, cluster.scheduler_address) == local
