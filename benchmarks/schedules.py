"""Three deployments on one-minute schedules, two workers, one of them killed: is a run lost or done twice?

    python benchmarks/schedules.py --minutes 15

A real server, a process pool and two workers run for the given time. `digits` and one folder never change;
the other folder gets a new image every few minutes. After half of the time one worker is killed with -9,
together with the run that it is at. Then the runs table is held against Prefect's API, and the trainings
against the number of data versions.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.prefect_service import ROOT, Service

EVERY = 180  # seconds between new images
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def photo(folder: Path, number: int) -> None:
    """A striped picture; the direction of the stripes is its class."""
    for kind, name in enumerate(("across", "down")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng([kind, number]).integers(0, 100, (20, 24, 3))
        pixels = np.indices((20, 24))[kind][..., None] // 3 % 2 * 120 + noise
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number:04}.png")


def deployments(scratch: Path) -> Path:
    """The three deployments, declared as in deployments/prefect.yaml."""
    declared = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())
    model = next(each for each in declared["deployments"] if each["name"] == "digits")
    datasets = {"digits": "digits", "still": str(scratch / "still"), "growing": str(scratch / "growing")}
    declared["deployments"] = [
        model
        | {
            "name": name,
            "parameters": {
                "dataset": dataset,
                "epochs": 2,
                "if_running": "drop",
                "workspace": str(scratch / "workspace"),
            },
            "schedules": [{"cron": "* * * * *", "timezone": "UTC", "slug": "minute"}],
        }
        for name, dataset in datasets.items()
    ]
    declared["pull"][0]["prefect.deployments.steps.set_working_directory"]["directory"] = str(ROOT)
    path = scratch / "prefect.yaml"
    path.write_text(yaml.safe_dump(declared))
    return path


def run(service: Service, scratch: Path, minutes: float) -> int:
    """Let the schedules fire; gives how many versions of the growing folder there were."""
    service.prefect("work-pool", "create", "plumbline", "--type", "process")
    service.prefect("deploy", "--prefect-file", str(deployments(scratch)), "--all")
    workers = [
        service.start(
            f"worker{number}", "worker", "start", "--pool", "plumbline", "--name", f"worker{number}"
        )
        for number in (1, 2)
    ]
    began, versions, killed = time.monotonic(), 1, False
    while (elapsed := time.monotonic() - began) < minutes * 60:
        time.sleep(1)
        if elapsed > versions * EVERY:
            photo(scratch / "growing", 1000 + versions)
            versions += 1
        if elapsed > minutes * 30 and not killed and at_work(workers[0].pid):
            os.killpg(workers[0].pid, signal.SIGKILL)
            killed = True
            print(f"{elapsed:.0f} s: worker1 killed, with the run that it had", flush=True)
    for name in ("digits", "still", "growing"):
        service.prefect("deployment", "schedule", "clear", "--accept-yes", f"train-image-classifier/{name}")
    return versions


def at_work(pid: int) -> bool:
    """Whether a worker has a flow run, a process of its own (Linux)."""
    return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").strip())


def drain(service: Service) -> list[dict[str, Any]]:
    """Wait until no run is under way; gives all that were due."""
    deadline = time.monotonic() + 240
    while True:
        now = pd.Timestamp.now(tz="UTC")
        due = [each for each in service.flow_runs() if pd.Timestamp(each["expected_start_time"]) <= now]
        if all(each["state_type"] in FINAL for each in due) or time.monotonic() > deadline:
            return due
        time.sleep(2)


def judge(due: list[dict[str, Any]], scratch: Path, versions: int) -> bool:
    states = Counter(f"{each['state_name']}: {(each['state'].get('message') or '')[:60]}" for each in due)
    print(f"\n{len(due)} runs were due:")
    for state, count in states.most_common():
        print(f"  {count:4}  {state}")
    table = pd.read_parquet(scratch / "workspace" / "metrics" / "runs")
    completed = {each["id"] for each in due if each["state_name"] == "Completed"}
    rows = set(table["flow_run_id"])
    trained = table["stages"].str.contains(r'"train": \{[^}]*"state": "ran"').groupby(table["dataset"]).sum()
    print(
        f"completed runs without a row: {len(completed - rows)}; rows of other runs: {len(rows - completed)}"
    )
    print(f"trainings: {trained.to_dict()}; versions of the growing folder: {versions}")
    unfinished = [each for each in due if each["state_type"] not in FINAL]
    print(f"runs without an end: {len(unfinished)}")
    return not (completed - rows) and not unfinished and bool((trained <= [1, versions, 1]).all())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=15, help="how long the schedules fire")
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for number in range(60):
            photo(scratch / "still", number)
            photo(scratch / "growing", number)
        with Service(scratch / "prefect") as service:
            versions = run(service, scratch, minutes)
            sound = judge(drain(service), scratch, versions)
    sys.exit(not sound)


if __name__ == "__main__":
    main()
