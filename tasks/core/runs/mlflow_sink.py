"""Logs a finished run to an MLflow server, by its REST API: parameters, metrics, model and report.

https://mlflow.org/docs/latest/rest-api.html. The server must serve artifacts itself, which is what
`mlflow server` does by default. A user and a password, or a token, come from the address or from MLflow's own
variables (MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_TOKEN).
"""

import base64
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from tasks.core.addresses import is_readable
from tasks.core.errors import NetworkError, UsageError

TIMEOUT = 30  # seconds without an answer
API = "api/2.0/mlflow"
ARTIFACTS = "api/2.0/mlflow-artifacts/artifacts"
PROXIED = "mlflow-artifacts:"  # scheme of artifacts that the server serves itself
LONGEST_VALUE = 500  # characters of a parameter; older servers refuse longer ones
METRICS_A_REQUEST = 1_000  # https://mlflow.org/docs/latest/rest-api.html#request-limits
PARAMS_A_REQUEST = 100


@dataclass(frozen=True)
class LoggedRun:
    """What is logged of a run.

    Args:
        experiment: Name of the experiment: the dataset.
        name: Name of the run.
        started: When it started, seconds since 1970.
        params: Parameters by name; None is left out.
        metrics: Final figures by name; None is left out.
        epochs: One mapping per epoch, with "epoch".
        tags: Texts by name.
        files: Files, each with its folder among the artifacts.
    """

    experiment: str
    name: str
    started: float
    params: Mapping[str, Any]
    metrics: Mapping[str, float | None]
    epochs: Iterable[Mapping[str, Any]] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    files: tuple[tuple[Path, str], ...] = ()


def check_address(address: str) -> None:
    """Refuse what cannot be the address of a server.

    Raises:
        UsageError: It does not begin with http:// or https://, has no host, or a port that is none.
    """
    parts = urlsplit(address if is_readable(address) else "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            "--mlflow takes the address of a server",
            expected="http://host:port or https://host, of an `mlflow server`",
            found=repr(address),
        )


def log_run(address: str, run: LoggedRun) -> str:
    """Log a run.

    Args:
        address: The server, with a user and a password if it needs them.
        run: What is logged.

    Returns:
        The address of the run's page, without the user.

    Raises:
        NetworkError: The server does not answer, refuses, or does not serve artifacts. The run there, if it
            was begun, is marked as failed.
    """
    server = _Server(address)
    experiment = server.experiment(run.experiment)
    started = int(run.started * 1_000)
    tags = [{"key": key, "value": value} for key, value in run.tags.items()]
    body = {"experiment_id": experiment, "start_time": started, "run_name": run.name, "tags": tags}
    info = server.post("runs/create", body)["run"]["info"]
    status = "FAILED"
    try:
        _log_values(server, info["run_id"], run)
        for path, folder in run.files:
            server.upload(path, f"{info['artifact_uri']}/{folder}/{path.name}")
        status = "FINISHED"
    finally:
        end = {"run_id": info["run_id"], "status": status, "end_time": int(time.time() * 1_000)}
        server.post("runs/update", end)
    return f"{server.root}/#/experiments/{experiment}/runs/{info['run_id']}"


def _log_values(server: "_Server", run_id: str, run: LoggedRun) -> None:
    """Log parameters and metrics in as many requests as the limits ask for."""
    now, steps = int(time.time() * 1_000), _steps(run.epochs)
    last = steps[-1][0] if steps else 0
    metrics = [
        {"key": name, "value": float(value), "timestamp": now, "step": step}
        for step, values in [*steps, (last, run.metrics)]
        for name, value in values.items()
        if value is not None and value == value
    ]
    params = [{"key": name, "value": _text(value)} for name, value in run.params.items() if value is not None]
    for first in range(0, len(params), PARAMS_A_REQUEST):
        server.post("runs/log-batch", {"run_id": run_id, "params": params[first : first + PARAMS_A_REQUEST]})
    for first in range(0, len(metrics), METRICS_A_REQUEST):
        batch = metrics[first : first + METRICS_A_REQUEST]
        server.post("runs/log-batch", {"run_id": run_id, "metrics": batch})


def _steps(epochs: Iterable[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    """The figures of each epoch with its number, rounded up: the last epoch may be a fraction."""
    return [
        (-int(-values["epoch"] // 1), {key: value for key, value in values.items() if key != "epoch"})
        for values in epochs
    ]


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value, default=str))[:LONGEST_VALUE]


class _Server:
    """An MLflow server."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
        self.root = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
        self.headers = _authorization(parts.username, parts.password)

    def experiment(self, name: str) -> str:
        """The id of an experiment, which is created if there is none."""
        for _ in range(2):  # another run may create it at the same moment
            answer = self._ask("GET", f"{API}/experiments/get-by-name?experiment_name={quote(name)}")
            if answer is not None:
                return str(answer["experiment"]["experiment_id"])
            created = self._ask("POST", f"{API}/experiments/create", {"name": name}, missing=(400,))
            if created is not None:
                return str(created["experiment_id"])
        raise self._refused(f"the experiment {name} can neither be found nor created")

    def post(self, method: str, body: Mapping[str, Any]) -> Any:
        """Call a method; returns its answer."""
        return self._ask("POST", f"{API}/{method}", body, missing=())

    def upload(self, path: Path, artifact: str) -> None:
        """Upload a file to where the server keeps the artifacts of a run."""
        if not artifact.startswith(PROXIED):
            raise self._refused("it does not serve artifacts (start it with --serve-artifacts)")
        name = quote(urlsplit(artifact).path.lstrip("/"))
        self._send("PUT", f"{ARTIFACTS}/{name}", path)

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, missing: tuple[int, ...] = (404,)
    ) -> Any:
        """The JSON answer; None if its status is among `missing`."""
        content = None if body is None else json.dumps(body).encode()
        try:
            return json.loads(self._send(method, path, content))
        except _StatusError as error:
            if error.status in missing:
                return None
            raise self._refused(str(error)) from error
        except ValueError as error:
            raise self._refused("its answer is not JSON") from error

    def _send(self, method: str, path: str, content: bytes | Path | None) -> bytes:
        headers = self.headers | {"Content-Type": "application/json"}
        try:
            if isinstance(content, Path):
                headers |= {
                    "Content-Type": "application/octet-stream",
                    "Content-Length": str(content.stat().st_size),
                }
                with content.open("rb") as file:
                    return self._answer(
                        urllib.request.Request(f"{self.root}/{path}", file, headers, method=method)
                    )
            return self._answer(
                urllib.request.Request(f"{self.root}/{path}", content, headers, method=method)
            )
        except urllib.error.HTTPError as error:
            raise _StatusError(error.code, error.read()[:300].decode(errors="replace")) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._refused(str(getattr(error, "reason", error)) or type(error).__name__) from error

    def _answer(self, request: urllib.request.Request) -> bytes:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return bytes(response.read())

    def _refused(self, found: str) -> NetworkError:
        return NetworkError(
            f"the MLflow server at {self.root} did not take the run",
            found=found,
            done="the run itself is complete in the workspace",
            todo="start the server, or correct --mlflow; a run that is made again is logged again",
        )


class _StatusError(NetworkError):
    """An answer with a status of 400 or more."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"status {status}", found=text)
        self.status = status


def _authorization(user: str | None, password: str | None) -> dict[str, str]:
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    name = unquote(user) if user else os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    secret = unquote(password or "") if user else os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    pair = f"{name}:{secret}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"} if name else {}
