"""The server when something around it is broken: nothing is lost silently, and the fault is told."""

import contextlib
import json
import socket
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks.core.serving import http_server, served_model, similar
from tasks.core.serving.batching import Batcher
from tasks.core.serving.recording import Recorder
from tasks.core.serving.served_model import DecisionOptions
from tasks.core.workspace import Workspace
from tests.core.serving.conftest import PNG, Served
from tests.support import served_versions
from tests.support.processes.waiting import wait_until
from tests.support.sample_files import encoded, noise, put

pytestmark = pytest.mark.slow


def test_rows_that_cannot_be_written_are_told_and_kept(workspace: Workspace, tmp_path: Path) -> None:
    """A file in place of the folder: for a while neither images nor rows can be written."""
    out, png = tmp_path / "out", encoded(noise(0, 8, 8))
    out.write_bytes(b"")
    recorder = Recorder(out, keep_images=True)
    with served_versions.served(workspace, recorder=recorder, record_seconds=0.1) as (client, _):
        assert client.post("/v1/predict", content=png, headers=PNG).status_code == 200
        wait_until(lambda: len(recorder.problems) >= 2)
        health = client.get("/health").json()
        assert (health["status"], len(health["problems"])) == ("degraded", 2)
        out.unlink()
        client.post("/v1/predict", content=png, headers=PNG)
        wait_until(lambda: not recorder.problems)
        assert client.get("/health").json()["status"] == "ok"
    paths = pq.read_table(out)["path"].to_pylist()  # the kept image is not read as a table
    without, kept = sorted(paths, key=lambda path: not path.startswith("request://"))
    assert without.startswith("request://")
    assert Path(kept).read_bytes() == png


def test_head_has_the_headers_of_get(server: Served) -> None:
    for path in ("/health", "/metrics", "/", "/workspace", "/static/style.css"):
        answer = server[0].head(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert int(answer.headers["Content-Length"]) > 0


def test_a_fault_is_counted_and_told(workspace: Workspace) -> None:
    with served_versions.served(workspace) as (client, service):
        del service.batcher  # the model cannot be asked
        answer = client.post("/v1/predict", content=encoded(noise(0, 8, 8)), headers=PNG)
        service.batcher = Batcher(1)
        assert (answer.status_code, "its log" in answer.json()["error"]) == (500, True)
        assert 'plumbline_requests_total{status="500"} 1.0' in client.get("/metrics").text


def test_similar_images_are_left_out_when_the_tensors_are_gone(workspace: Workspace) -> None:
    version = served_versions.registry.resolve("animals", "v0001", workspace)
    model = served_model.load("animals", version.version, DecisionOptions(), workspace)
    assert similar.training_images(model, workspace, lambda: False) is None  # the server is being stopped
    known = similar.training_images(model, workspace, lambda: True)
    assert known is not None
    folder = known.tensors.directory
    folder.rename(folder.with_name("away"))
    assert known.picture(int(known.rows[0])) is None
    assert len(known.nearest(known.directions[:1], 3)[0]) == 3
    folder.with_name("away").rename(folder)


def test_names_that_no_file_can_have_are_not_found(server: Served) -> None:
    for name in ("a" * 300, "%00"):
        assert server[0].get(f"/workspace/models/{name}/v0001").status_code == 400
    assert server[0].get(f"/workspace/reports/{'a' * 300}/report.html").status_code == 404


def test_connections_beyond_the_limit_are_told_so_and_closed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise idle ones use up the files that the process may open."""
    monkeypatch.setattr(http_server, "CONNECTIONS", 3)
    with served_versions.served(workspace) as (client, _), contextlib.ExitStack() as opened:
        address = client.base_url.host, client.base_url.port
        idle = [opened.enter_context(socket.create_connection(address, timeout=10)) for _ in range(9)]
        answers = [connection.recv(9999) for connection in idle[3:]]  # the first three wait for a request
        assert [answer[:12] for answer in answers] == [b"HTTP/1.1 503"] * 6
        assert b"retry-after: 1\r\n" in answers[0]
        assert "too many connections" in json.loads(answers[0].partition(b"\r\n\r\n")[2])["error"]
        for connection in idle:
            connection.close()
        wait_until(lambda: client.get("/health").status_code == 200)


def test_a_folder_that_cannot_be_made_is_refused_before_requests_come(tmp_path: Path) -> None:
    put(tmp_path / "file", b"")
    with pytest.raises(NotADirectoryError):
        Recorder(tmp_path / "file" / "rows").check()
