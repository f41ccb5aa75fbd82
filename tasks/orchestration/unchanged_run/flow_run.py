"""A flow run at a Prefect server, by plain requests to its API (https://docs.prefect.io/v3/api-ref/rest-api).

Prefect itself takes 1.2 CPU-s to import, and its flow engine 1 s. The server gets what the engine would tell
it: the flow, the run with its name, parameters and states, its logs and artifacts.
"""

import json
import logging
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.display.artifact_content import Artifact

TIMEOUT = 5.0  # seconds for the answer to one request


@dataclass(frozen=True)
class FlowRun:
    """A flow run of this process.

    Args:
        address: Of the API, such as "http://127.0.0.1:4200/api".
        id: The server's id of the run.
        name: Its name in the dashboard.
    """

    address: str
    id: str
    name: str

    def finish(self, messages: Iterable[logging.LogRecord], artifacts: Iterable[Artifact]) -> None:
        """Send the run's lines, its artifacts, and its last state.

        Raises:
            OSError: The server does not answer, or refuses.
        """
        logs = [
            {
                "name": record.name,
                "level": record.levelno,
                "message": record.getMessage(),
                "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
                "flow_run_id": self.id,
            }
            for record in messages
        ]
        _post(self.address, "/logs/", logs)
        for artifact in artifacts:
            _post(self.address, "/artifacts/", {**artifact.record(), "flow_run_id": self.id})
        self.set_state("COMPLETED", "Completed")

    def set_state(self, state: str, name: str, message: str = "") -> None:
        """Tell the server a state of the run.

        Raises:
            OSError: The server does not answer, or refuses.
        """
        content = {"state": {"type": state, "name": name, "message": message or None}}
        _post(self.address, f"/flow_runs/{self.id}/set_state", content)


def begin(address: str, flow: str, name: str, parameters: Mapping[str, Any]) -> FlowRun:
    """Create a flow run whose state is Running.

    Args:
        address: Of the API.
        flow: Name of the flow.
        name: Name of the run.
        parameters: The flow's parameters; JSON values.

    Raises:
        OSError: The server does not answer, or refuses: it asks for a password, for example.
        ValueError: The answer is not one of Prefect's.
    """
    flow_id = _post(address, "/flows/", {"name": flow})["id"]
    state = {"type": "PENDING", "name": "Pending"}
    content = {"flow_id": flow_id, "name": name, "parameters": dict(parameters), "state": state}
    run = FlowRun(address, str(_post(address, "/flow_runs/", content)["id"]), name)
    run.set_state("RUNNING", "Running")
    return run


def _post(address: str, path: str, content: Any) -> Any:
    request = urllib.request.Request(
        address.rstrip("/") + path, json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        answer = response.read()
    return json.loads(answer) if answer else {}
