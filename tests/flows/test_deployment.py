"""deployments/prefect.yaml, deployed to a real server and run by a real worker."""

import json
import subprocess
import sys
import time
from typing import Any

import pytest
import yaml

from tests.support.run_cli import ROOT, Plumbline

pytestmark = pytest.mark.slow
DECLARED = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())["deployments"]
SCHEDULED = [deployment for deployment in DECLARED if deployment.get("schedules")]


def test_deployed_schedules_become_scheduled_runs(plumbline: Plumbline) -> None:
    """Prefect's scheduler works: with SQLAlchemy 2.1 it dies while the server seems healthy."""
    plumbline.prefect("work-pool", "create", "plumbline", "--type", "process", "--overwrite")
    plumbline.prefect("deploy", "--prefect-file", "deployments/prefect.yaml", "--all")
    deadline = time.monotonic() + 120
    # The scheduler handles one schedule after the other: wait for all, not for the first.
    while len(distinct_schedules(runs := scheduled(plumbline))) < sum(
        len(deployment["schedules"]) for deployment in SCHEDULED
    ):
        assert time.monotonic() < deadline
        time.sleep(1)
    assert {run["auto_scheduled"] for run in runs} == {True}
    assert {run["parameters"].get("promote", "better") for run in runs} == {"better", "never"}


def distinct_schedules(runs: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Deployment and promotion policy of each run: no two schedules have both in common."""
    return {(run["deployment_id"], run["parameters"].get("promote", "")) for run in runs}


def scheduled(plumbline: Plumbline) -> list[dict[str, Any]]:
    """Returns the flow runs that the scheduler has created."""
    filter_ = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    return list(plumbline.query_server("/flow_runs/filter", filter_))


def test_deployment_run_on_a_worker_publishes_a_version(plumbline: Plumbline) -> None:
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
        output = plumbline.prefect(
            *("deployment", "run", "train-image-classifier/digits", "--watch", "--watch-timeout", "240"),
            *("-p", f"workspace={json.dumps(str(plumbline.workspace))}", "-p", "epochs=2"),
        )
    finally:
        worker.terminate()
        worker.wait(60)
    assert "Completed" in output
    (run,) = plumbline.runs().to_dict("records")
    assert run["version"] == "v0001"
    assert run["flow_run_id"]


def test_every_deployment_has_only_parameters_of_its_flow() -> None:
    from flows.predict_flow import predict_flow
    from flows.sweep_flow import sweep_flow
    from flows.train_flow import train_flow

    flows = {"train_flow": train_flow, "predict_flow": predict_flow, "sweep_flow": sweep_flow}
    for deployment in DECLARED:
        parameters = set(flows[deployment["entrypoint"].partition(":")[2]].parameters.properties)
        assert set(deployment["parameters"]) <= parameters
        for schedule in deployment.get("schedules", ()):
            assert set(schedule.get("parameters", {})) <= parameters
    assert {deployment["name"] for deployment in SCHEDULED} >= {"cifar10-nightly", "photos-weekly"}
