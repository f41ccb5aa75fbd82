"""Which Prefect server a command uses, and that a temporary server never outlives its command."""

import json
import os
import re
import signal
import sqlite3
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
START = (
    "import json, os, sys\n"
    "from tasks.core.operations import environment, prefect_server\n"
    "environment.prepare_command()\n"  # as a command does: it hides Prefect's lines
    "message = prefect_server.start()\n"
    "print(json.dumps([message, os.environ.get('PREFECT_API_URL', '')]), flush=True)\n"
)
MAKE = (
    "import pathlib, sys\n"
    "from tasks.core.operations.prefect_server import server_process\n"
    "server_process.make_database(pathlib.Path(sys.argv[1]))\n"
)
FLOW = (
    "from prefect import flow\n"
    "from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY as FREQUENCY\n"
    "from tasks.display import server_link\n"
    "prefect_server.wait_until_ready()\n"
    "with server_link.surviving():\n"
    "    flow(lambda: print(FREQUENCY.value()), name='none')()\n"
)
STAY = "prefect_server.wait_until_ready()\nprint('up', flush=True)\nsys.stdin.read()\n"


def environment(home: Path, **settings: str) -> dict[str, str]:
    """Environment variables of a process with that Prefect home, without the tests' own Prefect settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    # No process answers there: a server of this machine must not be used.
    unused_port = {"PREFECT_SERVER_API_PORT": "1"}
    return (
        inherited
        | unused_port
        | {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        | settings
    )


def choose_server(home: Path, **settings: str) -> tuple[str, str]:
    """Let a process choose its server. Returns its message and the address."""
    done = subprocess.run(
        [sys.executable, "-c", START],
        env=environment(home, **settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    message, address = json.loads(done.stdout)
    return message, address


@pytest.fixture
def healthy_port() -> Iterator[int]:
    """Port of a server that answers Prefect's health check."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/api/health" else 404)
            self.end_headers()
            self.wfile.write(b"true")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Health)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_start_with_an_api_url_uses_that_server(tmp_path: Path, healthy_port: int) -> None:
    team = f"http://127.0.0.1:{healthy_port}/api"
    message, address = choose_server(tmp_path, PREFECT_API_URL=team)
    assert team in message
    assert address == team


def test_start_with_a_profile_uses_its_server(tmp_path: Path, healthy_port: int) -> None:
    team = f"http://127.0.0.1:{healthy_port}/api"
    (tmp_path / "profiles.toml").write_text(
        f'active = "team"\n[profiles.ephemeral]\n[profiles.team]\nPREFECT_API_URL = "{team}"\n'
    )
    message, address = choose_server(tmp_path)
    assert team in message
    assert address == ""  # Prefect reads its profile itself
    message, _ = choose_server(tmp_path, PREFECT_PROFILE="ephemeral", PREFECT_SERVER_ALLOW_EPHEMERAL_MODE="0")
    assert team not in message


def test_start_with_a_running_server_of_this_machine_uses_it(tmp_path: Path, healthy_port: int) -> None:
    message, address = choose_server(tmp_path, PREFECT_SERVER_API_PORT=str(healthy_port))
    assert address == f"http://127.0.0.1:{healthy_port}/api"
    assert f"dashboard at http://127.0.0.1:{healthy_port}" in message


