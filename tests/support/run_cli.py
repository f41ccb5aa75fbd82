"""Plumbline's commands as a person starts them, and pictures to train on."""

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
    """Starts Plumbline's commands in their own processes, against the session's server.

    Args:
        environment: Of the processes.
        workspace: Where they keep everything.
        root: The code that runs.
    """

    environment: dict[str, str]
    workspace: Path
    root: Path = ROOT

    def copied(self) -> "Plumbline":
        """The same with a copy of the code that a test may edit."""
        root = self.workspace.parent / "code"
        for package in ("flows", "tasks"):
            shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
        return replace(self, root=root)

    def run(
        self, script: str, *arguments: object, python: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *python, str(self.root / script), *map(str, arguments)],
            env=self.environment,
            cwd=self.workspace.parent,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )

    def started(self, *arguments: object) -> subprocess.Popen[str]:
        """A training run that the test watches, and may kill."""
        command = ["flows/train_flow.py", *arguments, "--workspace", self.workspace]
        return subprocess.Popen(
            [sys.executable, *map(str, command)],
            env=self.environment | {"PYTHONPATH": str(self.root)},
            cwd=self.root,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, path: str, filter_: dict[str, Any] | None = None) -> Any:
        """The server's answer, JSON: to a POST of a filter, or to a GET."""
        content = None if filter_ is None else json.dumps(filter_).encode()
        address = self.environment["PREFECT_API_URL"] + path
        request = urllib.request.Request(address, content, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def prefect(self, *arguments: str) -> str:
        """Run a command of Prefect's own that must succeed; gives what it printed."""
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
        """Names of the states of the server's flow runs, the latest run first."""
        runs = self.ask("/flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC"})
        return [run["state_name"] for run in runs if run["state_name"] != "Scheduled"]

    def task_run_states(self) -> list[str]:
        """Names of the states of the latest flow run's tasks."""
        (latest,) = self.ask("/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})
        runs = self.ask("/task_runs/filter", {"flow_runs": {"id": {"any_": [latest["id"]]}}})
        return [run["state_name"] for run in runs]

    def stages(self) -> dict[str, str]:
        """State of each stage in the latest run, from the runs table: "ran", "cached", "unchanged"."""
        latest = self.runs().iloc[-1]
        return {name: entry["state"] for name, entry in json.loads(latest["stages"]).items()}

    def runs(self) -> pd.DataFrame:
        return pd.read_parquet(self.workspace / "metrics" / "runs").sort_values("started")

    def train(self, *arguments: object, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return self.run("flows/train_flow.py", *arguments, "--workspace", self.workspace, python=python)

    def ok(self, *arguments: object, python: tuple[str, ...] = ()) -> str:
        """As `train`, for a run that must succeed; gives what it printed."""
        done = self.train(*arguments, python=python)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def files(self) -> dict[str, bytes]:
        """Every file of the workspace but locks, with its bytes."""
        return {
            path.relative_to(self.workspace).as_posix(): path.read_bytes()
            for path in sorted(self.workspace.rglob("*"))
            if path.is_file() and path.suffix != ".lock"
        }


def photo(kind: int, number: int) -> Image.Image:
    """A 24x20 picture whose class shows: horizontal (0) or vertical (1) stripes, in noise."""
    generator = np.random.default_rng([kind, number])
    stripes = np.indices((20, 24))[kind] // 3 % 2 * 120
    noise = generator.integers(0, 100, (20, 24, 3))
    return Image.fromarray((stripes[..., None] + noise).astype(np.uint8))
