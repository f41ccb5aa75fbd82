"""Photo runs that are killed again and again, and features by two workers of a cluster."""

import random
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.run_cli import Plumbline
from tests.support.scenery import write_scenery

pytestmark = pytest.mark.stress
KILLS = 10


def test_finetune_killed_ten_times_ends_with_the_same_bytes(server: dict[str, str], tmp_path: Path) -> None:
    """Each kill comes some seconds after the start: in embed, in the maps, in an epoch, or later."""
    folder = write_scenery(tmp_path / "scenery", per_class=80, side=128)
    options = ("--dataset", folder, "--recipe", "finetune", "--image-size", "128")
    undisturbed = Plumbline(server, tmp_path / "undisturbed")
    began = time.monotonic()
    undisturbed.ok(*options)
    seconds = time.monotonic() - began

    killed = Plumbline(server, tmp_path / "killed")
    generator = random.Random(0)
    for _ in range(KILLS):
        process = killed.start_training(*options)
        time.sleep(generator.uniform(0.2, 0.9) * seconds)
        process.kill()
        process.wait()
        assert rows_of_features(killed) == distinct_features(killed)
    killed.ok(*options)
    assert outputs(killed) == outputs(undisturbed)


def test_two_dask_workers_compute_the_same_features(server: dict[str, str], tmp_path: Path) -> None:
    folder = write_scenery(tmp_path / "scenery", per_class=100)
    options = ("--dataset", folder, "--recipe", "probe", "--image-size", "64")
    alone, cluster = (Plumbline(server, tmp_path / name) for name in ("alone", "cluster"))
    alone.ok(*options)
    cluster.ok(*options, "--runner", "dask", "--workers", "2")
    assert outputs(cluster) == outputs(alone)


def rows_of_features(plumbline: Plumbline) -> int:
    """Rows of all stores of features; an image that was computed twice has two."""
    paths = plumbline.workspace.glob("features/*/*.parquet")
    return sum(pq.read_metadata(path).num_rows for path in paths)


def distinct_features(plumbline: Plumbline) -> int:
    """Different images of all stores of features."""
    stores: dict[Path, set[str]] = {}
    for path in plumbline.workspace.glob("features/*/*.parquet"):
        ids = pq.read_table(path, columns=["image_id"])["image_id"].to_pylist()
        stores.setdefault(path.parent, set()).update(ids)
    return sum(map(len, stores.values()))


def outputs(plumbline: Plumbline) -> dict[str, bytes]:
    """The bytes of all features and models."""
    kept = (".features.npy", "model.keras", "weights.npz")
    return {name: content for name, content in plumbline.files().items() if name.endswith(kept)}