@pytest.mark.slow
@pytest.mark.parametrize("stop_signal", [signal.SIGKILL, signal.SIGTERM], ids=["kill -9", "SIGTERM"])
def test_temporary_server_ends_when_its_command_is_killed(
    tmp_path_factory: pytest.TempPathFactory, stop_signal: signal.Signals
) -> None:
    home = tmp_path_factory.getbasetemp() / "temporary-server"  # migrated by the first of the two
    process = subprocess.Popen(
        [sys.executable, "-c", START + STAY],
        env=environment(home),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    message, address = json.loads(process.stdout.readline())
    assert "temporary" in message
    assert process.stdout.readline() == "up\n"
    with urllib.request.urlopen(f"{address}/health", timeout=10) as response:
        assert response.read() == b"true"
    process.send_signal(stop_signal)
    process.wait(30)
    assert not still_answers(address)


@pytest.mark.slow
def test_a_flow_sends_heartbeats_to_a_server_that_stays_alone(
    tmp_path_factory: pytest.TempPathFactory, server: dict[str, str]
) -> None:
    home = tmp_path_factory.getbasetemp() / "temporary-server"

    def frequency(**settings: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", START + FLOW],
            env=environment(home, **settings),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[-1]

    assert frequency() == "None"
    with sqlite3.connect(home / "prefect.db") as database:
        events = [event for (event,) in database.execute("SELECT event FROM events")]
    assert "prefect.flow-run.Completed" in events
    assert "prefect.flow-run.heartbeat" not in events
    assert int(frequency(PREFECT_API_URL=server["PREFECT_API_URL"])) > 0


@pytest.mark.slow  # it imports the server's code
def test_the_routes_are_built_once_the_server_answers(tmp_path: Path) -> None:
    asked = []

    class Routes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(500)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Routes, bind_and_activate=False)
    server.server_bind()  # it does not listen yet: connections are refused
    code = (
        "import sys\n"
        "from tasks.core.operations.prefect_server import server_process\n"
        "print('asks', flush=True)\n"
        "server_process.build_routes(int(sys.argv[1]))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(server.server_port)],
        env=environment(tmp_path),
        cwd=ROOT,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"asks\n"
        time.sleep(0.2)
        server.server_activate()
        server.handle_request()
        assert process.wait(30) == 0
    server.server_close()
    assert asked == ["/api/admin/version"]


def still_answers(address: str) -> bool:
    """Whether the server still answers after 30 s."""
    for _ in range(100):
        try:
            urllib.request.urlopen(f"{address}/health", timeout=1).close()
        except OSError:
            return False
        time.sleep(0.3)
    return True


@pytest.mark.slow
def test_server_that_cannot_use_its_database_says_why(tmp_path: Path) -> None:
    (tmp_path / "prefect.db").write_bytes(b"no database" * 500)
    command = [sys.executable, "-c", START + STAY]
    done = subprocess.run(
        command, env=environment(tmp_path), input="", capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert re.search("it ended with code 3: .*file is not a database", done.stderr)
    assert "site-packages" not in done.stderr  # no frames of the server's traceback


@pytest.mark.slow
def test_new_database_is_the_one_that_prefect_makes(tmp_path: Path, server: dict[str, str]) -> None:
    path = tmp_path / "home" / "prefect.db"
    subprocess.run(
        [sys.executable, "-c", MAKE, str(path)], env=environment(path.parent), cwd=ROOT, check=True
    )
    assert {file.name for file in path.parent.iterdir()} == {"prefect.db", ".plumbline-first-start.lock"}
    by_prefect = tables(Path(server["PREFECT_HOME"]) / "prefect.db")
    assert len(by_prefect) > 100
    assert tables(path) == by_prefect
    assert rows(path, "alembic_version") == rows(
        Path(server["PREFECT_HOME"]) / "prefect.db", "alembic_version"
    )
    assert rows(path, "pragma_journal_mode") == [("wal",)]


def tables(path: Path) -> dict[tuple[str, str], list[str]]:
    """The definition of each table and index, as sorted lines: the order of foreign keys is one of a set."""
    with sqlite3.connect(path) as database:
        found = database.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return {
        (kind, name): sorted(re.split(r",\s*\n\s*", (text or "").removesuffix("\n)")))
        for kind, name, text in found
    }


def rows(path: Path, table: str) -> list[tuple[object, ...]]:
    """All rows of a table."""
    with sqlite3.connect(path) as database:
        return database.execute(f"SELECT * FROM {table}").fetchall()


@pytest.mark.slow
def test_killed_first_start_leaves_no_database_and_the_next_one_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "prefect.db"
    making = subprocess.Popen([sys.executable, "-c", MAKE, str(path)], env=environment(tmp_path), cwd=ROOT)
    unfinished = tmp_path / "prefect.db.unfinished"
    while not (unfinished.exists() and unfinished.stat().st_size):
        assert making.poll() is None
        time.sleep(0.01)
    making.kill()
    making.wait()
    assert unfinished.exists()
    assert not path.exists()
    command = [sys.executable, "-c", START + STAY]
    done = subprocess.run(
        command, env=environment(tmp_path), input="", capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert "this first time" in done.stdout
    assert done.stdout.splitlines()[-1] == "up"
    assert path.exists()
    assert not list(tmp_path.glob("*.unfinished*"))
    # Where this file says that types of blocks are registered, a server that stays does not register them.
    assert not (tmp_path / "memo_store.toml").exists()


@pytest.mark.slow
def test_database_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "prefect.db"
    path.write_bytes(b"a person's")
    subprocess.run([sys.executable, "-c", MAKE, str(path)], env=environment(tmp_path), cwd=ROOT, check=True)
    assert path.read_bytes() == b"a person's"
