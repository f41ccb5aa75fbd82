"""deployments/prefect.yaml, deployed to a real server and run by a real worker."""

import json
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml

from tests.support.processes.prefect_worker import worker
from tests.support.processes.waiting import wait_until
from tests.support.run_cli import ROOT, Plumbline

pytestmark = pytest.mark.slow
DECLARED = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())["deployments"]
SCHEDULED = [deployment for deployment in DECLARED if deployment.get("schedules")]
ACTIVE = [each for each in SCHEDULED if any(when.get("active", True) for when in each["schedules"])]
OWN_FOLDERS = ("photos-weekly", "photos-predict")  # nobody has these folders: a run would fail


class Webhook:
    """A receiver of notifications on a port of its own.

    Attributes:
        heard: The bodies of its requests.
    """

    def __init__(self) -> None:
        heard = self.heard = []  # type: list[str]

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.send_response(200)
                self.end_headers()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def block(self) -> dict[str, Any]:
        """Returns the values of Prefect's block for it."""
        return {
            "name": "team",
            "url": f"http://127.0.0.1:{self.server.server_port}/",
            "json_data": {"text": "{{subject}} {{body}}"},
            "allow_private_urls": True,
        }


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    """A receiver of notifications."""
    receiver = Webhook()
    yield receiver
    receiver.server.shutdown()


