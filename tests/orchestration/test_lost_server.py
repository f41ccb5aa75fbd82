"""A Prefect server that is not there, is none, or is lost: one message, and no work is lost."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from tasks.core.operations.prefect_server import START_TIMEOUT
from tasks.display import server_link
from tests.support.run_cli import Plumbline
from tests.support.servers.free_ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
SERVER = (sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app")


def start_with(address: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Open the command `train` with this PREFECT_API_URL, as a user does; stops before any import."""
    code = "from tasks.core.operations import environment; environment.open_command('train')"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PREFECT_API_URL": address, "PREFECT_HOME": str(home)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def web_page() -> Iterator[str]:
    """The address of a web server that answers every request with a page."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"true" if self.path == "/sub/api/health" else b"<!doctype html><title>UI")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def refused(address: str, home: Path) -> str:
    """The one message of a refusal."""
    done = start_with(address, home)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: no Prefect server answers at")
    assert len(done.stderr.splitlines()) == 5
    assert "make dashboard" in done.stderr
    return done.stderr


def test_a_closed_port_is_refused_at_the_start(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    message = refused(f"http://user:secret@127.0.0.1:{port}/api", tmp_path)
    assert "Connection refused" in message
    assert "secret" not in message


def test_another_program_is_refused_and_the_right_address_named(tmp_path: Path, web_page: str) -> None:
    assert "'<!doctype html><title>UI'" in refused(f"{web_page}/api", tmp_path)
    assert f"set PREFECT_API_URL={web_page}/sub/api" in refused(f"{web_page}/sub", tmp_path)


@pytest.mark.slow  # it waits 5 s for the answer
def test_a_server_that_hangs_is_refused(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        assert "no answer within 5 s" in refused(address, tmp_path)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:4200/api", "garbage", "http://", "http://h:99999/api", "http://[::1/api", "/x y"]
)
def test_what_is_no_address_is_refused(tmp_path: Path, address: str) -> None:
    assert "an address" in refused(address, tmp_path)


def test_only_failures_of_the_server_count_as_lost() -> None:
    request = httpx.Request("GET", "http://team:4200/api")
    for code, lost in ((500, True), (503, True), (404, True), (401, False), (422, False)):
        error = httpx.HTTPStatusError("", request=request, response=httpx.Response(code))
        assert server_link.is_lost(error) is lost
    assert server_link.is_lost(httpx.ConnectError("refused"))
    assert not server_link.is_lost(RuntimeError("a bug"))


@pytest.mark.stress
def test_a_training_ends_as_undisturbed_after_its_server_is_killed(
    plumbline: Plumbline, tmp_path: Path
) -> None:
    undisturbed = tmp_path / "undisturbed"
    plumbline.run("flows/train_flow.py", "--epochs", "12", "--workspace", undisturbed)
    command = ("flows/train_flow.py", "--epochs", "12", "--workspace", plumbline.workspace)
    code, output, errors = run_while_the_server_is_killed(plumbline, tmp_path, command, "epoch")
    assert code == 0, output + errors
    assert len(re.findall(r"the Prefect server at \S+ is lost", output)) == 1
    assert "the run is complete; its last state is missing in the dashboard" in output
    assert len(errors.splitlines()) <= 2
    made = [*undisturbed.glob("training/*/weights.npz"), *undisturbed.glob("models/*/v0001/profile/*")]
    assert len(made) == 3
    for path in made:
        assert (plumbline.workspace / path.relative_to(undisturbed)).read_bytes() == path.read_bytes()


@pytest.mark.stress
def test_an_evaluation_ends_well_after_its_server_is_killed(plumbline: Plumbline, tmp_path: Path) -> None:
    place = ("--dataset", "digits", "--workspace", plumbline.workspace)
    plumbline.run("flows/train_flow.py", "--epochs", "2", *place)
    command = ("flows/evaluate_flow.py", "digits", *place)
    code, output, errors = run_while_the_server_is_killed(plumbline, tmp_path, command, "download")
    assert code == 0, output + errors
    assert "the run is complete; its last state is missing in the dashboard" in output
    assert len(errors.splitlines()) <= 2


def run_while_the_server_is_killed(
    plumbline: Plumbline, folder: Path, command: tuple[str | Path, ...], line: str
) -> tuple[int, str, str]:
    """Run a command with a server of its own, which is killed when a line of the output has `line`.

    Returns:
        The command's exit code, output and errors.
    """
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}/api"
    with subprocess.Popen(
        [*SERVER, "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"],
        env=plumbline.environment | {"PREFECT_HOME": str(folder / "home")},
    ) as server:
        wait_until_healthy(address)
        run = subprocess.Popen(
            [sys.executable, ROOT / command[0], *command[1:]],
            env=plumbline.environment | {"PREFECT_API_URL": address},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert run.stdout is not None
        next(printed for printed in run.stdout if line in printed)
        server.send_signal(signal.SIGKILL)
    output, errors = run.communicate(timeout=300)
    return run.returncode, output, errors


def wait_until_healthy(address: str) -> None:
    """Wait until a server answers."""
    for _ in range(int(START_TIMEOUT)):
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=1):
                return
        except OSError:
            signal.sigtimedwait([], 1)
    raise TimeoutError(address)
