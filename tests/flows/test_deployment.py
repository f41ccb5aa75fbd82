"""deployments/prefect.yaml, deployed to a real server and run by a real worker, by README's commands."""

import json
import subprocess
import sys
import time
import urllib.request
from typing import Any

import pytest
import yaml

from tests.support.run_cli import ROOT, Plumbline

pytestmark = pytest.mark.slow
DECLARED = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())["deployments"]
SCHEDULED = [deployment for deployment in DECLARED if deployment.get("schedules")]


def test_schedules_become_runs(plumbline: Plumbline) -> None:
    """Prefect's scheduler is alive: with SQLAlchemy 2.1 it dies and the server seems well."""
    plumbline.prefect("work-pool", "create", "plumbline", "--type", "process", "--overwrite")
    plumbline.prefect("deploy", "--prefect-file", "deployments/prefect.yaml", "--all")
    deadline = time.monotonic() + 120
    # The scheduler takes the schedules one after the other: wait for all, not for the first.
    while len(kinds(runs := scheduled(plumbline))) < sum(len(each["schedules"]) for each in SCHEDULED):
        assert time.monotonic() < deadline
        time.sleep(1)
    assert {run["auto_scheduled"] for run in runs} == {True}
    assert {run["parameters"].get("promote", "better") for run in runs} == {"better", "never"}


def kinds(runs: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Deployment and policy of runs: no two schedules share both."""
    return {(run["deployment_id"], run["parameters"].get("promote", "")) for run in runs}


def scheduled(plumbline: Plumbline) -> list[dict[str, Any]]:
    """Flow runs that the scheduler has put into the calendar."""
    content = json.dumps({"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}).encode()
    request = urllib.request.Request(
        plumbline.environment["PREFECT_API_URL"] + "/flow_runs/filter",
        content,
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return list(json.load(response))


def test_a_deployment_runs_on_a_worker(plumbline: Plumbline) -> None:
    plumbline.prefect("work-pool", "create", "plumbline", "--type", "process", "--overwrite")
    plumbline.prefect("deploy", "--prefect-file", "deployments/prefect.yaml", "--all")
    worker = subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", "plumbline"],
        env=plumbline.environment | {"PREFECT_WORKER_QUERY_SECONDS": "2"},
        cwd=plumbline.workspace.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        said = plumbline.prefect(
            *("deployment", "run", "train-image-classifier/digits", "--watch", "--watch-timeout", "240"),
            *("-p", f"workspace={json.dumps(str(plumbline.workspace))}", "-p", "epochs=2"),
        )
    finally:
        worker.terminate()
        worker.wait(60)
    assert "Completed" in said
    (run,) = plumbline.runs().to_dict("records")
    assert run["version"] == "v0001"
    assert run["flow_run_id"]


def test_every_schedule_names_parameters_that_the_flow_has() -> None:
    from flows.predict_flow import predict_flow
    from flows.sweep_flow import sweep_flow
    from flows.train_flow import train_flow

    flows = {"train_flow": train_flow, "predict_flow": predict_flow, "sweep_flow": sweep_flow}
    for deployment in DECLARED:
        known = set(flows[deployment["entrypoint"].partition(":")[2]].parameters.properties)
        assert set(deployment["parameters"]) <= known
        for schedule in deployment.get("schedules", ()):
            assert set(schedule.get("parameters", {})) <= known
    assert {deployment["name"] for deployment in SCHEDULED} >= {"cifar10-nightly", "photos-weekly"}