@pytest.fixture(scope="module")
def deployed(server: dict[str, str], webhook: Webhook, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The server has the deployments of prefect.yaml, which tell the webhook what happens."""
    plumbline = Plumbline(server, tmp_path_factory.mktemp("deployed") / "workspace")
    plumbline.prefect("work-pool", "create", "plumbline", "--type", "process", "--overwrite")
    plumbline.prefect("deploy", "--prefect-file", with_block(plumbline, webhook.block()), "--all")


@pytest.mark.usefixtures("deployed")
def test_deployed_schedules_become_scheduled_runs(plumbline: Plumbline) -> None:
    """Prefect's scheduler works: with SQLAlchemy 2.1 it dies while the server seems healthy."""
    # The scheduler handles one schedule after the other: wait for all, not for the first.
    wait_until(
        lambda: {run["name_of_deployment"] for run in scheduled(plumbline)} >= names(ACTIVE), seconds=120
    )
    assert {run["auto_scheduled"] for run in scheduled(plumbline)} == {True}
    assert names(ACTIVE) == {"cifar10-nightly"}


def test_nothing_is_scheduled_or_triggered_for_folders_that_nobody_has() -> None:
    own = [deployment for deployment in DECLARED if deployment["name"] in OWN_FOLDERS]
    assert names(own) == set(OWN_FOLDERS)
    started = [start for each in own for start in (*each["schedules"], *each.get("triggers", ()))]
    assert {start.get("active", start.get("enabled")) for start in started} == {False}


def names(deployments: list[dict[str, Any]]) -> set[str]:
    """Returns the names of the deployments."""
    return {deployment["name"] for deployment in deployments}


def scheduled(plumbline: Plumbline) -> list[dict[str, Any]]:
    """Returns the flow runs that the scheduler has created, with the names of their deployments."""
    deployed = {each["id"]: each["name"] for each in plumbline.query_server("/deployments/filter", {})}
    filter_ = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    runs = plumbline.query_server("/flow_runs/filter", filter_)
    return [run | {"name_of_deployment": deployed[run["deployment_id"]]} for run in runs]


@pytest.mark.usefixtures("deployed")
def test_deployment_run_on_a_worker_publishes_a_version(plumbline: Plumbline, webhook: Webhook) -> None:
    """The run's lines are in its log in the dashboard, and a notification block hears of the promotion."""
    with worker(plumbline):
        output = plumbline.prefect(
            *("deployment", "run", "train-image-classifier/digits", "--watch", "--watch-timeout", "240"),
            *("-p", f"workspace={json.dumps(str(plumbline.workspace))}", "-p", "epochs=2"),
        )
    assert "Completed" in output
    (run,) = plumbline.runs().to_dict("records")
    assert run["version"] == "v0001"
    logs = {"logs": {"flow_run_id": {"any_": [run["flow_run_id"]]}}}
    lines = [line["message"] for line in plumbline.query_server("/logs/filter", logs)]
    assert sum(line.startswith("train  ") for line in lines) == 1
    assert any(line.startswith("verdict  ") for line in lines)

    flow_runs = {"flow_runs": {"id": {"any_": [run["flow_run_id"]]}}}
    found = {each["key"]: each for each in plumbline.query_server("/artifacts/filter", flow_runs)}
    assert found.keys() - {None} == {
        f"{key}-digits" for key in ("summary", "classes", "explain", "champions")
    }
    assert f"`{(plumbline.workspace / str(run['report'])).as_uri()}`" in found["summary-digits"]["data"]
    assert "](data:image/png;base64," in found["summary-digits"]["data"]
    assert all(each["description"] for each in found.values())

    fail_a_run(plumbline, "predict-images", "no folder ./new-photos")
    drifted = {"dataset": "digits", "version": "v0001", "words": "DRIFT: brightness"}
    emit(plumbline, "plumbline.drift.detected", "plumbline.model.digits", drifted)
    wait_until(lambda: len(webhook.heard) >= 3)
    heard = "\n".join(sorted(webhook.heard))
    assert "digits has a new champion" in heard
    assert "predict-images Failed" in heard
    assert "no folder ./new-photos" in heard
    assert "DRIFT: brightness" in heard


def with_block(plumbline: Plumbline, values: dict[str, Any]) -> str:
    """Returns the path of a copy of prefect.yaml that names a new block, which hears of what happens."""
    kind = plumbline.query_server("/block_types/slug/custom-webhook")["id"]
    only = {"block_schemas": {"block_type_id": {"any_": [kind]}}}
    (schema, *_) = plumbline.query_server("/block_schemas/filter", only)
    block = {"name": "team", "data": values, "block_type_id": kind, "block_schema_id": schema["id"]}
    plumbline.query_server("/block_documents/", block)
    text = (ROOT / "deployments" / "prefect.yaml").read_text()
    assert text.count('block: ""') == 1
    path = plumbline.workspace.parent / "prefect.yaml"
    path.write_text(text.replace('block: ""', "block: custom-webhook/team"))
    return str(path)


def fail_a_run(plumbline: Plumbline, flow: str, why: str) -> None:
    """Tell the server of a flow run that has failed."""
    flow_id = plumbline.query_server("/flows/", {"name": flow})["id"]
    state = {"type": "PENDING", "name": "Pending"}
    run = plumbline.query_server("/flow_runs/", {"flow_id": flow_id, "name": "mine", "state": state})
    for type_, name in (("RUNNING", "Running"), ("FAILED", "Failed")):
        content = {"state": {"type": type_, "name": name, "message": why}}
        plumbline.query_server(f"/flow_runs/{run['id']}/set_state", content)


def emit(plumbline: Plumbline, event: str, resource: str, payload: dict[str, Any]) -> None:
    """Send an event to the server, as `emit_event` does."""
    sent = {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": event,
        "resource": {"prefect.resource.id": resource},
        "payload": payload,
    }
    address, kind = f"{plumbline.environment['PREFECT_API_URL']}/events", {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(address, json.dumps([sent]).encode(), kind), timeout=30)


def test_every_deployment_has_only_parameters_of_its_flow() -> None:
    from flows.predict_flow import predict_flow
    from flows.prune_flow import prune_flow
    from flows.sweep_flow import sweep_flow
    from flows.train_flow import train_flow

    flows = {
        "train_flow": train_flow,
        "predict_flow": predict_flow,
        "sweep_flow": sweep_flow,
        "prune_flow": prune_flow,
    }
    for deployment in DECLARED:
        parameters = set(flows[deployment["entrypoint"].partition(":")[2]].parameters.properties)
        assert set(deployment["parameters"]) <= parameters
        for schedule in deployment.get("schedules", ()):
            assert set(schedule.get("parameters", {})) <= parameters
    assert {deployment["name"] for deployment in SCHEDULED} >= {"cifar10-nightly", "photos-weekly"}
