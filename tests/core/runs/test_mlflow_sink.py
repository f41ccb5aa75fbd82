"""The sink against a real `mlflow server`, where one is installed, and against what is no such server."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import NetworkError, UsageError
from tasks.core.runs import mlflow_sink
from tasks.core.runs.mlflow_sink import LoggedRun

# `mlflow` needs about 700 MB, so the development environment does not have it. An installed one is used.
MLFLOW = os.environ.get("PLUMBLINE_TEST_MLFLOW") or shutil.which("mlflow")


def logged(*files: Path) -> LoggedRun:
    return LoggedRun(
        "my photos",
        "20260102-030405-ab",
        1_767_323_045.0,
        {"recipe": "fast", "seed": 3, "augment": None, "vary": ["a", "b"]} | {f"p{n}": n for n in range(120)},
        {"test_accuracy": 0.9, "test_auc": None, "test_loss": float("nan")},
        [{"epoch": 1.0, "train_loss": 0.5}, {"epoch": 1.5, "train_loss": 0.25}],
        {"mlflow.note.content": "champion v0001 stays"},
        tuple((path, "model") for path in files),
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server with a new database."""
    if not MLFLOW:
        pytest.skip("no `mlflow` on the PATH or in PLUMBLINE_TEST_MLFLOW")
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder)]
    command = [MLFLOW, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *stores]
    process = subprocess.Popen(command, cwd=folder, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with its workers and runners of jobs, which outlive SIGTERM
        process.wait()


def ask(address: str, path: str, body: dict[str, Any] | None = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/{path}", content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@pytest.mark.stress
@pytest.mark.timeout(300)
def test_run_is_on_a_real_server_with_all_that_was_logged(server: str, tmp_path: Path) -> None:
    model = tmp_path / "model.keras"
    model.write_bytes(bytes(range(256)) * 1000)
    page = mlflow_sink.log_run(server, logged(model))
    assert page.startswith(f"{server}/#/experiments/")
    run = ask(server, f"api/2.0/mlflow/runs/get?run_id={page.rpartition('/')[2]}")["run"]
    assert run["info"]["status"] == "FINISHED"
    assert run["info"]["run_name"] == "20260102-030405-ab"
    params = {pair["key"]: pair["value"] for pair in run["data"]["params"]}
    assert params["vary"] == '["a", "b"]'
    assert (params["seed"], params["p119"], len(params)) == ("3", "119", 123)
    assert {pair["key"]: pair["value"] for pair in run["data"]["metrics"]} == {
        "test_accuracy": 0.9,
        "train_loss": 0.25,
    }
    url = f"api/2.0/mlflow/metrics/get-history?run_id={run['info']['run_id']}&metric_key=train_loss"
    steps = [(point["step"], point["value"]) for point in ask(server, url)["metrics"]]
    assert steps == [(1, 0.5), (2, 0.25)]
    path = f"{mlflow_sink.ARTIFACTS}/{run['info']['artifact_uri'].partition(':/')[2]}/model/model.keras"
    with urllib.request.urlopen(f"{server}/{path}") as answer:
        assert answer.read() == model.read_bytes()
    second = mlflow_sink.log_run(server, logged())
    assert second.split("/runs/")[0] == page.split("/runs/")[0]  # the same experiment


@pytest.mark.parametrize(
    "address", ["localhost:5000", "ftp://host", "http://", "./mlruns", "http://[x", "http://x:99999"]
)
def test_what_is_no_address_of_a_server_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="takes the address of a server"):
        mlflow_sink.check_address(address)


def test_server_that_does_not_answer_is_named_without_its_password() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(NetworkError) as caught:
        mlflow_sink.log_run(f"http://ann:hunter22@127.0.0.1:{port}", logged())
    assert f"the MLflow server at http://127.0.0.1:{port} did not take the run" in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_server_of_another_kind_is_refused(bucket: Any) -> None:
    """An S3 server answers 404 to every method."""
    with pytest.raises(NetworkError, match="did not take the run"):
        mlflow_sink.log_run(bucket.endpoint, logged())
