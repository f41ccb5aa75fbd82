"""Which Prefect server a command takes, and that a temporary one never outlives it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

ROOT = Path(__file__).resolve().parents[3]
BEGIN = (
    "import json, os, sys\n"
    "from tasks.core.operations import prefect_server\n"
    "words = prefect_server.start()\n"
    "print(json.dumps([words, os.environ.get('PREFECT_API_URL', '')]), flush=True)\n"
)
STAY = "prefect_server.wait_until_ready()\nprint('up', flush=True)\nsys.stdin.read()\n"


def environment(home: Path, **settings: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    unused = {"PREFECT_SERVER_API_PORT": "1"}  # nobody answers there: no server of the machine's is taken
    return (
        inherited
        | unused
        | {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        | settings
    )


def begun(home: Path, **settings: str) -> tuple[str, str]:
    """Words and address of a process that only chooses."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN],
        env=environment(home, **settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    words, address = json.loads(done.stdout)
    return words, address


@pytest.fixture
def healthy() -> Iterator[int]:
    """Port of a server that answers as Prefect's health check does."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/api/health" else 404)
            self.end_headers()
            self.wfile.write(b"true")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Health)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_the_users_server_is_taken(tmp_path: Path) -> None:
    words, address = begun(tmp_path, PREFECT_API_URL="http://team:4200/api")
    assert "http://team:4200/api" in words
    assert address == "http://team:4200/api"


def test_the_active_profiles_server_is_taken(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(
        'active = "team"\n[profiles.ephemeral]\n[profiles.team]\nPREFECT_API_URL = "http://team:4200/api"\n'
    )
    words, address = begun(tmp_path)
    assert "http://team:4200/api" in words
    assert address == ""  # Prefect reads its profile itself
    assert (
        "team" not in begun(tmp_path, PREFECT_PROFILE="ephemeral", PREFECT_SERVER_ALLOW_EPHEMERAL_MODE="0")[0]
    )


def test_a_server_that_runs_here_is_taken(tmp_path: Path, healthy: int) -> None:
    words, address = begun(tmp_path, PREFECT_SERVER_API_PORT=str(healthy))
    assert address == f"http://127.0.0.1:{healthy}/api"
    assert f"dashboard at http://127.0.0.1:{healthy}" in words


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["kill -9", "SIGTERM"])
def test_a_temporary_server_ends_with_its_command(
    tmp_path_factory: pytest.TempPathFactory, how: signal.Signals
) -> None:
    home = tmp_path_factory.getbasetemp() / "temporary-server"  # migrated by the first of the two
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN + STAY],
        env=environment(home),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    words, address = json.loads(process.stdout.readline())
    assert "temporary" in words
    assert process.stdout.readline() == "up\n"
    with urllib.request.urlopen(f"{address}/health", timeout=10) as response:
        assert response.read() == b"true"
    process.send_signal(how)
    process.wait(30)
    assert not answers_in_the_end(address)


def answers_in_the_end(address: str) -> bool:
    """Whether there is still an answer after half a minute of grace."""
    for _ in range(100):
        try:
            urllib.request.urlopen(f"{address}/health", timeout=1).close()
        except OSError:
            return False
        time.sleep(0.3)
    return True
