"""Kill -9 at random moments over the whole flow: what is left ends as an undisturbed run does.

    make stress ARGS="tests/flows/faults/test_kills_stress.py -s"

A run is started and killed at a moment that is uniform in the duration of an undisturbed run, again and again
in one workspace, until one outlives its moment. That workspace is then compared, and a new one begun. There
are 4 x KILLS kills: digits and photos (with `embed`), each with a running server and with temporary ones.
PLUMBLINE_KILLS gives another number, PLUMBLINE_KILLS_SEED other moments.
"""

import os
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tasks.core.operations.doctor import diagnostics
from tasks.core.registry import registry
from tasks.core.workspace import Workspace
from tests.support.run_cli import Plumbline
from tests.support.scenery import write_scenery

pytestmark = [pytest.mark.stress, pytest.mark.timeout(0)]
KILLS = int(os.environ.get("PLUMBLINE_KILLS", "50"))
SEED = int(os.environ.get("PLUMBLINE_KILLS_SEED", "0"))
OF_THE_RUN = ["run_id", "seconds", "images_per_second"]
SAME_BYTES = (".features.npy", "model.keras", "weights.npz", "probabilities.npy", ".images.npy")


@pytest.fixture
def own_server(tmp_path: Path, server: dict[str, str]) -> dict[str, str]:
    """An environment in which each run starts a temporary server, with one PREFECT_HOME."""
    own = {name: value for name, value in server.items() if name != "PREFECT_API_URL"}
    home = tmp_path / "prefect"
    return own | {
        "PREFECT_HOME": str(home),
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "storage"),
        "PREFECT_SERVER_API_PORT": "1",
    }


@pytest.mark.parametrize("images", ["digits", "photos"])
@pytest.mark.parametrize("with_server", [True, False], ids=["server", "temporary server"])
def test_killed_runs_end_as_an_undisturbed_one(
    server: dict[str, str], own_server: dict[str, str], tmp_path: Path, images: str, with_server: bool
) -> None:
    environment = server if with_server else own_server
    undisturbed = Plumbline(environment, tmp_path / "undisturbed")
    options = options_for(images, tmp_path)
    Plumbline(environment, tmp_path / "first").ok(*options)  # bytecode and Prefect's database are made here
    began = time.monotonic()
    undisturbed.ok(*options)
    seconds = time.monotonic() - began
    expected = outcome(undisturbed)
    generator = random.Random(f"{SEED} {images} {with_server}")
    moments: list[float] = []
    workspaces = 0
    while len(moments) < KILLS:
        workspaces += 1
        killed = Plumbline(environment, tmp_path / f"killed-{workspaces}")
        moments += kill_until_one_ends(killed, options, seconds, KILLS - len(moments), generator)
        assert outcome(killed) == expected, (workspaces, moments)
        print(f"{images}, {with_server=}: {len(moments)} kills, {workspaces} workspaces", flush=True)


def options_for(images: str, folder: Path) -> tuple[object, ...]:
    if images == "digits":
        return ("--epochs", "3")
    photos = write_scenery(folder / "scenery", per_class=40)
    return ("--dataset", photos, "--recipe", "probe", "--image-size", "64")


def kill_until_one_ends(
    plumbline: Plumbline, options: tuple[object, ...], seconds: float, most: int, generator: random.Random
) -> list[float]:
    """Kill run after run, at most so many; the last run ends by itself. Returns the moments, as shares."""
    moments: list[float] = []
    while len(moments) < most:
        moment = generator.random()
        with plumbline.start_training(*options) as run:
            assert run.stdout is not None
            try:
                # communicate() reads, so that a full pipe does not stop the run
                output, _ = run.communicate(timeout=moment * seconds)
            except subprocess.TimeoutExpired:
                run.kill()
                run.communicate()
                moments.append(moment)
                continue
        assert run.returncode == 0, output
        return moments
    plumbline.ok(*options)
    return moments


def outcome(plumbline: Plumbline) -> dict[str, Any]:
    """What must not depend on kills: bytes, the registry and its log, and the tables.

    A run that was killed after its row was written is followed by an unchanged one with a row of its own in
    `runs`. The other tables have each row once.
    """
    workspace = Workspace.open(plumbline.workspace)
    (dataset,) = registry.datasets(workspace)
    diagnostics.mend(workspace)  # what killed writers left
    assert [finding.found for finding in diagnostics.check_files(workspace) if finding.fix] == []
    return {
        "bytes": {name: hash(data) for name, data in plumbline.files().items() if name.endswith(SAME_BYTES)},
        "aliases": registry.aliases(dataset, workspace),
        "log": [(line["action"], line.get("version")) for line in registry.history(dataset, workspace)],
        "tables": tables_of(plumbline),
    }


def tables_of(plumbline: Plumbline) -> dict[str, str]:
    """The content of each table as text, without what belongs to the run and not to its results."""
    found: dict[str, str] = {}
    for name in ("classes", "epochs", "predictions"):
        table = pd.read_parquet(plumbline.workspace / "metrics" / name)
        found[name] = table.drop(columns=OF_THE_RUN, errors="ignore").to_json()
    (accuracy,) = set(plumbline.runs()["test_accuracy"])
    return found | {"accuracy": str(accuracy)}
