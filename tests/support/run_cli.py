"""Runs Plumbline's commands as a user does, in processes of their own, and makes images to train on."""

import json
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Plumbline:
    """Starts Plumbline's commands in processes of their own, with the session's Prefect server.

    Args:
        environment: Environment variables of the processes.
        workspace: Workspace of the commands.
        root: Root of the code that runs.
    """

    environment: dict[str, str]
    workspace: Path
    root: Path = ROOT

    def with_code_copy(self) -> "Plumbline":
        """Returns the same with a copy of the code, which a test may edit."""
        root = self.workspace.parent / "code"
        for package in ("flows", "tasks"):
            shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
        return replace(self, root=root)

    def run(
        self, script: str, *arguments: object, python: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a script of the code to its end; `python` are options of the interpreter."""
        return subprocess.run(
            [sys.executable, *python, str(self.root / script), *map(str, arguments)],
            env=self.environment
            | {"PYTHONPATH": str(self.root)},  # an installed Plumbline may be another one
            cwd=self.workspace.parent,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )

    def start_training(self, *arguments: object) -> subprocess.Popen[str]:
        """Start a training run that the test reads from while it runs, and may kill."""
        command = ["flows/train_flow.py", *arguments, "--workspace", self.workspace]
        return subprocess.Popen(
            [sys.executable, *map(str, command)],
            env=self.environment | {"PYTHONPATH": str(self.root)},
            cwd=self.root,
            stdout=subprocess.PIPE,
            text=True,
        )

    def query_server(self, path: str, filter_: dict[str, Any] | None = None) -> Any:
        """Returns the Prefect server's JSON answer to a POST of a filter or, without one, to a GET."""
        content = None if filter_ is None else json.dumps(filter_).encode()
        address = self.environment["PREFECT_API_URL"] + path
        request = urllib.request.Request(address, content, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def prefect(self, *arguments: str) -> str:
        """Run a command of Prefect that must succeed. Returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            env=self.environment | {"PLUMBLINE_HOME": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def flow_run_states(self) -> list[str]:
        """Returns the state names of the server's flow runs that have started, the latest run first."""
        runs = self.query_server("/flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC"})
        return [run["state_name"] for run in runs if run["state_name"] != "Scheduled"]

    def latest_flow_run(self) -> dict[str, Any]:
        """Returns the flow run that started last; those of schedules, which other tests deploy, have not."""
        started = {"state": {"type": {"not_any_": ["SCHEDULED", "PENDING"]}}}
        wanted = {"sort": "START_TIME_DESC", "limit": 1, "flow_runs": started}
        (latest,) = self.query_server("/flow_runs/filter", wanted)
        return dict(latest)

    def task_run_states(self) -> list[str]:
        """Returns the state names of the latest flow run's tasks."""
        latest = self.latest_flow_run()
        runs = self.query_server("/task_runs/filter", {"flow_runs": {"id": {"any_": [latest["id"]]}}})
        return [run["state_name"] for run in runs]

    def stages(self) -> dict[str, str]:
        """Returns the state of each stage in the latest run ("ran", "cached", "skipped", "unchanged")."""
        latest = self.runs().iloc[-1]
        return {name: entry["state"] for name, entry in json.loads(latest["stages"]).items()}

    def runs(self) -> pd.DataFrame:
        """Returns the runs table, one row per run, in the order of their start."""
        return pd.read_parquet(self.workspace / "metrics" / "runs").sort_values("started")

    def train(self, *arguments: object, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run a training to its end; it may fail."""
        return self.run("flows/train_flow.py", *arguments, "--workspace", self.workspace, python=python)

    def ok(self, *arguments: object, python: tuple[str, ...] = ()) -> str:
        """Run a training that must succeed. Returns what it printed."""
        done = self.train(*arguments, python=python)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def files(self) -> dict[str, bytes]:
        """Returns the bytes of every file of the workspace except locks, by relative path."""
        return {
            path.relative_to(self.workspace).as_posix(): path.read_bytes()
            for path in sorted(self.workspace.rglob("*"))
            if path.is_file() and path.suffix != ".lock"
        }


def write_photos(folder: Path) -> Path:
    """Write 2 classes x 60 images into the folder: {across,down}/NNN.png. Returns the folder."""
    for label, name in enumerate(("across", "down")):
        (folder / name).mkdir(parents=True)
        for number in range(60):
            photo(label, number).save(folder / name / f"{number:03}.png")
    return folder


def photo(label: int, number: int) -> Image.Image:
    """A noisy image, 24 pixels wide and 20 high, of horizontal (label 0) or vertical (label 1) stripes."""
    generator = np.random.default_rng([label, number])
    stripes = np.indices((20, 24))[label] // 3 % 2 * 120
    noise = generator.integers(0, 100, (20, 24, 3))
    return Image.fromarray((stripes[..., None] + noise).astype(np.uint8))
